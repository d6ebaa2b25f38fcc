/** The routers of the last responses: a load balancer may choose another one for each request. */

import { useEffect, useState } from "preact/hooks";

export interface Router {
  router: string;
  /** Unix time at which it was started. */
  since: number;
}

/** A router that was replaced is no longer listed after this number of responses. */
const KEPT = 12;

let last: Router[] = [];
const listeners = new Set<() => void>();

export function noteRouter({ router, since }: Router): void {
  last = [...last, { router, since }].slice(-KEPT);
  for (const listener of listeners) listener();
}

/** Each router once, by name. */
export function useRouters(): Router[] {
  const [routers, setRouters] = useState(distinct);
  useEffect(() => {
    const onResponse = () => setRouters((known) => (same(known, distinct()) ? known : distinct()));
    listeners.add(onResponse);
    onResponse();
    return () => void listeners.delete(onResponse);
  }, []);
  return routers;
}

function distinct(): Router[] {
  const byName = new Map(last.map((one) => [one.router, one]));
  return [...byName.values()].sort((one, other) => (one.router < other.router ? -1 : 1));
}

function same(one: Router[], other: Router[]): boolean {
  return one.length === other.length && one.every((each, at) => each.router === other[at]?.router && each.since === other[at]?.since);
}
