// Anthropic's client for Node: a message, a stream, and a call that must be made.
import assert from "node:assert";
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: process.env.BASE_URL, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "What is the capital of France?" }];
const asked = { model: "smollm2", temperature: 0, max_tokens: 64, messages };

const final = await client.messages.stream(asked).finalMessage();
assert.match(final.content[0].text, /Paris/);
const called = await client.messages.create({
  ...asked, tool_choice: { type: "any", disable_parallel_tool_use: true },
  tools: [{ name: "weather", input_schema: {
    type: "object", properties: { city: { enum: ["Paris", "Madrid"] } }, required: ["city"] } }],
});
assert.strictEqual(called.content.at(-1).name, "weather");
assert.strictEqual(called.stop_reason, "tool_use");
