// Anthropic's client for Node: the tool runner, with and without a stream, over two turns.
import assert from "node:assert";
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { z } from "zod";

const client = new Anthropic({ baseURL: process.env.BASE_URL, apiKey: "none", maxRetries: 0 });
const seen = [];
const weather = betaZodTool({
  name: "weather",
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.enum(["Paris", "Madrid"]) }),
  run: ({ city }) => { seen.push(city); return `Sunny in ${city}.`; },
});
for (const stream of [false, true]) {
  const runner = client.beta.messages.toolRunner({
    model: "smollm2", max_tokens: 64, stream, max_iterations: 2, tools: [weather],
    messages: [{ role: "user", content: "The weather in Paris?" }],
    tool_choice: { type: "any", disable_parallel_tool_use: true },
  });
  const messages = [];
  for await (const each of runner) messages.push(stream ? await each.finalMessage() : each);
  assert.deepStrictEqual(messages.map((each) => each.stop_reason), ["tool_use", "tool_use"]);
  assert.ok(seen.length >= 1, seen);
  seen.length = 0;
}
