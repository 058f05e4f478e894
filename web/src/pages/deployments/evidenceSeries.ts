import type { Rollout, RolloutPoint } from "../../api/types";

/** The metrics of the evidence chart: thin, dashed differently, named at their end. */
export const SERIES = [
  { policy: "latency", word: "latency", className: "latency", value: (point: RolloutPoint) => point.latency },
  { policy: "errors", word: "errors", className: "errors", value: (point: RolloutPoint) => point.errors },
  { policy: "labels", word: "labels", className: "labels", value: (point: RolloutPoint) => point.labels },
] as const;

/**
 * The server's points, which are a second or more apart, and after the end of the rollout one with
 * the numbers it was decided on: a rollback often falls between two points.
 */
export function pointsOf(rollout: Rollout): RolloutPoint[] {
  const { series, verdict, finished_at } = rollout;
  const last = series.at(-1);
  if (verdict === null || finished_at === null || (last && last.at >= finished_at)) return series;
  const of = (metric: string) => verdict.metrics.filter(({ name }) => name.startsWith(metric));
  // E of a metric with several limits is the mean of theirs.
  const evidence = (metric: string) => {
    const values = of(metric).map((each) => each.evidence ?? Infinity);
    return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
  };
  const good = (metric: string, arm: "stable" | "candidate") => {
    const counts = of(metric)[0]?.[arm];
    return counts && counts.all > 0 ? 1 - counts.bad / counts.all : null;
  };
  const arm = (name: "stable" | "candidate") => {
    const faultless = good("errors", name);
    return { p99_ms: last?.[name].p99_ms ?? null, error_share: faultless === null ? null : 1 - faultless, accuracy: good("labels", name) };
  };
  const end: RolloutPoint = {
    at: finished_at,
    combined: verdict.combined ?? Infinity,
    errors: evidence("errors"),
    latency: evidence("latency"),
    labels: evidence("labels"),
    stable: arm("stable"),
    candidate: arm("candidate"),
  };
  return [...series, end];
}

/** What stands at the end of each line. */
export function latestEvidence(points: RolloutPoint[]): Record<string, number | null> {
  const last = (value: (point: RolloutPoint) => number | null) => {
    const point = points.findLast((each) => value(each) !== null);
    return point ? value(point) : null;
  };
  return {
    combined: last((point) => point.combined),
    ...Object.fromEntries(SERIES.map(({ policy, value }) => [policy, last(value)])),
  };
}
