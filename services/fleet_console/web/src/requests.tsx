/** The last requests: sizes, times and status, never contents. */

import { useState } from "preact/hooks";
import { bytes, clock, count, duration, money } from "./format";
import { modelLink } from "./links";
import { Notice, Problem, Scroll } from "./parts";
import { usePoll } from "./poll";
import type { PastRequest, Session } from "./types";

const POLL_MS = 2000;

export function RequestsPage({ session }: { session: Session }) {
  const [errors, setErrors] = useState(false);
  const { data, error, again } = usePoll<{ requests: PastRequest[] }>("/console/api/requests", POLL_MS);
  const requests = (data?.requests ?? []).filter((one) => !errors || one.status >= 400);
  return (
    <>
      <h1 tabIndex={-1}>Requests</h1>
      <p class="muted">
        The last ones{session.sees_all ? "" : " of your key"}, newest first. Contents are not recorded.
      </p>
      <Problem error={error} retry={again} />
      <label class="check">
        <input type="checkbox" checked={errors} onChange={(event) => setErrors(event.currentTarget.checked)} />
        Errors only
      </label>
      {data && requests.length === 0 && <Notice>No requests.</Notice>}
      {requests.length > 0 && <RequestTable requests={requests} />}
    </>
  );
}

const NUMBERS = ["Total", "First byte", "Waited", "Prompt", "Generated", "Audio", "Sent"];

/** `one` is whether all of them are of one model, whose name is then left out. */
export function RequestTable({ requests, one }: { requests: PastRequest[]; one?: boolean }) {
  const priced = requests.some((each) => each.cost !== null);
  const numbers = priced ? [...NUMBERS, "Cost"] : NUMBERS;
  return (
    <Scroll label="Last requests">
      <table>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col" class="number">
              Status
            </th>
            {!one && <th scope="col">Model</th>}
            <th scope="col">Path</th>
            {numbers.map((name) => (
              <th key={name} scope="col" class="number">
                {name}
              </th>
            ))}
            <th scope="col">Key</th>
            <th scope="col">Request id</th>
          </tr>
        </thead>
        <tbody>
          {requests.map((each) => (
            <Row key={`${each.at}-${each.request_id}`} one={each} named={!one} priced={priced} />
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function Row({ one, named, priced }: { one: PastRequest; named: boolean; priced: boolean }) {
  const ms = (value: number | null) => (value ? duration(value / 1000) : "–");
  const some = (value: number) => (value ? `${count(value)}${one.estimated ? " est." : ""}` : "–");
  return (
    <tr>
      <td>{clock(one.at)}</td>
      <td class={`number ${one.status >= 400 ? "error" : ""}`}>{one.status}</td>
      {named && <th scope="row">{one.model ? <a href={modelLink(one.model)}>{one.model}</a> : "–"}</th>}
      <td>{one.path}</td>
      <td class="number">{ms(one.ms)}</td>
      <td class="number">{ms(one.first_ms)}</td>
      <td class="number">{ms(one.held_ms + one.queue_ms)}</td>
      <td class="number">{some(one.prompt_tokens)}</td>
      <td class="number">{some(one.completion_tokens)}</td>
      <td class="number">{one.audio_seconds ? duration(one.audio_seconds) : "–"}</td>
      <td class="number">{one.sent_bytes ? bytes(one.sent_bytes) : "–"}</td>
      {priced && <td class="number">{one.cost === null ? "–" : money(one.cost, one.currency)}</td>}
      <td>{one.key || "–"}</td>
      <td>
        <code>{one.request_id}</code>
      </td>
    </tr>
  );
}
