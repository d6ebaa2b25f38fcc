/** Messages of a conversation. Text of models is only ever text: no markup of theirs is run. */

import { duration, rate } from "../format";
import type { Message, ToolCall } from "../types";
import type { Turn } from "./chat";
import type { Answer, Figures } from "./stream";

const NAMES: Record<Message["role"], string> = {
  system: "System",
  user: "You",
  assistant: "Model",
  tool: "Tool",
};

export function MessageView({ turn }: { turn: Turn }) {
  const { message } = turn;
  const parts = typeof message.content === "string" ? [{ type: "text" as const, text: message.content }] : (message.content ?? []);
  return (
    <article class={`message ${message.role}`}>
      <h2>{NAMES[message.role]}</h2>
      {turn.reasoning && <Reasoning text={turn.reasoning} />}
      {parts.map((part, at) =>
        part.type === "text" ? <Text key={at} text={part.text} /> : <img key={at} src={part.image_url.url} alt="Attached" />,
      )}
      {message.role === "assistant" && !message.content && !message.tool_calls && <p class="muted">No text.</p>}
      {message.tool_calls?.map((call) => <Call key={call.id} call={call} />)}
      {turn.figures && <FiguresLine figures={turn.figures} cut={turn.cut} />}
    </article>
  );
}

export function AnswerView({ answer }: { answer: Answer }) {
  return (
    <article class="message assistant" aria-busy="true">
      <h2>{NAMES.assistant}</h2>
      {answer.reasoning && <Reasoning text={answer.reasoning} open />}
      <Text text={answer.text} />
      {answer.calls.map((call, at) => call && <Call key={at} call={call} />)}
      <p class="figures">{answer.waiting || "…"}</p>
    </article>
  );
}

function Reasoning({ text, open }: { text: string; open?: boolean }) {
  return (
    <details class="reasoning" open={open}>
      <summary>Reasoning</summary>
      <p class="text">{text}</p>
    </details>
  );
}

/** Text with the blocks between lines of ``` as code. */
export function Text({ text }: { text: string }) {
  const pieces = text.split(/^```[^\n`]*\n?/m);
  return (
    <>
      {pieces.map((piece, at) =>
        at % 2 === 1 ? (
          <pre key={at} tabIndex={0} aria-label="Code">
            {piece.replace(/\n$/, "")}
          </pre>
        ) : (
          piece.trim() && (
            <p key={at} class="text">
              {piece.trim()}
            </p>
          )
        ),
      )}
    </>
  );
}

export function Call({ call }: { call: ToolCall }) {
  return (
    <div class="call">
      <strong>{call.function.name || "…"}</strong>
      <pre tabIndex={0} aria-label={`Arguments of ${call.function.name}`}>
        {pretty(call.function.arguments)}
      </pre>
    </div>
  );
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function FiguresLine({ figures, cut }: { figures: Figures; cut: string | undefined }) {
  const { completion_tokens: tokens, prompt_tokens: prompt, decode_ms: decode } = figures;
  const parts = [
    cut,
    figures.finish && figures.finish !== "stop" ? figures.finish : undefined,
    figures.queue_ms && figures.queue_ms > 1 ? `${duration(figures.queue_ms / 1000)} in the queue` : undefined,
    figures.first_token_ms !== undefined ? `first token ${duration(figures.first_token_ms / 1000)}` : undefined,
    tokens && decode && tokens > 1 ? `${rate(((tokens - 1) * 1000) / decode)} tokens/s` : undefined,
    tokens !== undefined ? `${prompt} + ${tokens} tokens` : undefined,
  ].filter(Boolean);
  return <p class="figures">{parts.join(" · ")}</p>;
}
