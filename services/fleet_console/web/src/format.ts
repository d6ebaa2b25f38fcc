/** Numbers, sizes and times as text. */

export const UNKNOWN = "–";

export function count(value: number | null | undefined): string {
  return value == null ? UNKNOWN : Math.round(value).toLocaleString("en");
}

export function rate(value: number | null | undefined): string {
  if (value == null) return UNKNOWN;
  return value >= 100 ? count(value) : value.toFixed(1);
}

export function bytes(value: number | null | undefined): string {
  if (value == null) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${value >= 100 || at === 0 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

/** A duration in seconds. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null) return UNKNOWN;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${Math.round(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A Unix time as local time. */
export function clock(at: number): string {
  return new Date(at * 1000).toLocaleTimeString();
}

export function moment(at: number): string {
  return new Date(at * 1000).toLocaleString();
}
