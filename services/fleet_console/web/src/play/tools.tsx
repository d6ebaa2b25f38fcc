/** Results of tool calls, which the user types. */

import { useState } from "preact/hooks";
import type { Message, ToolCall } from "../types";

export function ToolResults({ calls, send }: { calls: ToolCall[]; send: (messages: Message[]) => void }) {
  const [results, setResults] = useState<Record<string, string>>({});
  const submit = (event: Event) => {
    event.preventDefault();
    send(calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: results[call.id] ?? "" })));
  };
  return (
    <form class="card" onSubmit={submit}>
      {calls.map((call) => (
        <label key={call.id}>
          <span>Result of {call.function.name}</span>
          <textarea
            class="code"
            rows={2}
            value={results[call.id] ?? ""}
            onInput={(event) => setResults({ ...results, [call.id]: event.currentTarget.value })}
          />
        </label>
      ))}
      <button type="submit" class="primary">
        Send results
      </button>
    </form>
  );
}
