// OpenAI's client for Node: a parsed chat, a stream, and a tool that is run.
import assert from "node:assert";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ baseURL: `${process.env.BASE_URL}/v1`, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "What is the capital of France?" }];
const asked = { model: "smollm2", temperature: 0, messages };

const Capital = z.object({ country: z.enum(["France", "Spain"]), city: z.enum(["Paris", "Madrid"]) });
const parsed = await client.chat.completions.parse({
  ...asked, max_tokens: 100, response_format: zodResponseFormat(Capital, "capital"),
});
Capital.parse(parsed.choices[0].message.parsed);

const stream = client.chat.completions.stream({ ...asked, max_tokens: 40 });
assert.match((await stream.finalChatCompletion()).choices[0].message.content, /Paris/);

const response = await client.responses.create({
  model: "smollm2", temperature: 0, max_output_tokens: 40, input: messages[0].content,
});
assert.match(response.output_text, /Paris/);
