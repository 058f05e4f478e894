import type { ArmPoint, Rollout, RolloutPoint } from "../../api/types";
import { significant } from "../../format/number";
import { Panel } from "../../parts/Panel";
import { useWidth } from "../../parts/useWidth";
import { shortArms } from "./arms";
import { TimeTicks, linePath } from "./EvidenceChart";

interface Measure {
  title: string;
  unit: string;
  value: (arm: ArmPoint) => number | null;
  /** Whether 0 belongs to the axis (rates and latency). */
  fromZero: boolean;
  text: (value: number) => string;
}

const MEASURES: Measure[] = [
  { title: "Latency p99", unit: "ms", value: (arm) => arm.p99_ms, fromZero: true, text: (value) => significant(value) },
  { title: "Errors", unit: "% of requests", value: (arm) => (arm.error_share === null ? null : arm.error_share * 100), fromZero: true, text: (value) => significant(value) },
  { title: "Accuracy", unit: "of labelled", value: (arm) => arm.accuracy, fromZero: false, text: (value) => value.toFixed(3) },
];

/** The signals themselves, production in ink and the candidate in blue. */
export function ArmCharts({ rollout, points }: { rollout: Rollout; points: RolloutPoint[] }) {
  if (points.length < 2) return null;
  return (
    <div className="columns three">
      {MEASURES.map((measure) => (
        <ArmChart key={measure.title} rollout={rollout} series={points} measure={measure} />
      ))}
    </div>
  );
}

const HEIGHT = 100;
const LEFT = 36;
const RIGHT = 8;
const TOP = 8;
const FLOOR = 80;

function ArmChart({ rollout, series, measure }: { rollout: Rollout; series: RolloutPoint[]; measure: Measure }) {
  const [frame, width] = useWidth<HTMLDivElement>(372);
  const stable = (point: (typeof series)[number]) => measure.value(point.stable);
  const candidate = (point: (typeof series)[number]) => measure.value(point.candidate);
  const values = series.flatMap((point) => [stable(point), candidate(point)]).filter((value): value is number => value !== null);
  const last = (of: typeof stable) => {
    const point = series.findLast((each) => of(each) !== null);
    const value = point ? of(point) : null;
    return point && value !== null ? { at: point.at, value } : null;
  };
  const { low, high } = bounds(values, measure.fromZero);
  const begin = series[0]?.at ?? 0;
  const end = Math.max(series.at(-1)?.at ?? 0, begin + 1_000);
  const x = (at: number) => LEFT + ((at - begin) / (end - begin)) * (width - LEFT - RIGHT);
  const y = (value: number) => FLOOR - ((value - low) / (high - low)) * (FLOOR - TOP);
  const [lastStable, lastCandidate] = [last(stable), last(candidate)];
  const names = shortArms(rollout);
  const arms = [
    { name: names.stable, value: lastStable?.value ?? null },
    { name: names.candidate, value: lastCandidate?.value ?? null },
  ];
  const label = `${measure.title}: ${arms.map(({ name, value }) => `${name} ${value === null ? "none yet" : measure.text(value)}`).join(", ")}`;
  return (
    <Panel
      compact
      label={measure.title}
      title={
        <>
          {measure.title} <span className="text-3 light">{measure.unit}</span>
        </>
      }
      right={arms.map(({ name, value }, index) => (
        <span key={name} className={index === 0 ? "tiny text-2" : "tiny candidate"}>
          {name} <b>{value === null ? "–" : measure.text(value)}</b>
        </span>
      ))}
    >
      <div className="arm-chart">
        <div ref={frame}>
          <svg width={width} height={HEIGHT} role="img" aria-label={label}>
            {[low, (low + high) / 2, high].map((tick) => (
              <g key={tick}>
                <path d={`M${LEFT} ${Math.round(y(tick)) + 0.5}H${width - RIGHT}`} stroke="var(--line)" />
                <text x={LEFT - 6} y={y(tick) + 4} textAnchor="end">
                  {+tick.toPrecision(3)}
                </text>
              </g>
            ))}
            <path d={`M${LEFT} ${FLOOR + 0.5}H${width - RIGHT}`} stroke="var(--line-strong)" />
            <TimeTicks begin={begin} end={end} x={x} floor={FLOOR} width={width - LEFT} />
            {rollout.steps.map(
              (step, index) =>
                index > 0 && step.started_at !== null && step.started_at > begin && step.started_at < end && <path key={index} d={`M${x(step.started_at)} ${TOP}V${FLOOR}`} stroke="var(--line-strong)" strokeDasharray="3 3" />,
            )}
            <path d={linePath(series, stable, x, y)} className="arm-line stable-line" />
            <path d={linePath(series, candidate, x, y)} className="arm-line candidate-line" />
            {lastStable && <circle cx={x(lastStable.at)} cy={y(lastStable.value)} r="2.2" fill="var(--stable)" />}
            {lastCandidate && <circle cx={x(lastCandidate.at)} cy={y(lastCandidate.value)} r="2.2" fill="var(--candidate)" />}
          </svg>
        </div>
      </div>
    </Panel>
  );
}

/** Round ends around the values. */
function bounds(values: number[], fromZero: boolean): { low: number; high: number } {
  // Nothing but zeroes still needs an axis.
  const most = Math.max(...values) > 0 ? Math.max(...values) : 1;
  const least = Math.min(...values, most);
  if (fromZero) {
    const size = 10 ** Math.floor(Math.log10(most));
    return { low: 0, high: (most / size <= 1 ? 1 : most / size <= 2 ? 2 : most / size <= 5 ? 5 : 10) * size };
  }
  const step = most - least > 0.2 ? 0.5 : 0.1;
  const low = Math.max(0, Math.floor(least / step) * step);
  return { low, high: Math.max(low + step, Math.min(1, Math.ceil(most / step) * step)) };
}
