import type { Run, StageRun } from "../../api/types";
import { sentence } from "../../format/text";
import { duration, secondsBetween } from "../../format/time";

/** Seconds the stage ran so far; `null` before it started. */
export function ranSeconds(stage: StageRun, now: number): number | null {
  return stage.started_at === null ? null : secondsBetween(stage.started_at, stage.finished_at ?? now);
}

/** `digits/118` reads "run 118". */
export function reusedFrom(stage: StageRun): string {
  const number = /\/(\d+)$/.exec(stage.reused_from ?? "")?.[1];
  return number ? `run ${number}` : (stage.reused_from ?? "the cache");
}

/** Why the stage ran, was reused or never began. */
export function why(run: Run, stage: StageRun): string {
  // It begins with what changed, which may be a folder called like a word.
  if (stage.why) return stage.why.startsWith("it ") ? sentence(stage.why) : stage.why;
  if (stage.status !== "skipped") return "Its reason is not known yet.";
  const check = run.checks.find((each) => each.stopped_run);
  return check ? `Skipped: the data check ${check.name} stopped the run before it.` : "Skipped: something before it failed.";
}

/** The one fact below a stage's name in the graph. */
export function fact(stage: StageRun, stages: StageRun[], now: number): string {
  const seconds = ranSeconds(stage, now);
  switch (stage.status) {
    case "succeeded":
    case "running":
      return seconds === null ? "" : duration(seconds);
    case "reused":
      return stage.reused_from ? `from ${reusedFrom(stage)}` : "reused";
    case "failed":
      if (stage.items && stage.items.failed > 0) return `${stage.items.failed} of ${stage.items.total} items`;
      return stage.exit_code === null ? "failed" : `exit code ${stage.exit_code}`;
    case "queued": {
      const waits = stage.needs.filter((name) => ["queued", "running"].includes(stages.find((each) => each.name === name)?.status ?? ""));
      return waits.length > 0 ? `waits for ${waits.length}` : "queued";
    }
    default:
      return stage.status;
  }
}
