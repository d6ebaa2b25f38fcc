/** Data of the router that is read again and again while the page is visible. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, getJson } from "./api";

export interface Polled<T> {
  data: T | undefined;
  error: ApiError | undefined;
  /** Read now. */
  again: () => void;
}

/** The JSON at `path`, every `ms` milliseconds; null reads nothing. After an error the last data
 * stays. */
export function usePoll<T>(path: string | null, ms: number): Polled<T> {
  const [data, setData] = useState<T>();
  const [error, setError] = useState<ApiError>();
  const read = useRef<() => void>(() => undefined);

  useEffect(() => {
    setData(undefined);
    setError(undefined);
    if (path === null) return;
    const stop = new AbortController();
    let timer = 0;
    let running = false;

    const next = async () => {
      if (running || stop.signal.aborted) return;
      running = true;
      clearTimeout(timer);
      try {
        const found = await getJson<T>(path, stop.signal);
        setData(found);
        setError(undefined);
      } catch (problem) {
        if (stop.signal.aborted) return;
        setError(problem instanceof ApiError ? problem : new ApiError(0, String(problem)));
      } finally {
        running = false;
      }
      if (!stop.signal.aborted && !document.hidden) timer = window.setTimeout(next, ms);
    };
    const onVisible = () => {
      if (!document.hidden) void next();
    };
    read.current = () => void next();
    document.addEventListener("visibilitychange", onVisible);
    void next();
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisible);
    };
  }, [path, ms]);

  return { data, error, again: useCallback(() => read.current(), []) };
}
