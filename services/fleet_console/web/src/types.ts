/** The JSON of the router: `/console/api` (fleet_router/status/console.py) and the models' API. */

export type Task = "chat" | "embedding" | "rerank" | "speech";

export interface Session {
  key: string | null;
  key_required: boolean;
  /** Whether the key may see load, usage and requests of all callers. */
  sees_all: boolean;
  /** What the key may order: `load`, `unload`, `scale`. */
  controls: string[];
  /** The largest number of servers of a model that can be ordered. */
  most_servers: number;
  limits: Record<string, number>;
}

export interface Progress {
  done_bytes: number | null;
  total_bytes: number | null;
  bytes_per_second: number | null;
  seconds_left: number | null;
}

/** One model. Null: unknown, or the key may not see it. */
export interface ModelRow {
  id: string;
  task: Task;
  engine: string;
  engine_reason: string | null;
  device: string | null;
  state: string;
  reason: string;
  aliases: string[];
  adapters: string[];
  modalities: { input: string[]; output: string[] };
  dimensions: number | null;
  context_length: number | null;
  memory_bytes: number | null;
  replicas: { ready: number; known: number };
  /** Ready and desired servers as the operator counts them, such as `1/2`. */
  wanted: string | null;
  price: Price | null;
  /** Of all its servers, in the currency of the price. */
  cost_per_hour: number | null;
  progress: Progress | null;
  /** Seconds of each stage of the last start. */
  stages: Record<string, number> | null;
  in_flight: number | null;
  held: number | null;
  queue_depth: number | null;
  requests_per_second: number | null;
  tokens_per_second: number | null;
}

/** Amounts for a million tokens, a minute of audio and an hour of a server; `hour` only for keys that
 * may see the load. */
export interface Price {
  currency: string;
  input?: number;
  cachedInput?: number;
  output?: number;
  audioMinute?: number;
  hour?: number;
}

export interface Fleet {
  models: ModelRow[];
  /** Number of models found; `models` may have fewer. */
  total: number;
}

/** Requests that ended within some seconds from `start`, a Unix time; durations in seconds. */
export interface Interval {
  start: number;
  requests: number;
  errors: number;
  seconds: number;
  longest: number;
  first: number;
  first_seconds: number;
  first_longest: number;
  prompt_tokens: number;
  completion_tokens: number;
  audio_seconds: number;
}

export interface Condition {
  type: string;
  status: string;
  reason: string;
  /** Only for keys that may see everything. */
  message?: string;
  lastTransitionTime: string;
}

export interface Server {
  name: string;
  status: string;
  in_flight: number | null;
  queue_depth: number | null;
}

export interface ModelPage extends ModelRow {
  servers: Server[];
  conditions: Condition[];
  namespace: string | null;
  resource: string | null;
  /** Unix time of the router, whose clock the intervals follow. */
  now: number;
  interval_seconds: number;
  number_of_intervals: number;
  intervals: Interval[] | null;
  manifest: string | null;
}

export interface PastRequest {
  at: number;
  request_id: string;
  key: string;
  model: string;
  path: string;
  status: number;
  ms: number;
  first_ms: number | null;
  held_ms: number;
  queue_ms: number;
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  audio_seconds: number;
  images: number;
  sent_bytes: number;
  attempts: number;
  endpoint: string;
  estimated: boolean;
  /** In `currency`; null of a model without a price. */
  cost: number | null;
  currency: string;
}

export interface UsageRow {
  key: string;
  model: string;
  requests?: number;
  errors?: number;
  prompt_tokens?: number;
  cached_tokens?: number;
  completion_tokens?: number;
  audio_seconds?: number;
  images?: number;
  /** By currency. */
  cost?: Record<string, number>;
}

export interface ToolCall {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}

export type Part = { type: "text"; text: string } | { type: "image_url"; image_url: { url: string } };

/** A message of a chat, as the API takes it. */
export interface Message {
  role: "system" | "user" | "assistant" | "tool";
  content: string | Part[] | null;
  tool_calls?: ToolCall[];
  tool_call_id?: string;
}
