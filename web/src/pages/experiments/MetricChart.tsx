import { useEffect, useMemo, useRef, useState, type RefObject } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { count, metric } from "../../format/number";
import { clock } from "../../format/time";
import { useWidth } from "../../parts/useWidth";
import { useIsDark } from "../../theme";
import { colourOf } from "./charted";
import type { Axis, Stretch } from "./zoom";

export interface ChartLine {
  name: string;
  slot: number;
  steps: number[];
  times: number[];
  /** `null` where the value was NaN. */
  values: (number | null)[];
}

const HEIGHT = 198;
/** The raw values stay behind their smoothed line at this opacity. */
const RAW_OPACITY = 0.28;
/** Charts of a page share the crosshair. */
const CROSSHAIR = "towpath";

/** Pixels: less is a click. */
const LEAST_DRAG = 5;

interface Hover {
  left: number;
  x: number;
  values: { name: string; slot: number; value: number }[];
}

interface Props {
  name: string;
  lines: ChartLine[];
  smoothing: number;
  log: boolean;
  axis: Axis;
  /** What is shown of the x axis; `null` is all. */
  zoom: Stretch | null;
  onZoom: (zoom: Stretch | null) => void;
}

export function MetricChart({ name, lines, smoothing, log, axis, zoom, onZoom }: Props) {
  const [frame, width] = useWidth<HTMLDivElement>(374);
  const probe = useRef<HTMLSpanElement>(null);
  const [hover, setHover] = useState<Hover | null>(null);
  const dark = useIsDark();
  const data = useMemo(() => table(lines, smoothing, axis), [lines, smoothing, axis]);
  // What the plot's hooks look at, as it is when they are called.
  const now = useRef({ lines, data, onZoom });
  useEffect(() => {
    now.current = { lines, data, onZoom };
  });
  const plot = useRef<uPlot>(null);
  const shape = lines.map((line) => `${line.name} ${line.slot}`).join("\n");

  useEffect(() => {
    const target = frame.current;
    if (!target || !probe.current) return;
    const colour = readColours(probe.current);
    const made = new uPlot(options({ width, now, colour, log, axis, zoom, onHover: setHover }), now.current.data, target);
    plot.current = made;
    return () => made.destroy();
    // `dark` changes what the probe reads.
  }, [frame, width, shape, log, axis, zoom, dark]);

  // New points of the same lines leave the plot as it is, and what is being dragged over.
  useEffect(() => {
    if (plot.current && plot.current.data !== data) plot.current.setData(data);
  }, [data]);

  return (
    <div className="chart" role="img" aria-label={summary(name, lines)}>
      <span ref={probe} hidden />
      <div ref={frame}>{hover && <Tooltip hover={hover} axis={axis} width={width} />}</div>
    </div>
  );
}

function Tooltip({ hover, axis, width }: { hover: Hover; axis: Axis; width: number }) {
  const values = [...hover.values].sort((a, b) => b.value - a.value);
  const side = hover.left > width / 2 ? { right: width - hover.left + 10 } : { left: hover.left + 56 };
  return (
    <div className="chart-tip" style={side}>
      <b>{axis === "step" ? `step ${count(hover.x)}` : clock(hover.x * 1000, true)}</b>
      {values.map((each) => (
        <div key={each.name} className="row">
          <i style={{ background: colourOf(each.slot).variable }} />
          <span className="cut grow">{each.name}</span>
          <b className="num">{metric(each.value)}</b>
        </div>
      ))}
    </div>
  );
}

/** x first, then for every line its raw and its smoothed values. */
function table(lines: ChartLine[], smoothing: number, axis: Axis): uPlot.AlignedData {
  const tables = lines.map((line): uPlot.AlignedData => {
    const x = axis === "step" ? line.steps : line.times.map((time) => time / 1000);
    return [x, line.values, smooth(line.values, smoothing)] as uPlot.AlignedData;
  });
  return uPlot.join(tables);
}

/** Exponential moving average, corrected for its start; NaN stays NaN. */
export function smooth(values: (number | null)[], factor: number): (number | null)[] {
  let sum = 0;
  let weight = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = sum * factor + value * (1 - factor);
    weight = weight * factor + (1 - factor);
    return sum / weight;
  });
}

/** Canvas knows no custom properties: an element is asked what they compute to. */
function readColours(probe: HTMLElement): (variable: string) => string {
  return (variable) => {
    probe.style.color = variable;
    return getComputedStyle(probe).color;
  };
}

