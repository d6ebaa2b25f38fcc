// OpenAI's client for Node: the tool runner, with and without a stream, over two turns.
import assert from "node:assert";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.env.BASE_URL}/v1`, apiKey: "none", maxRetries: 0 });
const seen = [];
const weather = {
  name: "weather",
  description: "The weather in a city.",
  parameters: { type: "object", properties: { city: { enum: ["Paris", "Madrid"] } }, required: ["city"] },
  parse: JSON.parse,
  function: ({ city }) => { seen.push(city); return `Sunny in ${city}.`; },
};
for (const stream of [false, true]) {
  const runner = client.chat.completions.runTools({
    model: "smollm2", temperature: 0, max_tokens: 64, stream, parallel_tool_calls: false,
    messages: [{ role: "user", content: "The weather in Paris?" }],
    tools: [{ type: "function", function: weather }], tool_choice: "required",
  }, { maxChatCompletions: 2 });
  await runner.done();
  assert.strictEqual(seen.length, 2);
  assert.deepStrictEqual(runner.messages.map((each) => each.role),
    ["user", "assistant", "tool", "assistant", "tool"]);
  assert.strictEqual(await runner.finalFunctionToolCallResult(), `Sunny in ${seen.at(-1)}.`);
  seen.length = 0;
}
