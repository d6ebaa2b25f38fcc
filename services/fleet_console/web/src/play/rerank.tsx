/** Rerank: documents in the order of their relevance to a query. */

import { useState } from "preact/hooks";
import { postJson } from "../api";
import { Problem } from "../parts";
import type { ModelRow } from "../types";
import { useRequest } from "./page";

const QUERY = "How do I reset my password?";
const DOCUMENTS = [
  "Opening hours are from nine to five.",
  "To choose a new password, open Settings and select Security.",
  "Passwords must have at least twelve characters.",
].join("\n");

interface Ranked {
  text: string;
  score: number;
}

export function RerankPlay({ model }: { model: ModelRow }) {
  const [query, setQuery] = useState(QUERY);
  const [typed, setTyped] = useState(DOCUMENTS);
  const [ranked, setRanked] = useState<Ranked[]>();
  const request = useRequest();
  const documents = typed.split("\n").filter((line) => line.trim());

  const rank = () =>
    request.run(async (signal) => {
      const response = await postJson("/v1/rerank", { model: model.id, query, documents }, signal);
      const body = (await response.json()) as { results: { index: number; relevance_score: number }[] };
      setRanked(body.results.map((one) => ({ text: documents[one.index] ?? "", score: one.relevance_score })));
    });
  return (
    <>
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          void rank();
        }}
      >
        <label>
          <span>Query</span>
          <input value={query} onInput={(event) => setQuery(event.currentTarget.value)} />
        </label>
        <label>
          <span>Documents, one on each line</span>
          <textarea rows={6} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
        </label>
        <button type="submit" class="primary" disabled={request.running || !query.trim() || !documents.length}>
          Rank
        </button>
      </form>
      <Problem error={request.error} retry={() => void rank()} />
      {ranked && (
        <section class="card">
          <h2>Result</h2>
          <ol class="ranked">
            {ranked.map((one, at) => (
              <li key={at}>
                <span class="score">{one.score.toFixed(3)}</span>
                <meter min={0} max={1} value={one.score} aria-label={`Relevance of document ${at + 1}`} />
                <span>{one.text}</span>
              </li>
            ))}
          </ol>
        </section>
      )}
    </>
  );
}
