/**
 * The wire types of `/api/v1`, written from the serde types of `crates/api`. Field names and enum
 * values are exactly what the server sends.
 */

/** Milliseconds since the Unix epoch, UTC. */
export type Timestamp = number;
/** A SHA-256, 64 lowercase hex digits. */
export type Digest = string;
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** One page of a list; `next` is the cursor of the following page. */
export interface Page<T> {
  items: T[];
  next?: string;
  total: number;
}

/** Every error answer (RFC 9457 problem+json). */
export interface Problem {
  title: string;
  status: number;
  detail: string;
  kind: string;
  hints?: string[];
}

/** One event of `/api/events`: the query keys that changed. */
export interface Changed {
  keys: (string | number)[][];
}

// --- people -----------------------------------------------------------------------------------

export interface Me {
  user: string;
  roles: string[];
  admin: boolean;
  /** The server has no accounts: everybody is `local`. */
  open: boolean;
  server_version: string;
}

export interface User {
  name: string;
  emails: string[];
  admin: boolean;
  roles: string[];
  created_at: Timestamp;
}

export interface Token {
  id: string;
  user: string;
  roles: string[];
  created_at: Timestamp;
  expires_at: Timestamp | null;
}

// --- the ledger -------------------------------------------------------------------------------

export interface LedgerEntry {
  seq: number;
  hash: Digest;
  previous: Digest;
  /** `<noun>.<past participle>`, e.g. `release.approved`. */
  kind: string;
  actor: string;
  at: Timestamp;
  /** Most specific first: `release/12`, `model/digits/3`, `run/digits/4`. */
  about: string[];
  evidence: Json;
}

export interface Verified {
  entries: number;
  head: Digest;
  intact: boolean;
  broken_at: number | null;
  detail: string | null;
  at: Timestamp;
}

/** The chain from a thing down to its origins, or from data up to what it touched. */
export interface Trace {
  of: string;
  links: TraceLink[];
}

export interface TraceLink {
  depth: number;
  kind: string;
  name: string;
  hash: string | null;
  facts: [string, string][];
  ledger_seq: number | null;
}

// --- projects and pipeline runs ---------------------------------------------------------------

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

// --- what starts runs -------------------------------------------------------------------------

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

// --- tracking ---------------------------------------------------------------------------------

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

// --- models -----------------------------------------------------------------------------------

export interface Model {
  name: string;
  created_at: Timestamp;
  /** Of the newest change of it, its versions or aliases. */
  updated_at: Timestamp;
  description: string | null;
  aliases: Record<string, number>;
  /** Newest first. */
  versions: ModelVersion[];
}

export interface ModelVersion {
  model: string;
  version: number;
  created_at: Timestamp;
  aliases: string[];
  source: string;
  tracking_run: string | null;
  /** `null` for versions that were registered from outside a pipeline. */
  lineage: Lineage | null;
  metrics: Record<string, number>;
  params: Record<string, Json>;
  /** Environments it serves in, with its share of the traffic. */
  serving: Record<string, number>;
  releases: number[];
}

export interface Lineage {
  project: string;
  run: number;
  commit: string;
  author: string;
  trainer: string;
  content: string;
  size: number;
  data: Item[];
  params_hash: string;
  environment_hash: string | null;
  evaluation_hash: string | null;
}

/** The Markdown that people write about a model. */
export interface Card {
  markdown: string;
  digest: Digest;
  /** Who changed it last; `null` when it came with an import, or nobody wrote one. */
  edited_by: string | null;
  edited_at: Timestamp | null;
}

