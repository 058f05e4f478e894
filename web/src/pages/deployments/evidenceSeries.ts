import type { Rollout, RolloutPoint } from "../../api/types";

/** The metrics of the evidence chart: thin, dashed differently, named at their end. */
export const SERIES = [
  { policy: "latency", word: "latency", className: "latency", value: (point: RolloutPoint) => point.latency },
  { policy: "errors", word: "errors", className: "errors", value: (point: RolloutPoint) => point.errors },
  { policy: "labels", word: "labels", className: "labels", value: (point: RolloutPoint) => point.labels },
] as const;

/** What stands at the end of each line. */
export function latestEvidence(rollout: Rollout): Record<string, number | null> {
  const last = (value: (point: RolloutPoint) => number | null) => {
    const point = rollout.series.findLast((each) => value(each) !== null);
    return point ? value(point) : null;
  };
  return {
    combined: last((point) => point.combined),
    ...Object.fromEntries(SERIES.map(({ policy, value }) => [policy, last(value)])),
  };
}
