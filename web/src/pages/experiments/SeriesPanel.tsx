import { Suspense, useMemo, useState } from "react";
import { keepPreviousData, useQuery } from "@tanstack/react-query";

import { metricSeries } from "../../api/queries";
import type { MetricSeries, TrackedRun } from "../../api/types";
import { count, metric, plural } from "../../format/number";
import { clock } from "../../format/time";
import { Bars, Empty, Failed } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { ahead } from "../../parts/ahead";
import { useWidth } from "../../parts/useWidth";
import type { ChartLine } from "./MetricChart";
import { Swatch } from "./RunsTable";
import { colourOf, type Charted } from "./charted";
import { closer, further, moved, useZoom, type Axis, type Stretch } from "./zoom";

/** The drawing code is the larger half of this view: it comes beside the data. */
const { View: MetricChart, fetch } = ahead(async () => (await import("./MetricChart")).MetricChart);
void fetch();

const SMOOTHINGS = ["0", "0.3", "0.6", "0.9", "0.99"];
/** Log is offered, and used at first, when the greatest value is this many times the least. */
const LOG_FROM_RATIO = 50;
/** Points are asked for in such numbers, so that not every pixel of a wider window asks again. */
const POINTS_STEP = 200;

/** One metric of the given runs, over its steps or over time; as many points as it has pixels. */
export function SeriesPanel({ experiment, runs, charted, name }: { experiment: string; runs: TrackedRun[]; charted: Charted; name: string }) {
  const [frame, width] = useWidth<HTMLDivElement>(374);
  const [smoothing, setSmoothing] = useState("0.6");
  const [axis, setAxis] = useState<Axis>("step");
  const [log, setLog] = useState<boolean | null>(null);
  const [zoom, setZoom] = useZoom(axis);
  const series = useSeries(experiment, runs, name, axis, width, zoom);
  const { query } = series;
  // The same runs may come as another list each second.
  const which = runs.map((run) => `${run.run_id} ${run.name} ${charted.get(run.run_id)}`).join("\n");
  const lines = useMemo(() => linesOf(series.data, runs, charted), [series.data, which]);
  const values = lines.flatMap((line) => line.values).filter((value): value is number => value !== null);
  const { least, most } = extent(values);
  const offersLog = least > 0 && most / least > LOG_FROM_RATIO;
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
      <div ref={frame}>
        {query.error ? (
          <Failed what={name} error={query.error} retry={() => void query.refetch()} />
        ) : query.isPending ? (
          <Bars count={5} what={name} />
        ) : values.length === 0 ? (
          <Empty>The charted runs have no {name}.</Empty>
        ) : drawn ? (
          <>
            <Suspense fallback={<div className="chart-space"><Bars count={5} what={name} /></div>}>
              <MetricChart name={name} lines={lines} smoothing={Number(smoothing)} log={offersLog && (log ?? true)} axis={axis} zoom={zoom} onZoom={setZoom} />
            </Suspense>
            <ZoomFoot name={name} lines={lines} axis={axis} total={series.total} zoom={zoom} onZoom={setZoom} />
          </>
        ) : (
          <SingleValues lines={lines} />
        )}
      </div>
    </Panel>
  );
}

/**
 * The whole series, thinned to what the pixels show; when only a stretch is shown, finer points of it
 * take the place of the coarse ones, which stay until they are there.
 */
function useSeries(experiment: string, runs: TrackedRun[], name: string, axis: Axis, width: number, zoom: Stretch | null) {
  // The least and the greatest of each column of pixels.
  const points = Math.ceil((2 * width * devicePixelRatio) / POINTS_STEP) * POINTS_STEP;
  const ids = runs.map((run) => run.run_id);
  const query = useQuery({ ...metricSeries(experiment, ids, name, { axis, points }), placeholderData: keepPreviousData });
  const thinned = query.data?.some((each) => each.total > each.steps.length) ?? false;
  const part = useQuery({
    ...metricSeries(experiment, ids, name, { axis, points, ...zoom }),
    enabled: zoom !== null && thinned,
    placeholderData: keepPreviousData,
  });
  const finer = zoom !== null && thinned ? part.data : undefined;
  const data = useMemo(() => query.data?.map((whole) => spliced(whole, finer?.find((each) => each.run_id === whole.run_id), axis)) ?? [], [query.data, finer, axis]);
  const total = sum((zoom !== null && thinned ? part.data : query.data) ?? []);
  return { query, data, total: zoom !== null && !thinned ? null : total };
}

