/** The first page. */
import type { LedgerEntry } from "./ledger";
import type { ReleaseSummary } from "./releases";
import type { Deployment } from "./rollouts";
import type { RunSummary } from "./runs";

export interface Overview {
  lanes: Lane[];
  /** What waits for the viewer, newest first. */
  waiting: { release: ReleaseSummary; text: string; may_approve: boolean }[];
  attention: Attention[];
  ledger: LedgerEntry[];
  counts: { runs: number; releases_waiting: number; rollouts: number };
}

/** One model, from commit to production. */
export interface Lane {
  project: string;
  model: string | null;
  newest_run: RunSummary | null;
  /** Oldest first. */
  recent_runs: RunSummary[];
  environments: EnvironmentLane[];
}

export interface EnvironmentLane {
  environment: string;
  newest_release: ReleaseSummary | null;
  deployment: Deployment | null;
  /** Live accuracy where labels come in. */
  quality: number | null;
}

export interface Attention {
  /** `run` or `release`. */
  kind: string;
  project: string;
  /** Run number or release id. */
  id: number;
  title: string;
  text: string;
}
