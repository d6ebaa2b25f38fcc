/** The page of one model. */

import { useState } from "preact/hooks";
import { Charts } from "./charts";
import { bytes, count, money, rate } from "./format";
import { modelPath, playLink } from "./links";
import { Orders } from "./orders";
import { CodeBlock, ColdStart, Notice, Problem, Scroll, State, StateOf, waiting } from "./parts";
import { usePoll } from "./poll";
import { RequestTable } from "./requests";
import { snippetsOf } from "./snippets";
import type { Condition, ModelPage as Model, PastRequest, Price, Server, Session } from "./types";

const POLL_MS = 2000;
const REQUESTS = 20;

export function ModelPage({ id, session }: { id: string; session: Session }) {
  const { data: model, error, again } = usePoll<Model>(modelPath(id), POLL_MS);
  return (
    <>
      <h1 tabIndex={-1}>{id}</h1>
      <Problem error={error} retry={again} />
      {model && <Facts model={model} session={session} again={again} />}
      {model?.intervals && <Charts page={model} now={model.now} />}
      {model && !model.intervals && (
        <Notice>
          {session.key_required ? (
            <>
              Charts, servers and the manifest are shown to keys with <code>metrics: true</code>.
            </>
          ) : (
            "Charts, servers and the manifest are not shown without keys: this port has no metrics."
          )}
        </Notice>
      )}
      {model && model.conditions.length > 0 && <Conditions conditions={model.conditions} />}
      {model && model.servers.length > 0 && <Servers servers={model.servers} />}
      {model && <Snippets model={model} keyRequired={session.key_required} />}
      {model?.manifest && (
        <section>
          <h2>Manifest</h2>
          <CodeBlock text={model.manifest} what="the manifest" />
        </section>
      )}
      {model && <LastRequests model={model.id} />}
    </>
  );
}

function Facts({ model, session, again }: { model: Model; session: Session; again: () => void }) {
  const facts: [string, preact.ComponentChildren][] = [
    ["State", <StateOf model={model} />],
    ["Task", model.task],
    [
      "Engine",
      <>
        {model.engine}
        {model.engine_reason && <span class="reason">{model.engine_reason}</span>}
      </>,
    ],
    ["Device", model.device ?? "–"],
    ["Servers", model.wanted ?? `${model.replicas.ready}/${model.replicas.known}`],
    ["In flight", count(model.in_flight)],
    ["Waiting", waiting(model)],
    ["Tokens/s", rate(model.tokens_per_second)],
    ["Requests/s", rate(model.requests_per_second)],
    ["Memory of a server", bytes(model.memory_bytes)],
    [model.dimensions ? "Dimensions" : "Context", count(model.dimensions ?? model.context_length)],
  ];
  if (model.price) facts.push(["Price", <PriceOf price={model.price} />]);
  if (model.cost_per_hour !== null && model.price) {
    facts.push(["Servers, per hour", money(model.cost_per_hour, model.price.currency)]);
  }
  if (model.resource) facts.push(["Resource", `${model.namespace}/${model.resource}`]);
  if (model.aliases.length) facts.push(["Aliases", model.aliases.join(", ")]);
  if (model.adapters.length) facts.push(["Adapters", model.adapters.join(", ")]);
  return (
    <section class="card">
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
        <div class="wide">
          <dt>Last start by stage</dt>
          <dd>
            <ColdStart stages={model.stages} legend />
          </dd>
        </div>
      </dl>
      <a class="button primary" href={playLink(model.id)}>
        Try it
      </a>
      <Orders model={model} session={session} ordered={again} />
    </section>
  );
}

const PRICED: [Exclude<keyof Price, "currency">, string][] = [
  ["input", "for a million tokens of prompts"],
  ["cachedInput", "for a million cached ones"],
  ["output", "for a million generated tokens"],
  ["audioMinute", "for a minute of audio"],
  ["hour", "for an hour of a server"],
];

function PriceOf({ price }: { price: Price }) {
  const known = PRICED.filter(([name]) => price[name] !== undefined);
  return (
    <>
      {known.map(([name, what]) => (
        <div key={name}>
          {money(price[name] ?? 0, price.currency)} <span class="muted">{what}</span>
        </div>
      ))}
    </>
  );
}

function Conditions({ conditions }: { conditions: Condition[] }) {
  const newest = [...conditions].sort((a, b) => (a.lastTransitionTime < b.lastTransitionTime ? 1 : -1));
  return (
    <section>
      <h2>Conditions</h2>
      <ol class="timeline">
        {newest.map((one) => (
          <li key={one.type}>
            <time dateTime={one.lastTransitionTime}>{new Date(one.lastTransitionTime).toLocaleString()}</time>
            <strong>
              {one.type} {one.status}
            </strong>{" "}
            {one.reason}
            {one.message && <span class="reason">{one.message}</span>}
          </li>
        ))}
      </ol>
    </section>
  );
}

function Servers({ servers }: { servers: Server[] }) {
  return (
    <section>
      <h2>Servers</h2>
      <Scroll label="Servers">
        <table>
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">State</th>
              <th scope="col" class="number">Running</th>
              <th scope="col" class="number">Queued</th>
            </tr>
          </thead>
          <tbody>
            {servers.map((one) => (
              <tr key={one.name}>
                <th scope="row">{one.name}</th>
                <td>
                  <State state={one.status || "unavailable"} />
                </td>
                <td class="number">{count(one.in_flight)}</td>
                <td class="number">{count(one.queue_depth)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function Snippets({ model, keyRequired }: { model: Model; keyRequired: boolean }) {
  const snippets = snippetsOf(model.task, model.id, location.origin, keyRequired);
  const [shown, setShown] = useState(0);
  return (
    <section>
      <h2>Requests from outside</h2>
      <div class="choice" role="group" aria-label="Language">
        {snippets.map((each, at) => (
          <button key={each.name} type="button" class="small" aria-pressed={at === shown} onClick={() => setShown(at)}>
            {each.name}
          </button>
        ))}
      </div>
      <CodeBlock text={snippets[shown]?.text ?? ""} what={`the ${snippets[shown]?.name} request`} />
    </section>
  );
}

function LastRequests({ model }: { model: string }) {
  const path = `/console/api/requests?model=${encodeURIComponent(model)}`;
  const { data, error } = usePoll<{ requests: PastRequest[] }>(path, POLL_MS);
  const requests = data?.requests.slice(0, REQUESTS) ?? [];
  return (
    <section>
      <h2>Last requests</h2>
      <Problem error={error} />
      {data && requests.length === 0 && <Notice>No requests since the router started.</Notice>}
      {requests.length > 0 && <RequestTable requests={requests} one />}
    </section>
  );
}
