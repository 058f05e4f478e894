/** Deployments and rollouts. */
import type { Digest, Timestamp } from "./common";
import type { Evidence, Verdict } from "./judge";

export interface Deployment {
  project: string;
  environment: string;
  model: string;
  address: string;
  /** `starting`, `ready`, `down`. */
  status: string;
  restarts: number;
  live: { release: number; version: number; since: Timestamp } | null;
  /** The release that is rolling out. */
  rolling_out: number | null;
  revisions: Revision[];
  labels: LabelCounts;
  traffic: TrafficPoint[];
}

export interface Revision {
  /** `<model>-v<version>-r<release>`. */
  id: string;
  weight: number;
  requests: number;
  errors: number;
  /** Seconds, over the last minute. */
  p50: number | null;
  p99: number | null;
  /** Requests a second over the last minute. */
  rate: number;
  labelled: number;
  correct: number;
  engine: string;
}

export interface LabelCounts {
  accepted: number;
  duplicate: number;
  unknown: number;
  late: number;
}

export interface TrafficPoint {
  at: Timestamp;
  requests_per_second: number;
  p99_ms: number | null;
  error_share: number | null;
}

export interface Rollout {
  id: string;
  release: number;
  policy: RolloutPolicy;
  /** `progressing`, `holding`, `promoted`, `rolled_back`, `failed`. */
  status: string;
  stable_version: number | null;
  candidate_version: number;
  weight: number;
  observed_share: number | null;
  step: number;
  steps: RolloutStep[];
  started_at: Timestamp;
  finished_at: Timestamp | null;
  /** What happens next, and what it still needs, in one sentence. */
  next: string;
  evidence: Evidence | null;
  verdict: Verdict | null;
  series: RolloutPoint[];
  /** Newest first. */
  decisions: Decision[];
}

export interface RolloutPolicy {
  strategy: "canary" | "blue_green" | "all_at_once" | "ab";
  steps: number[];
  step: { min_seconds: number; min_requests: number; max_seconds: number; inconclusive: string };
  judge: JudgePolicy;
  warm_seconds: number;
  /** Of an experiment: what the arms are called. */
  variants?: { stable: string; candidate: string };
}

export interface JudgePolicy {
  alpha: number;
  alpha_advance: number;
  errors: MetricPolicy | null;
  latency: MetricPolicy | null;
  labels: MetricPolicy | null;
  min_bad_events: number;
}

export interface MetricPolicy {
  share: number;
  required: boolean;
  safe: { ceiling: number } | { ratio: number } | { margin: number };
  over: number[];
}

export interface RolloutStep {
  weight: number;
  /** `done`, `current`, `next`, `later`. */
  status: string;
  started_at: Timestamp | null;
  seconds: number | null;
}

/** Evidence values are E, not its logarithm. */
export interface RolloutPoint {
  at: Timestamp;
  combined: number;
  errors: number | null;
  latency: number | null;
  labels: number | null;
  stable: ArmPoint;
  candidate: ArmPoint;
}

export interface ArmPoint {
  p99_ms: number | null;
  error_share: number | null;
  accuracy: number | null;
}

export interface Decision {
  at: Timestamp;
  /** `start`, `hold`, `advance`, `promote`, `roll_back`. */
  verb: string;
  text: string;
  step: number;
  evidence: Evidence | null;
  hash: Digest;
}

export interface Recomputed {
  decisions: number;
  equal: number;
  differences: string[];
}
