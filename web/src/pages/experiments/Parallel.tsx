import type { TrackedRun } from "../../api/types";
import { plural } from "../../format/number";
import { Panel } from "../../parts/Panel";
import { useWidth } from "../../parts/useWidth";
import { colourOf, type Charted } from "./charted";
import type { Column } from "./columns";

const MOST_AXES = 4;
/** More lines than this tell nothing. */
const MOST_LINES = 300;
const HEIGHT = 196;
const TOP = 28;
const FLOOR = 174;
const SIDE = 30;

interface Axis {
  name: string;
  place: (run: TrackedRun) => number | null;
  least: string;
  most: string;
}

/** Parameters side by side, each run a line that ends at its metric. */
export function Parallel({ runs: all, charted, params, metric }: { runs: TrackedRun[]; charted: Charted; params: Column[]; metric: string }) {
  const [frame, width] = useWidth<HTMLDivElement>(388);
  const runs = all.filter((run) => metric in run.metrics);
  const axes = [
    ...axesWorth(runs, params).map((column) => axisOf(runs, column.name, (run) => run.params[column.name])),
    axisOf(runs, metric, (run) => run.metrics[metric]?.value),
  ].filter((axis): axis is Axis => axis !== null);
  if (axes.length < 2) return null;
  const x = (index: number) => SIDE + (index / (axes.length - 1)) * (width - 2 * SIDE);
  const y = (share: number) => FLOOR - share * (FLOOR - TOP);
  const path = (run: TrackedRun) => {
    const points = axes.map((axis, index) => ({ x: x(index), place: axis.place(run) }));
    if (points.some((point) => point.place === null)) return "";
    return points
      .map((point, index) => {
        const at = `${point.x.toFixed(1)} ${y(point.place ?? 0).toFixed(1)}`;
        const before = points[index - 1];
        if (!before) return `M${at}`;
        const middle = ((before.x + point.x) / 2).toFixed(1);
        return `C${middle} ${y(before.place ?? 0).toFixed(1)} ${middle} ${y(point.place ?? 0).toFixed(1)} ${at}`;
      })
      .join("");
  };
  const others = runs.filter((run) => !charted.has(run.run_id)).slice(0, MOST_LINES);
  const chosen = runs.filter((run) => charted.has(run.run_id)).reverse();
  const drawn = runs.filter((run) => path(run) !== "").length;
  if (drawn === 0) return null;
  return (
    <Panel compact title={`Params and ${metric}`} right={<span className="tiny">{plural(drawn, "run")}</span>}>
      <div className="arm-chart">
        <div ref={frame}>
          <svg width={width} height={HEIGHT} role="img" aria-label={`Parameters ${axes.map((axis) => axis.name).join(", ")} of ${runs.length} runs`} className="parallel">
            {others.map((run) => (
              <path key={run.run_id} d={path(run)} stroke="var(--text-3)" opacity=".25" />
            ))}
            {axes.map((axis, index) => (
              <g key={axis.name}>
                <path d={`M${x(index)} ${TOP}V${FLOOR}`} stroke="var(--text-3)" />
                <text className="axis-name" x={x(index)} y="12" textAnchor={index === 0 ? "start" : index === axes.length - 1 ? "end" : "middle"} dx={index === 0 ? -SIDE + 6 : index === axes.length - 1 ? SIDE - 6 : 0}>
                  {axis.name}
                </text>
                <text x={x(index)} y="24" textAnchor="middle">
                  {axis.most === axis.least ? "" : axis.most}
                </text>
                <text x={x(index)} y={FLOOR + 14} textAnchor="middle">
                  {axis.least}
                </text>
              </g>
            ))}
            {chosen.map((run) => {
              const { variable, dashed } = colourOf(charted.get(run.run_id) ?? 0);
              return <path key={run.run_id} d={path(run)} stroke={variable} strokeWidth={charted.get(run.run_id) === 0 ? 2.2 : 1.5} strokeDasharray={dashed ? "5 3" : undefined} />;
            })}
          </svg>
        </div>
      </div>
    </Panel>
  );
}

/** Parameters that runs with the metric have; those in most of them first, and of these those that differ. */
function axesWorth(runs: TrackedRun[], params: Column[]): Column[] {
  const having = (column: Column) => runs.filter((run) => run.params[column.name] !== undefined).length;
  const kinds = (column: Column) => new Set(runs.map((run) => run.params[column.name])).size;
  return params
    .filter((column) => having(column) > 0)
    .sort((a, b) => having(b) - having(a) || Number(kinds(b) > 1) - Number(kinds(a) > 1))
    .slice(0, MOST_AXES);
}

/** By size where all values are numbers (by magnitude over two decades), else by order of name. */
function axisOf(runs: TrackedRun[], name: string, valueOf: (run: TrackedRun) => number | string | undefined): Axis | null {
  const texts = [...new Set(runs.map(valueOf).filter((value): value is number | string => value !== undefined && value !== "NaN"))];
  if (texts.length === 0) return null;
  const numbers = texts.map(Number);
  if (numbers.some((value) => !Number.isFinite(value))) {
    const order = texts.map(String).sort();
    return {
      name,
      place: (run) => {
        const index = order.indexOf(String(valueOf(run)));
        return index < 0 ? null : index / Math.max(1, order.length - 1);
      },
      least: order[0] ?? "",
      most: order.at(-1) ?? "",
    };
  }
  const least = Math.min(...numbers);
  const most = Math.max(...numbers);
  const byMagnitude = least > 0 && most / least > 100;
  const position = (value: number) => (byMagnitude ? Math.log10(value) : value);
  const range = position(most) - position(least);
  return {
    name,
    place: (run) => {
      const value = valueOf(run);
      return value === undefined || !Number.isFinite(Number(value)) ? null : range === 0 ? 0.5 : (position(Number(value)) - position(least)) / range;
    },
    least: short(least),
    most: short(most),
  };
}

const short = (value: number) => String(+value.toPrecision(4));
