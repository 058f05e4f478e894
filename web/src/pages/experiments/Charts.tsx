import { Suspense, lazy, useState } from "react";
import { useQuery } from "@tanstack/react-query";

import { metricSeries } from "../../api/queries";
import type { MetricSeries, TrackedRun } from "../../api/types";
import { metric } from "../../format/number";
import { Bars, Empty, Failed } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import type { ChartLine } from "./MetricChart";
import { Parallel } from "./Parallel";
import { Swatch } from "./RunsTable";
import { colourOf, type Charted } from "./charted";
import type { Column } from "./columns";

/** The drawing code comes after the table: it is the larger half of this view. */
const MetricChart = lazy(async () => ({ default: (await import("./MetricChart")).MetricChart }));

const CHARTS = 2;

/** The first metrics of the charted runs, and their parameters side by side. */
export function Charts({ experiment, runs, charted, columns }: { experiment: string; runs: TrackedRun[]; charted: Charted; columns: Column[] }) {
  const metrics = columns.filter((column) => column.kind === "metric").slice(0, CHARTS);
  const params = columns.filter((column) => column.kind === "param");
  const shown = runs.filter((run) => charted.has(run.run_id));
  if (metrics.length === 0 || shown.length === 0) return null;
  return (
    <div className="columns charts">
      {metrics.map((column) => (
        <SeriesPanel key={column.id} experiment={experiment} runs={shown} charted={charted} name={column.name} />
      ))}
      <Parallel runs={runs} charted={charted} params={params} metric={metrics[0]?.name ?? ""} />
    </div>
  );
}

const SMOOTHINGS = ["0", "0.3", "0.6", "0.9", "0.99"];

/** One metric of the given runs, over its steps or over time. */
export function SeriesPanel({ experiment, runs, charted, name }: { experiment: string; runs: TrackedRun[]; charted: Charted; name: string }) {
  const query = useQuery(metricSeries(experiment, runs.map((run) => run.run_id), name));
  const [smoothing, setSmoothing] = useState("0.6");
  const [axis, setAxis] = useState<"step" | "time">("step");
  const [log, setLog] = useState<boolean | null>(null);
  const lines = query.data ? linesOf(query.data, runs, charted) : [];
  const values = lines.flatMap((line) => line.values).filter((value): value is number => value !== null);
  const offersLog = values.length > 0 && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > LOG_FROM_RATIO;
  const drawn = lines.some((line) => line.values.length > 1);
  return (
    <Panel
      compact
      title={name}
      right={
        drawn && (
          <>
            {offersLog && (
              <button type="button" className="chart-control" aria-pressed={log ?? true} onClick={() => setLog(!(log ?? true))}>
                {(log ?? true) ? "log scale" : "linear scale"}
              </button>
            )}
            <label className="chart-control">
              smoothing
              <select aria-label={`Smoothing of ${name}`} value={smoothing} onChange={(event) => setSmoothing(event.target.value)}>
                {SMOOTHINGS.map((value) => (
                  <option key={value}>{value}</option>
                ))}
              </select>
            </label>
            <button type="button" className="chart-control" onClick={() => setAxis(axis === "step" ? "time" : "step")}>
              {axis}
            </button>
          </>
        )
      }
    >
      {query.error ? (
        <Failed what={name} error={query.error} retry={() => void query.refetch()} />
      ) : query.isPending ? (
        <Bars count={5} what={name} />
      ) : values.length === 0 ? (
        <Empty>The charted runs have no {name}.</Empty>
      ) : drawn ? (
        <Suspense fallback={<div className="chart-space"><Bars count={5} what={name} /></div>}>
          <MetricChart name={name} lines={lines} smoothing={Number(smoothing)} log={offersLog && (log ?? true)} axis={axis} />
        </Suspense>
      ) : (
        <SingleValues lines={lines} />
      )}
    </Panel>
  );
}

/** Log is offered, and used at first, when the greatest value is this many times the least. */
const LOG_FROM_RATIO = 50;

function linesOf(series: MetricSeries[], runs: TrackedRun[], charted: Charted): ChartLine[] {
  return runs.flatMap((run) => {
    const found = series.find((each) => each.run_id === run.run_id);
    const slot = charted.get(run.run_id) ?? 0;
    return found ? [{ name: run.name, slot, steps: found.steps, times: found.times, values: found.values }] : [];
  });
}

/** A metric that was logged once a run is a bar, not a line. */
function SingleValues({ lines }: { lines: ChartLine[] }) {
  const values = lines.map((line) => line.values.at(-1) ?? null);
  const most = Math.max(...values.map((value) => Math.abs(value ?? 0)), 1e-12);
  return (
    <ul className="single-values">
      {lines.map((line, index) => {
        const value = values[index] ?? null;
        return (
          <li key={line.name}>
            <Swatch slot={line.slot} />
            <span className="cut">{line.name}</span>
            <span className="value-track">
              <i style={{ width: `${(Math.abs(value ?? 0) / most) * 100}%`, background: colourOf(line.slot).variable }} />
            </span>
            <b className="num">{metric(value)}</b>
          </li>
        );
      })}
    </ul>
  );
}
