/** Experiments and tracked runs. */
import type { Timestamp } from "./common";
import type { VersionRef } from "./runs";

export interface Experiment {
  id: string;
  name: string;
  runs: number;
  running: number;
  created_at: Timestamp;
}

export interface TrackedRun {
  run_id: string;
  name: string;
  /** MLflow's words: `RUNNING`, `FINISHED`, `FAILED`, `KILLED`, `SCHEDULED`. */
  status: string;
  experiment: string;
  started_at: Timestamp | null;
  finished_at: Timestamp | null;
  parent: string | null;
  commit: string | null;
  /** `<project>/<n>` when a pipeline run made it. */
  pipeline_run: string | null;
  stage: string | null;
  metrics: Record<string, MetricValue>;
  params: Record<string, string>;
  tags: Record<string, string>;
  /** Registered from it. */
  model_versions: VersionRef[];
}

export interface MetricValue {
  /** NaN and infinities come as `"NaN"`, `"Infinity"`, `"-Infinity"`. */
  value: number | string;
  step: number;
}

/** What a chart draws: of each pixel column the least and the greatest value. */
export interface MetricSeries {
  run_id: string;
  key: string;
  /** How many points there are in the stretch that was asked for. */
  total: number;
  steps: number[];
  times: Timestamp[];
  /** `null` where the value is NaN. */
  values: (number | null)[];
}
