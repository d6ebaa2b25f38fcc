/** Chat with a model: streamed, with images and tools. */

import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "../api";
import { Problem } from "../parts";
import type { Message, ModelRow, Part, ToolCall } from "../types";
import { Attach, Attached } from "./images";
import { AnswerView, MessageView } from "./messages";
import { useRequest } from "./page";
import { fieldsOf, NO_PARAMETERS, ParameterForm } from "./parameters";
import { answerTo, EMPTY, type Answer, type Figures } from "./stream";
import { ToolResults } from "./tools";

/** A message, and of an answer also how it was made. */
export interface Turn {
  message: Message;
  reasoning?: string;
  figures?: Figures;
  /** Why the answer is not whole. */
  cut?: string;
}

export function ChatPlay({ model }: { model: ModelRow }) {
  const [turns, setTurns] = useState<Turn[]>([]);
  const [typed, setTyped] = useState("");
  const [images, setImages] = useState<string[]>([]);
  const [parameters, setParameters] = useState(NO_PARAMETERS);
  const [answer, setAnswer] = useState<Answer>();
  /** Why nothing could be requested. */
  const [invalid, setInvalid] = useState<ApiError>();
  const request = useRequest();
  const pending = pendingCalls(turns);
  const bottom = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (answer) bottom.current?.scrollIntoView({ block: "nearest" });
  }, [answer]);

  /** Request an answer to `conversation`; whether it was requested. */
  const ask = (conversation: Turn[]): boolean => {
    let fields: Record<string, unknown>;
    try {
      fields = fieldsOf(parameters);
    } catch {
      request.setError(undefined);
      setInvalid(new ApiError(400, "The tools are not valid JSON."));
      return false;
    }
    setInvalid(undefined);
    void answerOf(conversation, fields);
    return true;
  };

  const answerOf = async (conversation: Turn[], fields: Record<string, unknown>) => {
    setTurns(conversation);
    setAnswer(EMPTY);
    const system: Message[] = parameters.system.trim() ? [{ role: "system", content: parameters.system }] : [];
    const signal = request.begin();
    let got = EMPTY;
    let cut: string | undefined;
    let complete = false;
    try {
      for await (got of answerTo(model.id, [...system, ...conversation.map((one) => one.message)], fields, signal)) {
        setAnswer(got);
      }
      complete = true;
    } catch (problem) {
      if (signal.aborted) cut = "stopped";
      else request.setError(problem instanceof ApiError ? problem : new ApiError(0, String(problem)));
      if (!signal.aborted && (got.text || got.calls.length)) cut = "interrupted";
    } finally {
      request.end();
      setAnswer(undefined);
    }
    if (complete || got.text || got.reasoning || got.calls.length) setTurns([...conversation, turnOf(got, cut)]);
  };

  const send = () => {
    if (request.running || (!typed.trim() && images.length === 0)) return;
    const parts: Part[] = images.map((url) => ({ type: "image_url", image_url: { url } }));
    const content = parts.length ? [...parts, { type: "text" as const, text: typed }] : typed;
    if (!ask([...turns, { message: { role: "user", content } }])) return;
    setTyped("");
    setImages([]);
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };
  const clear = () => {
    setTurns([]);
    setInvalid(undefined);
    request.setError(undefined);
  };
  return (
    <>
      <ParameterForm value={parameters} change={setParameters} />
      <section class="chat card" aria-label="Conversation">
        {turns.length === 0 && !answer && <p class="muted">Messages appear here.</p>}
        {turns.map((turn, at) => (
          <MessageView key={at} turn={turn} />
        ))}
        {answer && <AnswerView answer={answer} />}
        <div ref={bottom} />
      </section>
      <p class="sr-only" role="status">
        {request.running ? "The answer is being generated." : turns.at(-1)?.message.role === "assistant" ? "The answer is complete." : ""}
      </p>
      <Problem error={invalid} />
      <Problem error={request.error} retry={() => void ask(withoutAnswer(turns))} />
      {pending.length > 0 && !request.running && (
        <ToolResults calls={pending} send={(messages) => void ask([...turns, ...messages.map((message) => ({ message }))])} />
      )}
      <form
        class="composer card"
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <label>
          <span>Message</span>
          <textarea
            rows={3}
            value={typed}
            placeholder="Enter to send, Shift+Enter for a new line"
            onInput={(event) => setTyped(event.currentTarget.value)}
            onKeyDown={onKey}
          />
        </label>
        <Attached images={images} remove={(at) => setImages(images.filter((_, other) => other !== at))} />
        <div class="row">
          {request.running ? (
            <button type="button" class="primary" onClick={request.stop}>
              Stop
            </button>
          ) : (
            <button type="submit" class="primary" disabled={!typed.trim() && images.length === 0}>
              Send
            </button>
          )}
          {model.modalities.input.includes("image") && <Attach add={(url) => setImages((known) => [...known, url])} />}
          <button type="button" disabled={request.running || turns.length === 0} onClick={clear}>
            Clear
          </button>
        </div>
      </form>
    </>
  );
}

function turnOf(answer: Answer, cut: string | undefined): Turn {
  const message: Message = { role: "assistant", content: answer.text || null };
  // A call whose arguments were cut off cannot be sent back.
  const calls = answer.calls.filter(isComplete);
  if (calls.length) message.tool_calls = calls;
  else if (!answer.text) message.content = "";
  return { message, reasoning: answer.reasoning, figures: answer.figures, ...(cut ? { cut } : {}) };
}

function isComplete(call: ToolCall): boolean {
  try {
    JSON.parse(call.function.arguments);
    return true;
  } catch {
    return false;
  }
}

/** The conversation up to the last message that is not an answer. */
function withoutAnswer(turns: Turn[]): Turn[] {
  return turns.at(-1)?.message.role === "assistant" ? turns.slice(0, -1) : turns;
}

/** The calls of the last answer, which have no results yet. */
function pendingCalls(turns: Turn[]): ToolCall[] {
  return turns.at(-1)?.message.tool_calls ?? [];
}
