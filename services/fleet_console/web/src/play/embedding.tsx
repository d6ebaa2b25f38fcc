/** Embeddings: how similar texts are, as a heat map. */

import { useState } from "preact/hooks";
import { postJson } from "../api";
import { Problem, Scroll } from "../parts";
import type { ModelRow } from "../types";
import { useRequest } from "./page";

const EXAMPLE = "A cat sleeps on the sofa.\nA kitten naps on the couch.\nThe stock market fell today.";
const MAX_TEXTS = 24;
const STEPS = 10;

interface Result {
  texts: string[];
  similarities: number[][];
  dimensions: number;
  tokens: number;
  ms: number;
}

export function EmbeddingPlay({ model }: { model: ModelRow }) {
  const [typed, setTyped] = useState(EXAMPLE);
  const [result, setResult] = useState<Result>();
  const request = useRequest();
  const texts = typed.split("\n").filter((line) => line.trim());

  const compare = () =>
    request.run(async (signal) => {
      const started = performance.now();
      const response = await postJson("/v1/embeddings", { model: model.id, input: texts }, signal);
      const body = (await response.json()) as { data: { embedding: number[] }[]; usage: { prompt_tokens: number } };
      const vectors = body.data.map((one) => one.embedding);
      setResult({
        texts,
        similarities: vectors.map((one) => vectors.map((other) => cosine(one, other))),
        dimensions: vectors[0]?.length ?? 0,
        tokens: body.usage.prompt_tokens,
        ms: performance.now() - started,
      });
    });
  return (
    <>
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          void compare();
        }}
      >
        <label>
          <span>Texts, one on each line</span>
          <textarea rows={6} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
        </label>
        <div class="row">
          <button type="submit" class="primary" disabled={request.running || !texts.length || texts.length > MAX_TEXTS}>
            Compare
          </button>
          {texts.length > MAX_TEXTS && <span role="alert">At most {MAX_TEXTS} texts are compared.</span>}
        </div>
      </form>
      <Problem error={request.error} retry={() => void compare()} />
      {result && <HeatMap result={result} />}
    </>
  );
}

function HeatMap({ result }: { result: Result }) {
  return (
    <section class="card">
      <h2>Cosine similarity</h2>
      <p class="figures" role="status">
        {result.texts.length} vectors of {result.dimensions} numbers · {result.tokens} tokens · {Math.round(result.ms)} ms
      </p>
      <Scroll label="Similarities">
        <table class="heat">
          <thead>
            <tr>
              <td />
              {result.texts.map((text, at) => (
                <th key={at} scope="col" title={text}>
                  {at + 1}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {result.similarities.map((row, at) => (
              <tr key={at}>
                <th scope="row">
                  {at + 1} <span class="reason">{result.texts[at]}</span>
                </th>
                {row.map((value, other) => (
                  <td key={other} class={`heat-${step(value)}`}>
                    {value.toFixed(2)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

/** 0 for a similarity of 0 and less, STEPS for 1. */
function step(similarity: number): number {
  return Math.round(Math.min(1, Math.max(0, similarity)) * STEPS);
}

function cosine(one: number[], other: number[]): number {
  let dot = 0;
  let square = 0;
  let otherSquare = 0;
  one.forEach((value, at) => {
    const second = other[at] ?? 0;
    dot += value * second;
    square += value * value;
    otherSquare += second * second;
  });
  return square && otherSquare ? dot / Math.sqrt(square * otherSquare) : 0;
}
