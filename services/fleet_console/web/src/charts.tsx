/** Charts of a model's last minutes. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Interval, ModelPage } from "./types";

interface Line {
  label: string;
  /** Name of a CSS variable with the colour. */
  color: string;
  /** Value of an interval; null leaves a gap. */
  of: (interval: Interval) => number | null;
}

interface Chart {
  title: string;
  unit: string;
  lines: Line[];
  /** Value of intervals without requests. */
  empty: number | null;
}

const HEIGHT = 180;

/** The charts of a task, over intervals of `seconds`. */
function chartsOf(task: ModelPage["task"], seconds: number): Chart[] {
  const latency: Chart = {
    title: "Latency",
    unit: "s",
    empty: null,
    lines: [
      { label: "mean", color: "--line-1", of: (one) => one.seconds / one.requests },
      { label: "longest", color: "--line-2", of: (one) => one.longest },
    ],
  };
  const first: Chart = {
    title: task === "chat" ? "First token" : "First byte",
    unit: "s",
    empty: null,
    lines: [
      { label: "mean", color: "--line-1", of: (one) => (one.first ? one.first_seconds / one.first : null) },
      { label: "longest", color: "--line-2", of: (one) => (one.first ? one.first_longest : null) },
    ],
  };
  const work: Record<ModelPage["task"], Line> = {
    chat: { label: "generated tokens", color: "--line-1", of: (one) => one.completion_tokens / seconds },
    embedding: { label: "tokens", color: "--line-1", of: (one) => one.prompt_tokens / seconds },
    rerank: { label: "tokens", color: "--line-1", of: (one) => one.prompt_tokens / seconds },
    speech: { label: "seconds of audio", color: "--line-1", of: (one) => one.audio_seconds / seconds },
  };
  const throughput: Chart = { title: "Throughput", unit: "per second", empty: 0, lines: [work[task]] };
  const requests: Chart = {
    title: "Requests",
    unit: "per second",
    empty: 0,
    lines: [
      { label: "all", color: "--line-1", of: (one) => one.requests / seconds },
      { label: "errors", color: "--line-bad", of: (one) => one.errors / seconds },
    ],
  };
  return [latency, first, throughput, requests];
}

export function Charts({ page, now }: { page: ModelPage; now: number }) {
  const charts = useMemo(() => chartsOf(page.task, page.interval_seconds), [page.task, page.interval_seconds]);
  return (
    <div class="charts">
      {charts.map((chart) => (
        <ChartOf key={chart.title} chart={chart} page={page} now={now} />
      ))}
    </div>
  );
}

/** Times and values of each line, one for each interval that is complete at `now`: the rates of the
 * present one would be too low. */
function dataOf(chart: Chart, page: ModelPage, now: number): uPlot.AlignedData {
  const seconds = page.interval_seconds;
  const last = (Math.floor(now / seconds) - 1) * seconds;
  const known = new Map((page.intervals ?? []).map((one) => [one.start, one]));
  const times = Array.from({ length: page.number_of_intervals }, (_, at) => last - (page.number_of_intervals - 1 - at) * seconds);
  const lines = chart.lines.map((line) =>
    times.map((at) => {
      const interval = known.get(at);
      return interval ? line.of(interval) : chart.empty;
    }),
  );
  return [times, ...lines];
}

function ChartOf({ chart, page, now }: { chart: Chart; page: ModelPage; now: number }) {
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const dark = useDark();
  const data = dataOf(chart, page, now);
  const latest = useRef(data);
  latest.current = data;

  useEffect(() => {
    const place = holder.current;
    if (place === null) return;
    const made = new uPlot(optionsOf(chart, place.clientWidth), latest.current, place);
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: place.clientWidth, height: HEIGHT }));
    observer.observe(place);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [chart, dark]);
  useEffect(() => plot.current?.setData(data), [data]);

  return (
    <figure class="chart card">
      <figcaption>
        {chart.title} <span class="muted">{chart.unit}</span>
        <ul class="legend">
          {chart.lines.map((line, at) => (
            <li key={line.label}>
              <span class="swatch" style={{ background: `var(${line.color})` }} aria-hidden="true" />
              {line.label} <strong>{lastOf(chart, data[at + 1])}</strong>
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={holder} aria-hidden="true" />
    </figure>
  );
}

/** The last value as text, which is all that a screen reader needs of a line. */
function lastOf(chart: Chart, values: uPlot.AlignedData[number] | undefined): string {
  const value = values?.at(-1) ?? null;
  return value === null ? "–" : `${value >= 100 ? value.toFixed(0) : value.toFixed(2)}${chart.unit === "s" ? " s" : ""}`;
}

function optionsOf(chart: Chart, width: number): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: color("--muted"),
    grid: { stroke: color("--border"), width: 1 },
    ticks: { stroke: color("--border"), width: 1 },
    font: "12px system-ui, sans-serif",
  };
  return {
    width,
    height: HEIGHT,
    // The last label of the times would be cut off.
    padding: [8, 28, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), high ? high * 1.1 : 1] } },
    axes: [{ ...axis, size: 32, values: (_, times) => times.map(minute) }, { ...axis, size: 52 }],
    series: [
      {},
      ...chart.lines.map((line) => ({
        label: line.label,
        stroke: color(line.color),
        width: 2,
        points: { show: chart.empty === null, size: 5 },
      })),
    ],
  };
}

function minute(at: number): string {
  return new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

function useDark(): boolean {
  const query = useMemo(() => matchMedia("(prefers-color-scheme: dark)"), []);
  const [dark, setDark] = useState(query.matches);
  useEffect(() => {
    const onChange = () => setDark(query.matches);
    query.addEventListener("change", onChange);
    return () => query.removeEventListener("change", onChange);
  }, [query]);
  return dark;
}
