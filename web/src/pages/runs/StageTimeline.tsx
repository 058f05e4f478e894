import type { Run, StageRun } from "../../api/types";
import { clip } from "../../format/text";
import { duration, secondsBetween } from "../../format/time";
import { Panel } from "../../parts/Panel";
import { STAGE, ShapePaths, tone } from "../../parts/Status";
import { useNow } from "../../parts/Time";
import { timeStep } from "../../parts/timeAxis";
import { useWidth } from "../../parts/useWidth";
import { ranSeconds, reusedFrom } from "./stageFacts";

const ROW = 27;
const TOP = 20;
const LABEL = 116;
const RIGHT = 16;

/** When each stage waited and ran: thin line queued, bar ran, outlined stub reused. */
export function StageTimeline({ run, selected, onSelect }: { run: Run; selected?: string; onSelect: (stage: string) => void }) {
  const [frame, width] = useWidth<HTMLDivElement>(724);
  const current = useNow();
  const begin = Math.min(run.started_at ?? run.created_at, ...run.stages.flatMap((stage) => stage.queued_at ?? stage.started_at ?? []));
  const running = run.finished_at === null && run.status === "running";
  const end = Math.max(run.finished_at ?? (running ? current : begin), ...run.stages.map((stage) => stage.finished_at ?? 0));
  const total = Math.max(secondsBetween(begin, end), 0.1);
  const step = timeStep(total, Math.max(2, Math.floor((width - LABEL) / 90)));
  const axis = Math.ceil((total * 1.02) / step) * step;
  const x = (at: number) => LABEL + (secondsBetween(begin, at) / axis) * (width - LABEL - RIGHT);
  const saved = run.stages.reduce((sum, stage) => sum + (stage.saved_seconds ?? 0), 0);
  const height = TOP + run.stages.length * ROW + 6;
  return (
    <Panel
      title="Timeline"
      right={`${duration(total)}${running ? " so far" : ""}${saved > 0 ? `; reuse saved ${duration(saved)}` : ""}`}
    >
      <div className="timeline">
        <div ref={frame}>
          <svg width={width} height={height} role="img" aria-label={`Timeline of ${run.stages.length} stages, ${duration(total)}`}>
            {Array.from({ length: Math.round(axis / step) + 1 }, (_, tick) => {
              const at = LABEL + ((tick * step) / axis) * (width - LABEL - RIGHT);
              return (
                <g key={tick}>
                  <path d={`M${at} ${TOP}V${height - 2}`} stroke="var(--line)" />
                  <text x={at} y="13" textAnchor="middle">
                    {tick * step >= 60 ? duration(tick * step) : `${+(tick * step).toFixed(1)} s`}
                  </text>
                </g>
              );
            })}
            {run.stages.map((stage, row) => (
              <g key={stage.name} className="timeline-row" transform={`translate(0 ${TOP + row * ROW})`} onClick={() => onSelect(stage.name)}>
                <rect width={width} height={ROW} fill={stage.name === selected ? "var(--selected)" : "transparent"} />
                <g transform="translate(2 6)" className={`tone-${tone(STAGE[stage.status].shape)}`} fill="none">
                  <ShapePaths shape={STAGE[stage.status].shape} />
                </g>
                <text className="row-name" x="22" y="17.5">
                  {clip(stage.name, 15)}
                </text>
                <Bar stage={stage} x={x} now={end} right={width} />
              </g>
            ))}
            {running && <path d={`M${x(current)} ${TOP - 2}V${height - 2}`} stroke="var(--text)" />}
          </svg>
        </div>
      </div>
    </Panel>
  );
}

function Bar({ stage, x, now, right }: { stage: StageRun; x: (at: number) => number; now: number; right: number }) {
  const queued = stage.queued_at ?? stage.started_at;
  if (stage.status === "reused") {
    const at = x(stage.finished_at ?? queued ?? now);
    const saved = stage.saved_seconds === null ? "" : `, saved ${duration(stage.saved_seconds)}`;
    return (
      <>
        <rect x={at} y="7" width="4" height="13" rx="1.5" fill="none" stroke="var(--neutral)" strokeWidth="1.3" />
        <Words at={at + 10} right={right} text={`reused, from ${reusedFrom(stage)}${saved}`} />
      </>
    );
  }
  if (stage.started_at === null) return null;
  const from = x(stage.started_at);
  const to = Math.max(from + 2, x(stage.finished_at ?? now));
  const seconds = ranSeconds(stage, now) ?? 0;
  const colour = { running: "var(--running)", failed: "var(--danger)", cancelled: "var(--neutral)" }[stage.status as string] ?? "var(--success)";
  return (
    <>
      {queued !== null && <path d={`M${x(queued)} 13.5H${from}`} stroke="var(--control)" strokeWidth="1.5" />}
      <rect x={from} y="7" width={to - from} height="13" rx="2" fill={colour} opacity={stage.status === "succeeded" ? 0.6 : 1} />
      <Words at={to + 6} right={right} before={from - 6} text={duration(seconds)} colour={stage.status === "running" ? "var(--running)" : undefined} />
    </>
  );
}

/** Beside the bar where there is room, else before it. */
function Words({ at, before, right, text, colour }: { at: number; before?: number; right: number; text: string; colour?: string }) {
  const fits = at + text.length * 6.2 < right;
  const style = colour ? { fill: colour } : undefined;
  return fits || before === undefined ? (
    <text x={at} y="17.5" style={style}>
      {text}
    </text>
  ) : (
    <text x={before} y="17.5" textAnchor="end" style={style}>
      {text}
    </text>
  );
}
