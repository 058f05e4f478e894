/** Releases, their gates and approvals. */
import type { Digest, Json, Timestamp } from "./common";
import type { LedgerEntry } from "./ledger";
import type { ModelVersion } from "./models";
import type { Rollout } from "./rollouts";
import type { Commit } from "./runs";

export type ReleaseState =
  | "pending"
  | "gating"
  | "awaiting_approval"
  | "rolling_out"
  | "live"
  | "rejected"
  | "rolled_back"
  | "superseded"
  | "failed";

export interface ReleaseSummary {
  id: number;
  hash: Digest;
  project: string;
  environment: string;
  model: string;
  version: number;
  run: number | null;
  commit_id: string | null;
  state: ReleaseState;
  reason: string | null;
  requested_by: string;
  created_at: Timestamp;
  updated_at: Timestamp;
  live_at: Timestamp | null;
  approvals_given: number;
  approvals_needed: number;
}

export interface Release extends ReleaseSummary {
  binds: Binds;
  commit: Commit | null;
  /** What serves there now. */
  incumbent: Incumbent | null;
  gated_against: string | null;
  gates_evaluated_at: Timestamp | null;
  gates: GateVerdict[];
  verdicts_hash: Digest | null;
  votes: Vote[];
  voters: Voter[];
  comparison: Comparison | null;
  rollout: Rollout | null;
  history: LedgerEntry[];
}

/** What the release's hash is taken over. */
export interface Binds {
  environment: string;
  model: string;
  version: number;
  model_content: string | null;
  data: Digest | null;
  commit: string | null;
  run: string | null;
  params: Digest | null;
  metrics: Digest;
  evaluation: string | null;
  python_environment: string | null;
  policy: Digest;
}

export interface Incumbent {
  release: number;
  version: number;
  live_at: Timestamp | null;
}

export type GateOutcome = "passed" | "failed" | "not_comparable" | "no_incumbent" | "error";

export interface GateVerdict {
  name: string;
  /** `checks`, `require`, `latency`, `artifact_scan`. */
  kind: string;
  outcome: GateOutcome;
  reason: string;
  /** For `require`: the expression; its values stand in `inputs`. */
  expression: string | null;
  inputs: Json;
  hash: Digest;
  at: Timestamp;
}

export interface Vote {
  user: string;
  role: string;
  approved: boolean;
  reason: string;
  at: Timestamp;
  /** Set when it does not count any more: what changed. */
  stale: string | null;
}

export interface Voter {
  user: string;
  roles: string[];
  may: boolean;
  why_not: string | null;
}

/** Candidate against what serves now. */
export interface Comparison {
  incumbent: ModelVersion;
  candidate: ModelVersion;
  comparable: boolean;
  why_not_comparable: string | null;
  metrics: MetricChange[];
  data: DataChange[];
  params: Record<string, { old: Json; new: Json }>;
  code: CodeChange | null;
  environment_changed: boolean;
}

export interface MetricChange {
  name: string;
  old: number | null;
  new: number | null;
  /** `better`, `worse`, `same`, `changed` (no direction known). */
  word: string;
}

export interface DataChange {
  path: string;
  old: string | null;
  new: string | null;
  files_added: number | null;
  files_removed: number | null;
  files_changed: number | null;
}

export interface CodeChange {
  old: string;
  new: string;
  commits: number;
  files: { path: string; added: number; removed: number }[];
  /** Unified diff, bounded. */
  diff: string;
}
