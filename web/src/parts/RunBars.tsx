import type { RunSummary } from "../api/types";
import { duration, secondsBetween } from "../format/time";

const STEP = 13;
const BAR = 9;
const FLOOR = 26;

/** Newest right; height is the duration, a failure adds a cross, a running one is dashed. */
export function RunBars({ runs, now }: { runs: RunSummary[]; now: number }) {
  const seconds = runs.map((run) => secondsBetween(run.started_at ?? run.created_at, run.finished_at ?? now));
  const longest = Math.max(...seconds, 1);
  const width = runs.length * STEP;
  const failed = runs.filter((run) => run.status === "failed").length;
  const label = `Last ${runs.length} runs, ${failed} failed, longest ${duration(longest)}`;
  return (
    <svg width={width} height="27" role="img" aria-label={label}>
      {runs.map((run, index) => {
        const height = Math.max(4, Math.round(((seconds[index] ?? 0) / longest) * 22));
        const x = index * STEP;
        const y = FLOOR - height;
        if (run.status === "running" || run.status === "queued") {
          return <rect key={run.number} x={x + 0.75} y={y} width={BAR - 1.5} height={height} rx="1.5" fill="none" stroke="var(--running)" strokeWidth="1.3" strokeDasharray="2.5 2" />;
        }
        if (run.status === "cancelled") {
          return <rect key={run.number} x={x + 0.75} y={y} width={BAR - 1.5} height={height} rx="1.5" fill="none" stroke="var(--neutral)" strokeWidth="1.3" />;
        }
        const bad = run.status === "failed";
        return (
          <g key={run.number}>
            <rect x={x} y={y} width={BAR} height={height} rx="1.5" fill={bad ? "var(--danger)" : "var(--success)"} opacity={bad ? 1 : 0.55} />
            {bad && <path d={`M${x + 2} ${Math.max(1, y - 8)}l5 5m0-5l-5 5`} stroke="var(--danger)" strokeWidth="1.6" />}
          </g>
        );
      })}
      <path d={`M0 26.5H${width - 4}`} stroke="var(--line-strong)" />
    </svg>
  );
}
