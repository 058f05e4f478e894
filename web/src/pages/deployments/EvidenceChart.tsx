import type { Rollout, RolloutPoint } from "../../api/types";
import { count, evidence as evidenceText, weight } from "../../format/number";
import { clock } from "../../format/time";
import { timeStep } from "../../parts/timeAxis";
import { useWidth } from "../../parts/useWidth";
import { SERIES } from "./evidenceSeries";

const LEFT = 44;
const TOP = 20;
const BOTTOM = 22;
const HEIGHT = 212;
/** Room for the names at the ends of the lines. */
const NAMES = 110;
/** Narrower than this the legend alone names the lines. */
const NAMES_FROM = 480;
const LOG_TICKS = [0.001, 0.01, 0.1, 1, 10, 100, 1000];

/**
 * E over time: its boundary 1/α in words, the zone above tinted, a dotted line at 1 (no evidence),
 * the steps as vertical lines.
 */
export function EvidenceChart({ rollout, points: series, scale, needed, latest }: { rollout: Rollout; points: RolloutPoint[]; scale: "log" | "linear"; needed: number; latest: Record<string, number | null> }) {
  const [frame, width] = useWidth<HTMLDivElement>(756);
  const named = width > NAMES_FROM;
  const right = width - (named ? NAMES : 12);
  const floor = HEIGHT - BOTTOM;
  const begin = Math.min(rollout.started_at, series[0]?.at ?? rollout.started_at);
  const end = Math.max(series.at(-1)?.at ?? begin, begin + 1_000);
  const x = (at: number) => LEFT + ((at - begin) / (end - begin)) * (right - LEFT);
  const top = scale === "log" ? 1000 : Math.max(needed * 1.25, ...series.map((point) => Math.min(point.combined, needed * 3)));
  const y = (value: number) => {
    const share = scale === "log" ? (Math.log10(Math.min(top, Math.max(0.001, value))) + 3) / 6 : Math.min(top, value) / top;
    return floor - share * (floor - TOP);
  };
  const ticks = scale === "log" ? LOG_TICKS : [0, 0.25, 0.5, 0.75, 1].map((share) => share * top);
  const path = (value: (point: RolloutPoint) => number | null) => linePath(series, value, x, y);
  const combined = latest.combined ?? 1;
  const crossed = series.some((point) => point.combined >= needed);
  const label = `Evidence against v${rollout.candidate_version}, ${scale === "log" ? "log scale" : "linear scale"}, combined ${evidenceText(combined)}, boundary ${count(needed)}, ${crossed ? "crossed" : "not crossed"}`;
  return (
    <div ref={frame}>
      <svg width={width} height={HEIGHT} role="img" aria-label={label} className="evidence-chart">
        <rect x={LEFT} y={TOP} width={right - LEFT} height={Math.max(0, y(needed) - TOP)} fill="var(--danger-soft)" opacity=".75" />
        {ticks.map((tick) => (
          <g key={tick}>
            <path d={`M${LEFT} ${Math.round(y(tick)) + 0.5}H${right}`} stroke="var(--line)" />
            <text x={LEFT - 6} y={y(tick) + 4} textAnchor="end">
              {tick >= 1 ? count(tick) : tick}
            </text>
          </g>
        ))}
        <path d={`M${LEFT} ${floor + 0.5}H${right}`} stroke="var(--line-strong)" />
        <TimeTicks begin={begin} end={end} x={x} floor={floor} width={right - LEFT} />
        <Marks rollout={rollout} x={x} floor={floor} begin={begin} end={end} />
        <path d={`M${LEFT} ${y(needed)}H${right}`} stroke="var(--danger)" strokeWidth="1.5" />
        <text x={LEFT + 6} y={y(needed) - 6} className="boundary">
          Roll back at {count(needed)} (1/α, α = {rollout.policy.judge.alpha})
        </text>
        {scale === "log" && <path d={`M${LEFT} ${y(1)}H${right}`} stroke="var(--text-3)" strokeDasharray="1 3" />}
        {SERIES.map(({ policy, className, value }) => (
          <path key={policy} d={path(value)} className={`series ${className}`} />
        ))}
        <path d={path((point) => point.combined)} className="series combined" />
        <circle cx={x(series.at(-1)?.at ?? end)} cy={y(combined)} r="3.5" fill="var(--text)" stroke="var(--surface)" strokeWidth="1.5" />
        {named && <EndNames latest={latest} y={y} at={right + 10} />}
      </svg>
    </div>
  );
}

