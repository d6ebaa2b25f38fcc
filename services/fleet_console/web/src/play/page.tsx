/** The playground: a model to choose, and what its task needs. */

import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../api";
import { modelPath, playLink } from "../links";
import { Notice, Problem, StateOf } from "../parts";
import { usePoll } from "../poll";
import type { Fleet, ModelRow } from "../types";
import { ChatPlay } from "./chat";
import { EmbeddingPlay } from "./embedding";
import { RerankPlay } from "./rerank";
import { SpeechPlay } from "./speech";

const POLL_MS = 3000;

export function PlayPage({ model }: { model: string | null }) {
  const { data, error, again } = usePoll<Fleet>("/console/api/fleet", POLL_MS);
  const listed = data?.models ?? [];
  // A model beyond the rows of the fleet is read by its id.
  const missing = data !== undefined && model !== null && !listed.some((one) => one.id === model);
  const { data: other, error: unknown } = usePoll<ModelRow>(missing ? modelPath(model) : null, POLL_MS);
  const models = other ? [...listed, other] : listed;
  const chosen = model === null ? models[0] : models.find((one) => one.id === model);
  return (
    <>
      <h1 tabIndex={-1}>Playground</h1>
      <Problem error={error ?? unknown} retry={again} />
      {data && models.length === 0 && <Notice>The fleet has no models.</Notice>}
      {models.length > 0 && (
        <div class="chooser">
          <label>
            <span>Model</span>
            <select
              value={chosen?.id ?? ""}
              onChange={(event) => (location.hash = playLink(event.currentTarget.value))}
            >
              {!chosen && <option value="">choose one</option>}
              {models.map((one) => (
                <option key={one.id} value={one.id}>
                  {one.id} ({one.task})
                </option>
              ))}
            </select>
          </label>
          {chosen && (
            <span aria-live="polite">
              <StateOf model={chosen} />
            </span>
          )}
        </div>
      )}
      {chosen && <Play key={chosen.id} model={chosen} />}
    </>
  );
}

function Play({ model }: { model: ModelRow }) {
  switch (model.task) {
    case "chat":
      return <ChatPlay model={model} />;
    case "embedding":
      return <EmbeddingPlay model={model} />;
    case "rerank":
      return <RerankPlay model={model} />;
    case "speech":
      return <SpeechPlay model={model} />;
  }
}

/** One request at a time, which ends when the page is left, and its error. */
export function useRequest() {
  const [stop, setStop] = useState<AbortController>();
  const [error, setError] = useState<ApiError>();
  useEffect(() => () => stop?.abort(), [stop]);
  const begin = () => {
    const made = new AbortController();
    setStop(made);
    setError(undefined);
    return made.signal;
  };
  const end = () => setStop(undefined);
  return {
    running: stop !== undefined,
    error,
    setError,
    begin,
    end,
    stop: () => stop?.abort(),
    /** Do `work` as the request; only an ApiError is shown. */
    run: async (work: (signal: AbortSignal) => Promise<void>) => {
      try {
        await work(begin());
      } catch (problem) {
        if (problem instanceof ApiError) setError(problem);
      } finally {
        end();
      }
    },
  };
}
