/** The parameters of a chat. An empty field leaves the model's default. */

import type { ComponentChildren } from "preact";

export interface Parameters {
  system: string;
  temperature: string;
  topP: string;
  maxTokens: string;
  seed: string;
  tools: string;
  toolChoice: string;
}

export const NO_PARAMETERS: Parameters = {
  system: "",
  temperature: "",
  topP: "",
  maxTokens: "",
  seed: "",
  tools: "",
  toolChoice: "auto",
};

export const EXAMPLE_TOOLS = JSON.stringify(
  [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "The weather in a city now.",
        parameters: {
          type: "object",
          properties: { city: { type: "string" } },
          required: ["city"],
        },
      },
    },
  ],
  null,
  2,
);

/** The fields of the request's body. Throws SyntaxError if the tools are not JSON. */
export function fieldsOf(parameters: Parameters): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  const numbers: [string, string][] = [
    ["temperature", parameters.temperature],
    ["top_p", parameters.topP],
    ["max_tokens", parameters.maxTokens],
    ["seed", parameters.seed],
  ];
  for (const [name, text] of numbers) if (text.trim()) fields[name] = Number(text);
  if (parameters.tools.trim()) {
    fields["tools"] = JSON.parse(parameters.tools);
    fields["tool_choice"] = parameters.toolChoice;
  }
  return fields;
}

export function ParameterForm({ value, change }: { value: Parameters; change: (value: Parameters) => void }) {
  const set = (name: keyof Parameters) => (event: Event) =>
    change({ ...value, [name]: (event.currentTarget as HTMLInputElement).value });
  const number = (name: keyof Parameters, label: string, min: number, max?: number, step = "any") => (
    <label>
      <span>{label}</span>
      <input type="number" value={value[name]} min={min} max={max} step={step} placeholder="default" onInput={set(name)} />
    </label>
  );
  return (
    <details class="card parameters">
      <summary>Parameters</summary>
      <label>
        <span>System prompt</span>
        <textarea rows={3} value={value.system} onInput={set("system")} />
      </label>
      <Columns>
        {number("temperature", "Temperature", 0, 2)}
        {number("topP", "Top p", 0, 1)}
        {number("maxTokens", "Max tokens", 1, undefined, "1")}
        {number("seed", "Seed", 0, undefined, "1")}
      </Columns>
      <label>
        <span>Tools (JSON)</span>
        <textarea class="code" rows={value.tools ? 8 : 2} spellcheck={false} value={value.tools} onInput={set("tools")} />
      </label>
      <div class="row">
        <button type="button" class="small" onClick={() => change({ ...value, tools: EXAMPLE_TOOLS })}>
          Insert an example
        </button>
        <label class="inline">
          <span>Tool choice</span>
          <select value={value.toolChoice} onChange={set("toolChoice")}>
            <option>auto</option>
            <option>required</option>
            <option>none</option>
          </select>
        </label>
      </div>
    </details>
  );
}

function Columns({ children }: { children: ComponentChildren }) {
  return <div class="columns">{children}</div>;
}