export function linePath<P extends { at: number }>(points: P[], value: (point: P) => number | null, x: (at: number) => number, y: (value: number) => number): string {
  let path = "";
  let pen = "M";
  for (const point of points) {
    const at = value(point);
    if (at === null || Number.isNaN(at)) {
      pen = "M";
    } else {
      path += `${pen}${x(point.at).toFixed(1)} ${y(at).toFixed(1)}`;
      pen = "L";
    }
  }
  return path;
}

export function TimeTicks({ begin, end, x, floor, width }: { begin: number; end: number; x: (at: number) => number; floor: number; width: number }) {
  // Seconds are the finest that the labels tell apart.
  const step = Math.max(1, timeStep((end - begin) / 1000, Math.max(1, Math.floor(width / 80)))) * 1000;
  const first = Math.ceil(begin / step) * step;
  const withSeconds = step < 60_000;
  // Half a label: the last one ends where the axis ends.
  const half = withSeconds ? 24 : 14;
  const rightmost = x(end) - half;
  const ticks = Array.from({ length: Math.max(0, Math.floor((end - first) / step) + 1) }, (_, index) => first + index * step);
  return ticks.map((tick) => (
    <g key={tick}>
      <path d={`M${x(tick)} ${floor + 0.5}v4`} stroke="var(--line-strong)" />
      <text x={Math.min(x(tick), rightmost)} y={floor + 15} textAnchor="middle">
        {clock(tick, withSeconds)}
      </text>
    </g>
  ));
}

/** Where each step began, and since when the current one holds. */
function Marks({ rollout, x, floor, begin, end }: { rollout: Rollout; x: (at: number) => number; floor: number; begin: number; end: number }) {
  const held = rollout.status === "holding" ? rollout.decisions.findLast((decision) => decision.verb === "hold" && decision.step === rollout.step) : undefined;
  const marks = [
    ...rollout.steps.flatMap((step) => (step.started_at === null ? [] : [{ at: step.started_at, text: weight(step.weight) }])),
    ...(held ? [{ at: held.at, text: "held" }] : []),
  ].filter(({ at }) => at >= begin - 1_000 && at <= end);
  return marks.map(({ at, text }, index) => {
    const near = index > 0 && x(at) - x(marks[index - 1]?.at ?? begin) < 34;
    return (
      <g key={`${at} ${text}`}>
        {x(at) > LEFT + 2 && <path d={`M${x(at)} 4V${floor}`} stroke="var(--line-strong)" strokeDasharray="3 3" />}
        {!near && (
          <text x={Math.max(LEFT, x(at) + (x(at) > LEFT + 2 ? 4 : 0))} y="13">
            {text}
          </text>
        )}
      </g>
    );
  });
}

const NAME_GAP = 14;

/** The names at the ends, pushed apart where the lines meet. */
function EndNames({ latest, y, at }: { latest: Record<string, number | null>; y: (value: number) => number; at: number }) {
  const names = Object.entries(latest)
    .flatMap(([name, value]) => (value === null ? [] : [{ name, value, top: y(value) + 4 }]))
    .sort((a, b) => a.top - b.top);
  for (let index = 1; index < names.length; index += 1) {
    const name = names[index];
    const above = names[index - 1];
    if (name && above) name.top = Math.max(name.top, above.top + NAME_GAP);
  }
  const over = (names.at(-1)?.top ?? 0) - (HEIGHT - 4);
  return names.map(({ name, value, top }) => (
    <text key={name} x={at} y={over > 0 ? top - over : top} className={`end ${name}`}>
      {name} {evidenceText(value)}
    </text>
  ));
}
