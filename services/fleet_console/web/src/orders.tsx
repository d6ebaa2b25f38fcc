/** Buttons that start, stop and scale a model, for those who may. */

import { useState } from "preact/hooks";
import { ApiError, order } from "./api";
import { modelPath } from "./links";
import { Problem } from "./parts";
import type { ModelPage as Model, Session } from "./types";

const LOADABLE = ["scaled_to_zero", "failed"];

export function Orders({ model, session, ordered }: { model: Model; session: Session; ordered: () => void }) {
  const [error, setError] = useState<ApiError>();
  const [confirmation, setConfirmation] = useState("");
  const [servers, setServers] = useState("");
  const may = (name: string) => session.controls.includes(name);
  if (session.controls.length === 0 || model.engine === "remote") return null;
  if (model.state === "stopped") return <Hint model={model} what="To start it" command="load" />;
  const isLoadable = LOADABLE.includes(model.state);
  const give = async (text: string, number?: number) => {
    setError(undefined);
    setConfirmation("");
    try {
      await order(modelPath(model.id), number);
      setConfirmation(text);
      ordered();
    } catch (problem) {
      setError(problem instanceof ApiError ? problem : new ApiError(0, String(problem)));
    }
  };
  const scale = (event: Event) => {
    event.preventDefault();
    const number = Number(servers);
    void give(`Scaling to ${number} ${number === 1 ? "server" : "servers"}.`, number);
    setServers("");
  };
  return (
    <>
      <form class="orders" onSubmit={scale}>
        {isLoadable && may("load") && (
          <button type="button" onClick={() => void give("Starting.")}>
            Load
          </button>
        )}
        {!isLoadable && may("unload") && (
          <button type="button" onClick={() => void give("It stops when its requests have ended.", 0)}>
            Unload
          </button>
        )}
        {may("scale") && (
          <>
            <label class="inline">
              <span>Servers</span>
              <input
                type="number"
                class="short"
                min={1}
                max={session.most_servers}
                required
                value={servers}
                placeholder={String(model.replicas.known || 1)}
                onInput={(event) => setServers(event.currentTarget.value)}
              />
            </label>
            <button type="submit">Scale</button>
          </>
        )}
        <span role="status" class="muted">
          {confirmation}
        </span>
      </form>
      {!may("scale") && <Hint model={model} what="To stop or scale it" command="scale" more=" 2" />}
      <Problem error={error} />
    </>
  );
}

/** A command for what the router of a cluster may not do. */
function Hint({ model, what, command, more = "" }: { model: Model; what: string; command: string; more?: string }) {
  if (!model.resource) return null;
  return (
    <p class="muted">
      {what}: <code>{`kubectl modelfleet ${command} -n ${model.namespace} ${model.resource}${more}`}</code>
    </p>
  );
}
