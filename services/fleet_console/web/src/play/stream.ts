/** A streamed chat completion, event by event. */

import { ApiError, postJson, streamLines } from "../api";
import type { Message, ToolCall } from "../types";

export interface Figures {
  prompt_tokens?: number;
  completion_tokens?: number;
  first_token_ms?: number;
  decode_ms?: number;
  queue_ms?: number;
  finish?: string;
}

/** What of an answer has arrived. */
export interface Answer {
  text: string;
  reasoning: string;
  calls: ToolCall[];
  /** What the router reports while the request waits. */
  waiting: string;
  figures: Figures;
}

export const EMPTY: Answer = { text: "", reasoning: "", calls: [], waiting: "", figures: {} };

interface CallDelta {
  index: number;
  id?: string;
  function?: { name?: string; arguments?: string };
}

interface Chunk {
  choices?: {
    delta: { content?: string | null; reasoning_content?: string; reasoning?: string; tool_calls?: CallDelta[] };
    finish_reason: string | null;
  }[];
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
  timings?: { queue_ms: number; first_token_ms: number; decode_ms: number } | null;
  error?: { message: string; code: string | null };
}

/** The growing answer to `messages`. Throws ApiError, and AbortError when `signal` is aborted. */
export async function* answerTo(
  model: string,
  messages: Message[],
  fields: Record<string, unknown>,
  signal: AbortSignal,
): AsyncGenerator<Answer> {
  const body = { model, messages, ...fields, stream: true, stream_options: { include_usage: true } };
  const started = performance.now();
  const response = await postJson("/v1/chat/completions", body, signal);
  let answer = EMPTY;
  let complete = false;
  for await (const { data, comment } of streamLines(response)) {
    if (comment !== undefined) answer = { ...answer, waiting: comment };
    else if (data === "[DONE]") complete = true;
    else if (data) answer = withChunk(answer, parsed(data), performance.now() - started);
    else continue;
    yield answer;
  }
  if (!complete) throw new ApiError(0, "The stream ended early.");
}

function parsed(data: string): Chunk {
  let chunk: Chunk;
  try {
    chunk = JSON.parse(data) as Chunk;
  } catch {
    throw new ApiError(0, "An event of the stream is not JSON.");
  }
  if (chunk.error) throw new ApiError(200, chunk.error.message, chunk.error.code);
  return chunk;
}

function withChunk(answer: Answer, chunk: Chunk, elapsed: number): Answer {
  const next = { ...answer, waiting: "", figures: { ...answer.figures } };
  const choice = chunk.choices?.[0];
  if (choice) {
    const { content, reasoning_content: thought, reasoning, tool_calls: calls } = choice.delta;
    if (content || thought || reasoning || calls) next.figures.first_token_ms ??= elapsed;
    next.text += content ?? "";
    next.reasoning += thought ?? reasoning ?? "";
    for (const call of calls ?? []) next.calls = withCall(next.calls, call);
    if (choice.finish_reason) next.figures.finish = choice.finish_reason;
  }
  if (chunk.usage) Object.assign(next.figures, pick(chunk.usage, ["prompt_tokens", "completion_tokens"]));
  if (chunk.timings) Object.assign(next.figures, pick(chunk.timings, ["queue_ms", "first_token_ms", "decode_ms"]));
  return next;
}

function withCall(calls: ToolCall[], delta: CallDelta): ToolCall[] {
  const known = calls[delta.index] ?? { id: "", type: "function" as const, function: { name: "", arguments: "" } };
  const grown: ToolCall = {
    id: delta.id ?? known.id,
    type: "function",
    function: {
      name: delta.function?.name ?? known.function.name,
      arguments: known.function.arguments + (delta.function?.arguments ?? ""),
    },
  };
  const next = [...calls];
  next[delta.index] = grown;
  return next;
}

function pick<T extends object>(from: T, names: (keyof T)[]): Partial<T> {
  return Object.fromEntries(names.filter((name) => typeof from[name] === "number").map((name) => [name, from[name]])) as Partial<T>;
}
