/** The page with all models. */

import { useEffect, useState } from "preact/hooks";
import { bytes, count, money, rate } from "./format";
import { ColdStart, Notice, Problem, StateOf, waiting } from "./parts";
import { usePoll } from "./poll";
import { modelLink } from "./links";
import type { Fleet, ModelRow, Session } from "./types";

const POLL_MS = 2000;

export function FleetPage({ session }: { session: Session }) {
  const [search, setSearch] = useState("");
  const [query, setQuery] = useState("");
  useEffect(() => {
    const timer = setTimeout(() => setQuery(search.trim()), 200);
    return () => clearTimeout(timer);
  }, [search]);
  const path = `/console/api/fleet?search=${encodeURIComponent(query)}`;
  const { data, error, again } = usePoll<Fleet>(path, POLL_MS);
  const models = data?.models ?? [];
  return (
    <>
      <h1 tabIndex={-1}>Fleet</h1>
      <Problem error={error} retry={again} />
      <Summary models={models} total={data?.total ?? 0} />
      <label class="search">
        <span>Find a model</span>
        <input
          type="search"
          value={search}
          maxLength={200}
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
      </label>
      {data && models.length === 0 && <Notice>No models found.</Notice>}
      {models.length > 0 && <Table models={models} />}
      {data && data.total > models.length && (
        <Notice>
          {models.length} of {count(data.total)} models are shown; search for others.
        </Notice>
      )}
      {!session.sees_all && (
        <Notice>
          {session.key_required ? (
            <>
              Load and throughput are shown to keys with <code>metrics: true</code>.
            </>
          ) : (
            "Load and throughput are not shown without keys: this port has no metrics."
          )}
        </Notice>
      )}
    </>
  );
}

/** Of all servers of a model: each reports its own. */
function memoryOf(model: ModelRow): number | null {
  return model.memory_bytes === null ? null : model.memory_bytes * Math.max(1, model.replicas.ready);
}

function Summary({ models, total }: { models: ModelRow[]; total: number }) {
  const sum = (pick: (model: ModelRow) => number | null) =>
    models.some((model) => pick(model) !== null)
      ? models.reduce((whole, model) => whole + (pick(model) ?? 0), 0)
      : null;
  const ready = models.filter((model) => model.state === "ready").length;
  const tiles: [string, string][] = [
    // The other figures are those of the models that are shown.
    ["Models", total > models.length ? `${count(models.length)} of ${count(total)}` : count(total)],
    ["Ready", count(ready)],
    ["In flight", count(sum((model) => model.in_flight))],
    ["Tokens/s", rate(sum((model) => model.tokens_per_second))],
    ["Memory", bytes(sum(memoryOf))],
    ...costs(models),
  ];
  return (
    <dl class="tiles">
      {tiles.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** The price of an hour of all servers, in each currency. */
function costs(models: ModelRow[]): [string, string][] {
  const sums = new Map<string, number>();
  for (const { price, cost_per_hour: cost } of models) {
    if (price && cost !== null) sums.set(price.currency, (sums.get(price.currency) ?? 0) + cost);
  }
  return [...sums].map(([currency, cost]) => [
    `Servers, per hour${sums.size > 1 ? ` (${currency})` : ""}`, money(cost, currency),
  ]);
}

const COLUMNS = [
  "Model", "State", "Task", "Engine", "Servers", "In flight", "Waiting", "Tokens/s", "Memory", "Start",
];

/** On a narrow screen each row is a block, by CSS, which removes the table's own roles. */
function Table({ models }: { models: ModelRow[] }) {
  return (
    <table class="fleet" role="table" aria-label="Models">
      <thead role="rowgroup">
        <tr role="row">
          {COLUMNS.map((name) => (
            <th key={name} role="columnheader" scope="col">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {models.map((model) => (
          <Row key={model.id} model={model} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ model }: { model: ModelRow }) {
  const cells = [
    <StateOf model={model} />,
    model.task,
    <>
      {model.engine}
      {model.device && <span class="reason">{model.device}</span>}
    </>,
    <>
      {model.wanted ?? `${model.replicas.ready}/${model.replicas.known}`}
      {model.price && model.cost_per_hour !== null && (
        <span class="reason">{money(model.cost_per_hour, model.price.currency)}/h</span>
      )}
    </>,
    count(model.in_flight),
    waiting(model),
    rate(model.tokens_per_second),
    bytes(model.memory_bytes),
    <ColdStart stages={model.stages} />,
  ];
  return (
    <tr role="row">
      <th role="rowheader" scope="row">
        <a href={modelLink(model.id)}>{model.id}</a>
        {model.aliases.length > 0 && <span class="reason">{model.aliases.join(", ")}</span>}
      </th>
      {cells.map((cell, at) => (
        <td key={COLUMNS[at + 1]} role="cell" data-label={COLUMNS[at + 1]}>
          {cell}
        </td>
      ))}
    </tr>
  );
}
