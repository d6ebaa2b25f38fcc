/** Addresses of the pages: all of them are fragments of `/`. */

export type Place =
  | { page: "fleet" | "usage" | "requests" }
  | { page: "model"; model: string }
  | { page: "play"; model: string | null };

export function modelLink(model: string): string {
  return `#/model/${encodeURIComponent(model)}`;
}

export function playLink(model: string): string {
  return `#/play/${encodeURIComponent(model)}`;
}

/** Where the data of a model is. Slashes stay as they are: some proxies refuse or redirect `%2F`. */
export function modelPath(model: string): string {
  return `/console/api/models/${model.split("/").map(encodeURIComponent).join("/")}`;
}

/** The page of a fragment; the fleet for one that is unknown. */
export function placeOf(hash: string): Place {
  const [, page, name] = /^#\/([a-z]*)(?:\/(.*))?$/.exec(hash) ?? [];
  const model = decoded(name);
  if (page === "model" && model) return { page, model };
  if (page === "play") return { page, model };
  if (page === "usage" || page === "requests") return { page };
  return { page: "fleet" };
}

function decoded(text: string | undefined): string | null {
  try {
    return text ? decodeURIComponent(text) : null;
  } catch {
    return null;
  }
}
