/** Parts that several pages use. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { ApiError } from "./api";
import { bytes, count, duration, UNKNOWN } from "./format";
import type { ModelRow, Progress } from "./types";

const TONES: Record<string, string> = {
  ready: "good",
  starting: "busy",
  fetching: "busy",
  converting: "busy",
  loading: "busy",
  warming: "busy",
  draining: "busy",
  scaled_to_zero: "idle",
  stopped: "idle",
  failed: "bad",
  unavailable: "bad",
  conflict: "bad",
};

export function State({ state }: { state: string }) {
  return <span class={`badge ${TONES[state] ?? "idle"}`}>{state.replaceAll("_", " ")}</span>;
}

/** The state of a model, with its reason and the progress of its start. */
export function StateOf({ model }: { model: ModelRow }) {
  return (
    <>
      <State state={model.state} />
      {model.reason && <span class="reason">{model.reason}</span>}
      {model.progress && <ProgressText progress={model.progress} />}
    </>
  );
}

function ProgressText({ progress }: { progress: Progress }) {
  const { done_bytes: done, total_bytes: total, seconds_left: left } = progress;
  const share = done !== null && total ? Math.round((100 * done) / total) : null;
  return (
    <span class="reason">
      {share === null ? bytes(done) : `${share} % of ${bytes(total)}`}
      {left !== null && `, ${duration(left)} left`}
    </span>
  );
}

const STAGES = ["schedule", "image", "start", "fetch", "convert", "load", "warm", "golden"];

/** The stages of a start as a bar whose parts are as long as they took. */
export function ColdStart({ stages, legend }: { stages: ModelRow["stages"]; legend?: boolean }) {
  const parts = Object.entries(stages ?? {})
    .filter(([, spent]) => spent > 0)
    .sort(([one], [other]) => STAGES.indexOf(one) - STAGES.indexOf(other));
  if (parts.length === 0) return <span>{UNKNOWN}</span>;
  const total = parts.reduce((sum, [, spent]) => sum + spent, 0);
  const text = parts.map(([name, spent]) => `${name} ${duration(spent)}`).join(", ");
  return (
    <div class="start">
      <span class="start-bar" role="img" aria-label={`Start by stage: ${text}`} title={text}>
        {parts.map(([name, spent]) => (
          <span key={name} class={`stage stage-${name}`} style={{ flexGrow: spent / total }} />
        ))}
      </span>
      <span class="start-total">{duration(total)}</span>
      {legend && (
        <ul class="legend">
          {parts.map(([name, spent]) => (
            <li key={name}>
              <span class={`swatch stage-${name}`} aria-hidden="true" />
              {name} {duration(spent)}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

export function waiting(model: ModelRow): string {
  if (model.held === null && model.queue_depth === null) return UNKNOWN;
  return count((model.held ?? 0) + (model.queue_depth ?? 0));
}

export function Problem({ error, retry }: { error: ApiError | undefined; retry?: (() => void) | undefined }) {
  if (error === undefined) return null;
  return (
    <div class="notice bad" role="alert">
      <p>
        {error.message}
        {error.code && <code class="code">{error.code}</code>}
      </p>
      {retry && (
        <button type="button" class="small" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Notice({ children }: { children: ComponentChildren }) {
  return <div class="notice">{children}</div>;
}

export function CopyButton({ text, what }: { text: string; what: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
      setTimeout(() => setCopied(false), 2000);
    } catch {
      // Only pages of https and of this machine may write to the clipboard; the text can be selected.
      setCopied(false);
    }
  };
  return (
    <button type="button" class="small" aria-label={`Copy ${what}`} onClick={() => void copy()}>
      <span aria-live="polite">{copied ? "Copied" : "Copy"}</span>
    </button>
  );
}

export function CodeBlock({ text, what }: { text: string; what: string }) {
  return (
    <div class="codeblock">
      <CopyButton text={text} what={what} />
      <pre tabIndex={0} aria-label={what}>
        {text}
      </pre>
    </div>
  );
}

/** A table that scrolls sideways where it does not fit. */
export function Scroll({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class="scroll" role="region" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}
