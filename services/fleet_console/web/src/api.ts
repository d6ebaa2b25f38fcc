/** Requests to the router. The key is kept in sessionStorage, for this tab only. */

import { noteRouter, type Router } from "./routers";

const STORED = "modelfleet-key";
const WAIT_MS = 15_000;

let key = sessionStorage.getItem(STORED) ?? "";

export function hasKey(): boolean {
  return key !== "";
}

export function setKey(value: string): void {
  key = value.trim();
  if (key) sessionStorage.setItem(STORED, key);
  else sessionStorage.removeItem(STORED);
}

/** An error of the router or of the network, whose status is 0. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly code: string | null = null,
  ) {
    super(message);
  }
}

/** JSON of the router for this page. */
export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  const timeout = AbortSignal.timeout(WAIT_MS);
  const response = await send(path, {
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
  });
  const found = (await response.json()) as T & Router;
  noteRouter(found);
  return found;
}

export async function postJson(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  return await send(path, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json" },
    ...(signal ? { signal } : {}),
  });
}

/** Order that a model starts, or has `servers` servers; 0 stops it. */
export async function order(path: string, servers?: number): Promise<void> {
  await send(servers === undefined ? path : `${path}?servers=${servers}`, {
    method: "POST",
    signal: AbortSignal.timeout(WAIT_MS),
  });
}

export async function postForm(path: string, form: FormData, signal?: AbortSignal): Promise<Response> {
  return await send(path, { method: "POST", body: form, ...(signal ? { signal } : {}) });
}

/** The response with status 2xx. Throws ApiError, and AbortError if the caller aborts. */
async function send(path: string, options: RequestInit): Promise<Response> {
  const headers = new Headers(options.headers);
  if (key) headers.set("authorization", `Bearer ${key}`);
  let response: Response;
  try {
    // With cookies of this address, by which an Ingress keeps a browser at one router or logs it in.
    response = await fetch(path, { ...options, headers, credentials: "same-origin", redirect: "error" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The router does not respond.");
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

async function errorOf(response: Response): Promise<ApiError> {
  try {
    const { error } = (await response.json()) as { error: { message: string; code: string | null } };
    return new ApiError(response.status, error.message, error.code);
  } catch {
    return new ApiError(response.status, `The router responded with status ${response.status}.`);
  }
}

/** What an event stream has: data of an event, or a comment. */
export interface StreamLine {
  data?: string;
  comment?: string;
}

/** The lines of an event stream (html.spec.whatwg.org, section 9.2), until it ends. */
export async function* streamLines(response: Response): AsyncGenerator<StreamLine> {
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n/);
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line.startsWith("data:")) yield { data: line.slice(5).trimStart() };
        else if (line.startsWith(":")) yield { comment: line.slice(1).trim() };
      }
    }
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The connection was lost during the response.");
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}
