/** Usage by key and model since the router was started. */

import { count, duration, money, UNKNOWN } from "./format";
import { modelLink } from "./links";
import { Notice, Problem, Scroll } from "./parts";
import { usePoll } from "./poll";
import type { Session, UsageRow } from "./types";

const POLL_MS = 5000;
type Counted = Exclude<keyof UsageRow, "key" | "model" | "cost">;
const COLUMNS: [Counted, string][] = [
  ["requests", "Requests"],
  ["errors", "Errors"],
  ["prompt_tokens", "Prompt tokens"],
  ["cached_tokens", "Cached"],
  ["completion_tokens", "Generated tokens"],
  ["audio_seconds", "Audio"],
  ["images", "Images"],
];

export function UsagePage({ session }: { session: Session }) {
  const { data, error, again } = usePoll<{ usage: UsageRow[]; total: number }>("/console/api/usage", POLL_MS);
  const rows = data?.usage ?? [];
  const priced = rows.some((row) => row.cost);
  const limits = Object.entries(session.limits);
  return (
    <>
      <h1 tabIndex={-1}>Usage</h1>
      <p class="muted">By key and model{session.sees_all ? "" : ", of your key"}, at this router.</p>
      <Problem error={error} retry={again} />
      {limits.length > 0 && (
        <section class="card">
          <h2>Limits of your key</h2>
          <dl class="facts">
            {limits.map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{count(value)}</dd>
              </div>
            ))}
          </dl>
        </section>
      )}
      {data && rows.length === 0 && <Notice>No requests since the router was started.</Notice>}
      {rows.length > 0 && (
        <Scroll label="Usage">
          <table>
            <thead>
              <tr>
                <th scope="col">Key</th>
                <th scope="col">Model</th>
                {COLUMNS.map(([field, name]) => (
                  <th key={field} scope="col" class="number">
                    {name}
                  </th>
                ))}
                {priced && (
                  <th scope="col" class="number">
                    Cost
                  </th>
                )}
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <tr key={`${row.key}|${row.model}`}>
                  <td>{row.key || "(none)"}</td>
                  <th scope="row">{row.model ? <a href={modelLink(row.model)}>{row.model}</a> : "(none)"}</th>
                  {COLUMNS.map(([field]) => (
                    <td key={field} class="number">
                      {cell(field, row[field])}
                    </td>
                  ))}
                  {priced && <td class="number">{costOf(row)}</td>}
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </>
  );
}

function costOf(row: UsageRow): string {
  const amounts = Object.entries(row.cost ?? {}).map(([currency, amount]) => money(amount, currency));
  return amounts.join(" + ") || UNKNOWN;
}

function cell(field: Counted, value: number | undefined): string {
  if (!value) return UNKNOWN;
  return field === "audio_seconds" ? duration(value) : count(value);
}