/** What is known about a version, and what is not. */
export interface Facts {
  model: string;
  version: number;
  created_at: Timestamp;
  created_by: string;
  aliases: string[];
  description: string | null;
  /** Where its files lie. */
  location: string;
  tracking_run: string | null;
  /** `<project>/<n>` */
  pipeline_run: string | null;
  commit: string | null;
  author: string | null;
  trainer: string | null;
  data: Item[];
  /** Datasets that its run logged. */
  datasets: { name: string; digest: string; context: string | null }[];
  params: Record<string, Json>;
  /** NaN and infinities as words. */
  metrics: Record<string, number | string>;
  evaluation_hash: string | null;
  environment: ModelEnvironment | null;
  flavors: string[];
  signature: Signature | null;
  files: ModelFile[];
  size: number | null;
  content: string | null;
  unknown: Unknown[];
}

export interface ModelEnvironment {
  hash: string | null;
  /** True for a lock; otherwise `packages` is what its files ask for. */
  locked: boolean;
  packages: string[];
}

export interface Signature {
  inputs: SignatureColumn[];
  outputs: SignatureColumn[];
  params: SignatureColumn[];
}

export interface SignatureColumn {
  /** Empty where it has none. */
  name: string;
  kind: string;
}

export interface ModelFile {
  path: string;
  size: number;
  sha256: string | null;
}

/** Something that nobody can say about a version. */
export interface Unknown {
  what: string;
  why: string;
}

/** Two versions compared, what is the same with it (`all=true`). */
export interface VersionComparison {
  /** `digits/3` */
  a: string;
  b: string;
  same_content: boolean | null;
  same_evaluation: boolean | null;
  origin: ValueChange[];
  params: ValueChange[];
  metrics: ValueChange[];
  data: VersionDataChange[];
  signature: ValueChange[];
  packages: ValueChange[];
  /** Sizes in bytes. */
  files: ValueChange[];
  unknown: Unknown[];
}

export interface ValueChange {
  key: string;
  a: Json;
  b: Json;
  difference?: number;
  /** Of a metric `better`, `worse`, `same`, `changed`; of a file `same`, `other content`. */
  word?: string;
}

export interface VersionDataChange {
  path: string;
  a: string | null;
  b: string | null;
  files: { added: number; removed: number; changed: number; names: string[] } | null;
}

// --- releases ---------------------------------------------------------------------------------

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

// --- deployments and rollouts -----------------------------------------------------------------

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

// --- overview ---------------------------------------------------------------------------------

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

// --- the judge's evidence (crates/stats) --------------------------------------------------------

/** Counts of both arms; a metric that the policy does not name is absent. */
export interface Evidence {
  requests: { stable: number; candidate: number };
  /** The frozen limits. */
  latency: { quantile: number; limit_seconds: number }[];
}

/** A decision with the numbers it rests on. E too large for a number arrives as `null`. */
export interface Verdict {
  action: "advance" | "hold" | "roll_back" | "promote";
  text: string;
  metrics: MetricVerdict[];
  /** What copies of requests said before any traffic, where the policy asks for that. */
  shadow?: ShadowVerdict;
  /** E of the rollback decision, and what it has to reach: 1 / alpha. */
  combined: number | null;
  combined_needed: number;
}

export interface MetricVerdict {
  /** `errors`, `latency p90`, `labels`. */
  name: string;
  required: boolean;
  stable: { bad: number; all: number };
  candidate: { bad: number; all: number };
  /** The candidate's bad rate over stable's, with its (1 - alpha) range. */
  ratio: { estimate: number | null; low: number; high: number | null } | null;
  /** Of an experiment: against "both rates are the same", valid whenever one looks. */
  p_value?: number;
  evidence: number | null;
  worse: "no_sign" | "suspected" | "worse";
  safe: number | null;
  safe_needed: number;
}

/** The candidate's answers to copies of requests that stable answered. */
export interface ShadowVerdict {
  compared: number;
  disagreed: number;
  failed: number;
  /** E against "it disagrees at least as often as the policy allows". */
  safe: number | null;
  safe_needed: number;
  /** The candidate's mean output less stable's, in standard deviations of stable's outputs. */
  drift: number | null;
  stable_seconds: number | null;
  candidate_seconds: number | null;
}