const sum = (series: MetricSeries[]) => series.reduce((all, each) => all + each.total, 0);

/** `part` in the place of the points of `whole` that lie between its ends. */
function spliced(whole: MetricSeries, part: MetricSeries | undefined, axis: Axis): MetricSeries {
  if (!part || part.steps.length === 0) return whole;
  const along = axis === "step" ? "steps" : "times";
  const [first = 0, last = 0] = [part[along][0], part[along].at(-1)];
  const before = whole[along].findIndex((x) => x >= first);
  const after = whole[along].findLastIndex((x) => x <= last) + 1;
  const join = <T,>(outer: T[], inner: T[]) => [...outer.slice(0, before < 0 ? outer.length : before), ...inner, ...outer.slice(after)];
  return { ...whole, steps: join(whole.steps, part.steps), times: join(whole.times, part.times), values: join(whole.values, part.values) };
}

function linesOf(series: MetricSeries[], runs: TrackedRun[], charted: Charted): ChartLine[] {
  return runs.flatMap((run) => {
    const found = series.find((each) => each.run_id === run.run_id);
    const slot = charted.get(run.run_id) ?? 0;
    return found ? [{ name: run.name, slot, steps: found.steps, times: found.times, values: found.values }] : [];
  });
}

function extent(values: number[]): { least: number; most: number } {
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) {
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  return { least, most };
}

interface ZoomFootProps {
  name: string;
  lines: ChartLine[];
  axis: Axis;
  /** Points in what is shown; `null` where they are all drawn. */
  total: number | null;
  zoom: Stretch | null;
  onZoom: (zoom: Stretch | null) => void;
}

/** What is shown of the series, and how to look closer without dragging. */
function ZoomFoot({ name, lines, axis, total, zoom, onZoom }: ZoomFootProps) {
  const all = lines.flatMap((line) => (axis === "step" ? line.steps : line.times));
  const { least, most } = extent(all);
  const whole = { from: least, to: most };
  const drawn = zoom === null ? all.length : all.filter((x) => x >= zoom.from && x <= zoom.to).length;
  const shown = zoom ?? whole;
  const place = axis === "step" ? `step ${count(shown.from)} to ${count(shown.to)}` : `${clock(shown.from, true)} to ${clock(shown.to, true)}`;
  return (
    <div className="chart-foot">
      <span className="cut grow" role="status" aria-label={`What the chart of ${name} shows`}>
        {total !== null && total > drawn ? `${count(drawn)} of ${count(total)} points` : plural(drawn, "point")}
        {zoom !== null && `, ${place}`}
      </span>
      {zoom !== null && (
        <>
          <Control name={name} does="Earlier" sign="‹" onClick={() => onZoom(moved(zoom, -1, whole))} />
          <Control name={name} does="Later" sign="›" onClick={() => onZoom(moved(zoom, 1, whole))} />
          <Control name={name} does="Zoom out" sign="−" onClick={() => onZoom(further(zoom, whole))} />
        </>
      )}
      <Control name={name} does="Zoom in" sign="+" onClick={() => onZoom(closer(shown))} />
      {zoom !== null && (
        <button type="button" className="chart-control" aria-label={`Whole series of ${name}`} onClick={() => onZoom(null)}>
          whole
        </button>
      )}
    </div>
  );
}

function Control({ name, does, sign, onClick }: { name: string; does: string; sign: string; onClick: () => void }) {
  return (
    <button type="button" className="chart-control sign" aria-label={`${does}: ${name}`} title={does} onClick={onClick}>
      {sign}
    </button>
  );
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