interface Drawing {
  width: number;
  now: RefObject<{ lines: ChartLine[]; onZoom: Props["onZoom"] }>;
  colour: (variable: string) => string;
  log: boolean;
  axis: Axis;
  zoom: Stretch | null;
  onHover: (hover: Hover | null) => void;
}

function options({ width, now, colour, log, axis, zoom, onHover }: Drawing): uPlot.Options {
  // The chart counts seconds.
  const unit = axis === "time" ? 1000 : 1;
  const text = colour("var(--text-3)");
  const line = colour("var(--line)");
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const series = now.current.lines.flatMap((each): uPlot.Series[] => {
    const { variable, dashed } = colourOf(each.slot);
    const stroke = colour(variable);
    const dash = dashed ? [5, 3] : undefined;
    return [
      { stroke: faded(stroke), width: 1, points: { show: false }, dash },
      { label: each.name, stroke, width: each.slot === 0 ? 2.2 : 1.4, points: { show: false }, dash },
    ];
  });
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: {
      y: false,
      // Other charts follow the crosshair; what is dragged over stays with this one.
      sync: { key: CROSSHAIR, filters: { pub: (type) => type === "mousemove" || type === "mouseleave", sub: () => true } },
      points: { size: 6 },
      drag: { x: true, y: false, setScale: false, dist: LEAST_DRAG },
      bind: { dblclick: () => () => (now.current.onZoom(null), null) },
    },
    select: { show: true, left: 0, top: 0, width: 0, height: 0 },
    scales: {
      x: { time: axis === "time", ...(zoom && { range: () => [zoom.from / unit, zoom.to / unit] as [number, number] }) },
      y: log ? { distr: 3 } : {},
    },
    series: [{}, ...series],
    axes: [
      { stroke: text, font, grid: { show: false }, ticks: { stroke: colour("var(--line-strong)"), size: 4 }, space: 70, size: 26, gap: 3 },
      { stroke: text, font, grid: { stroke: line, width: 1 }, ticks: { show: false }, size: 46, space: 26, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : String(+tick.toPrecision(3)))) },
    ],
    hooks: {
      setSelect: [
        (plot) => {
          const { left, width: dragged } = plot.select;
          if (dragged < LEAST_DRAG) return;
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          now.current.onZoom({ from: plot.posToVal(left, "x") * unit, to: plot.posToVal(left + dragged, "x") * unit });
        },
      ],
      draw: [(plot) => markNotANumber(plot, now.current.lines, colour)],
      setCursor: [
        (plot) => {
          const { idx, left } = plot.cursor;
          if (idx === null || idx === undefined || left === undefined || left < 0) return onHover(null);
          const values = now.current.lines.flatMap((each, index) => {
            const value = plot.data[2 * index + 2]?.[idx];
            return typeof value === "number" ? [{ name: each.name, slot: each.slot, value }] : [];
          });
          onHover({ left, x: plot.data[0][idx] ?? 0, values });
        },
      ],
    },
  };
}

function faded(colour: string): string {
  const parts = /^rgb\((.*)\)$/.exec(colour)?.[1];
  return parts ? `rgba(${parts.split(/[ ,]+/).join(", ")}, ${RAW_OPACITY})` : colour;
}

/** NaN breaks the line: crosses at the top edge, with their count. */
function markNotANumber(plot: uPlot, lines: ChartLine[], colour: (variable: string) => string) {
  const { ctx, bbox } = plot;
  const unit = devicePixelRatio;
  for (const line of lines) {
    const missing = line.values.flatMap((value, index) => (value === null ? [line.steps[index] ?? 0] : []));
    if (missing.length === 0 || plot.scales.x?.time) continue;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour(colourOf(line.slot).variable);
    ctx.lineWidth = 1.3 * unit;
    const y = bbox.top + 5 * unit;
    let end = 0;
    for (const step of missing) {
      const x = plot.valToPos(step, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x - 2.5 * unit, y - 2.5 * unit);
      ctx.lineTo(x + 2.5 * unit, y + 2.5 * unit);
      ctx.moveTo(x + 2.5 * unit, y - 2.5 * unit);
      ctx.lineTo(x - 2.5 * unit, y + 2.5 * unit);
      ctx.stroke();
      end = Math.max(end, x);
    }
    ctx.font = `${11 * unit}px ${getComputedStyle(document.body).fontFamily}`;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    if (end > 0) ctx.fillText(`${missing.length} NaN`, end + 8 * unit, y);
    ctx.restore();
  }
}

function summary(name: string, lines: ChartLine[]): string {
  const last = lines.map((line) => `${line.name} ${metric(line.values.findLast((value) => value !== null) ?? null)}`);
  return `${name} of ${lines.length} runs; last: ${last.join(", ")}`;
}
