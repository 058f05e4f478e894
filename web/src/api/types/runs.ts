/** Projects, pipeline runs, and what starts them. */
import type { Json, Timestamp } from "./common";

export interface Project {
  name: string;
  created_at: Timestamp;
  default_branch: string | null;
  head: Commit | null;
  git_url: string;
  runs: number;
}

export interface Commit {
  id: string;
  subject: string;
  author: string;
  author_email: string;
  at: Timestamp;
}

export type RunStatus = "queued" | "running" | "succeeded" | "failed" | "cancelled";
export type StageStatus = RunStatus | "reused" | "skipped" | "waiting";

export interface RunSummary {
  project: string;
  number: number;
  status: RunStatus;
  commit: Commit;
  branch: string | null;
  /** `push`, `manual`, `schedule`, `backfill`... */
  trigger: string;
  started_by: string;
  created_at: Timestamp;
  started_at: Timestamp | null;
  finished_at: Timestamp | null;
  first_process_ms: number | null;
  /** How many stages are in which state. */
  stage_counts: Record<string, number>;
  error: string | null;
  model_version: VersionRef | null;
}

export interface VersionRef {
  model: string;
  version: number;
}

export interface Run extends RunSummary {
  tracking_run: string | null;
  experiment: string | null;
  lock_ref: string | null;
  environment: StageEnvironment | null;
  stages: StageRun[];
  checks: CheckResult[];
  /** `.dvc` data and tracked files that stages read, for the graph. */
  sources: Source[];
}

export interface StageEnvironment {
  hash: string;
  file: string;
  packages: number;
  python: string;
  cached: boolean;
  seconds: number;
}

export interface Source {
  path: string;
  hash: string | null;
  size: number | null;
}

export interface StageRun {
  name: string;
  status: StageStatus;
  command: string;
  attempt: number;
  needs: string[];
  queued_at: Timestamp | null;
  started_at: Timestamp | null;
  finished_at: Timestamp | null;
  exit_code: number | null;
  error: string | null;
  /** Why it runs or is reused, in one sentence. */
  why: string;
  changes: Change[];
  unchanged: string[];
  reused_from: string | null;
  saved_seconds: number | null;
  inputs: Item[];
  outputs: Item[];
  params: Record<string, Json>;
  metrics: Record<string, number>;
  tracking_run: string | null;
  log_lines: number;
  /** How its processes were confined. */
  sandbox?: string;
  /** What it read and does not declare. */
  undeclared?: UndeclaredInput[];
  /** How its reading was looked at: `213 files`, `none: ...`. */
  observed?: string;
  /** Of a stage that worked on the items of an input one by one. */
  items?: StageItems;
  /** Who has to agree before it runs, and who has said what. */
  approval?: StageApproval;
  /** The kind of resource that it waits for. */
  waits_for?: string;
}

export interface StageItems {
  /** The input. */
  over: string;
  total: number;
  done: number;
  /** Earlier runs had their results. */
  kept: number;
  failed: number;
  /** Run more than once. */
  retried: number;
  /** Failed ones first, then those that were retried, then the slowest; at most 200. */
  items: { name: string; status: "failed" | "not_run" | "done" | "kept"; attempts: number; seconds: number; error: string | null }[];
}

export interface UndeclaredInput {
  kind: "repository" | "elsewhere" | "network";
  name: string;
  target?: string;
  program: string;
}

/** Rows are stages, columns are runs, oldest first. */
export interface Grid {
  stages: string[];
  runs: GridRun[];
}

export interface GridRun extends RunSummary {
  stages: Record<string, StageStatus>;
}


export interface Schedule {
  project: string;
  name: string;
  /** `schedule`, `data`, `model`, `run`, `webhook`. */
  kind: string;
  /** In words. */
  when: string;
  branch: string;
  paused_at: Timestamp | null;
  paused_by: string | null;
  next_at: Timestamp | null;
  last: { at: Timestamp; outcome: string; run: number | null; why: string } | null;
}

export interface NewBackfill {
  schedule: string;
  from: string;
  to: string | null;
  at_once: number;
  reprocess: "none" | "failed" | "completed";
}

export interface Backfill {
  project: string;
  number: number;
  schedule: string;
  from: Timestamp;
  to: Timestamp;
  at_once: number;
  status: "running" | "paused" | "done" | "cancelled";
  created_at: Timestamp;
  created_by: string;
  partitions: Partition[];
}

export interface Partition {
  planned_at: Timestamp;
  status: RunStatus | "waiting" | "skipped";
  run: number | null;
  why: string | null;
}

export interface StageApproval {
  count: number;
  /** Roles; empty means anybody who may approve. */
  from: string[];
  votes: { user: string; approved: boolean; reason: string; at: Timestamp }[];
}

/** A dependency, parameter or output that is not as it was. */
export interface Change {
  /** `command`, `dependency`, `param`, `output`, `environment`, `new`. */
  kind: string;
  name: string;
  old: string | null;
  new: string | null;
}

/** Where the changes of a stage come from, in their order. */
export interface StageOrigins {
  /** The newest earlier run that had all that changed since. */
  compared: { run: number; commit: Commit } | null;
  origins: ChangeOrigin[];
}

export type ChangeOrigin = { kind: "commit"; commit: Commit } | { kind: "stage"; stage: string } | { kind: "run" } | { kind: "unknown" };

export interface Item {
  path: string;
  hash: string | null;
  size: number | null;
  files: number | null;
}

export interface CheckResult {
  name: string;
  path: string;
  data_hash: string;
  suite_hash: string;
  passed: boolean;
  stopped_run: boolean;
  rows: number;
  expectations: number;
  failed: number;
  /** Worst first, bounded. */
  failures: CheckFailure[];
  at: Timestamp;
}

export interface CheckFailure {
  batch: string | null;
  column: string | null;
  expectation: string;
  observed: number | null;
  low: number | null;
  high: number | null;
  message: string;
}

export interface LogLine {
  /** Counts from 0; shown from 1. */
  number: number;
  /** Seconds since the stage started. */
  seconds: number;
  /** `out`, `err` or `towpath`. */
  stream: string;
  text: string;
}

export interface LogPage {
  lines: LogLine[];
  total: number;
  finished: boolean;
}
