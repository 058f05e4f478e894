/**
 * An invented server, for tests of layout and behaviour only: everything the five large views can
 * show, with the numbers of a busy day. Whether the page fits the real server is what
 * `real.spec.ts` tests.
 */
import type {
  Backfill,
  Card,
  Commit,
  Deployment,
  Experiment,
  Facts,
  Grid,
  Json,
  LedgerEntry,
  Me,
  MetricSeries,
  Model,
  ModelVersion,
  Overview,
  Page,
  Project,
  Release,
  ReleaseSummary,
  Revision,
  Rollout,
  RolloutPoint,
  Run,
  RunSummary,
  Schedule,
  StageRun,
  Trace,
  TrackedRun,
  Verified,
  VersionComparison,
} from "../src/api/types";

/** The tests freeze the browser's clock here. */
export const NOW = Date.UTC(2026, 10, 19, 14, 32, 0);
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Repeatable noise in [0, 1). */
function noise(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

export const hash = (prefix: string) => prefix + "02f65b1a9c3e7d40".repeat(4).slice(0, 64 - prefix.length);

const commit = (id: string, subject: string, author: string, at: number): Commit => ({ id: hash(id).slice(0, 40), subject, author, author_email: `${author}@example.org`, at });

function runSummary(project: string, number: number, status: RunSummary["status"], seconds: number, ago: number, head: Commit): RunSummary {
  const started = NOW - ago;
  return {
    project,
    number,
    status,
    commit: head,
    branch: "main",
    trigger: "push",
    started_by: head.author,
    created_at: started,
    started_at: started + 31,
    finished_at: status === "running" ? null : started + seconds * SECOND,
    first_process_ms: 31,
    stage_counts: status === "running" ? { succeeded: 1, running: 1, queued: 3 } : { succeeded: 5 },
    error: status === "failed" ? "check images stopped the run" : null,
    model_version: null,
  };
}

function recentRuns(project: string, last: RunSummary, seed: number): RunSummary[] {
  const random = noise(seed);
  const earlier = Array.from({ length: 22 }, (_, index) => {
    const failed = random() < 0.16;
    return runSummary(project, last.number - 22 + index, failed ? "failed" : "succeeded", failed ? 8 : 12 + random() * 40, (23 - index) * 3 * HOUR, last.commit);
  });
  return [...earlier, last];
}

const revision = (id: string, weight: number, requests: number, errors: number, p99: number): Revision => ({
  id,
  weight,
  requests,
  errors,
  p50: p99 / 3,
  p99,
  rate: 84 * weight,
  labelled: Math.round(requests * 0.055),
  correct: Math.round(requests * 0.053),
  engine: "onnx-ml",
});

function deployment(project: string, environment: string, version: number, rate: number, extra: Partial<Deployment> = {}): Deployment {
  const random = noise(rate * 10 + version);
  return {
    project,
    environment,
    model: project,
    address: "http://127.0.0.1:40123",
    status: "ready",
    restarts: 0,
    live: { release: version * 2, version, since: NOW - 6 * DAY },
    rolling_out: null,
    revisions: [revision(`${project}-v${version}-r${version * 2}`, 1, 127_641, 400, 0.00061)],
    labels: { accepted: 7_027, duplicate: 12, unknown: 3, late: 41 },
    traffic: Array.from({ length: 60 }, (_, index) => ({
      at: NOW - (60 - index) * MINUTE,
      requests_per_second: rate * (0.75 + 0.25 * Math.sin(index / 9) + 0.12 * random()),
      p99_ms: 0.6 + 0.05 * random(),
      error_share: 0.003 + 0.0004 * random(),
    })),
    ...extra,
  };
}

function releaseSummary(id: number, model: string, version: number, environment: string, state: ReleaseSummary["state"], ago: number): ReleaseSummary {
  const waits = state === "awaiting_approval";
  return {
    id,
    hash: id === 57 ? "c41d7be902f65b1a" + hash("").slice(16) : hash(`${id}e7`),
    project: model,
    environment,
    model,
    version,
    run: 116,
    commit_id: hash("b3370aa1").slice(0, 40),
    state,
    reason: waits ? "waits for 1 more approval from risk" : null,
    requested_by: "ds-1",
    created_at: NOW - ago,
    updated_at: NOW - ago / 2,
    live_at: state === "live" ? NOW - ago / 2 : null,
    approvals_given: waits ? 1 : 2,
    approvals_needed: 2,
  };
}

const entry = (seq: number, ago: number, actor: string, kind: string, about: string[], start: string): LedgerEntry => ({
  seq,
  hash: hash(start),
  previous: hash("00"),
  kind,
  actor,
  at: NOW - ago,
  about,
  evidence: { combined: 7.2, needed: 100, weight: 0.25 },
});

export const ledgerEntries: LedgerEntry[] = [
  entry(48_213, 40 * SECOND, "ds-2", "run.started", ["run/diabetes/77"], "a90c11fe"),
  entry(48_212, 6 * MINUTE, "towpath:judge", "rollout.held", ["release/58"], "5e2d7710"),
  entry(48_211, 13 * MINUTE, "towpath:checks", "check.failed", ["run/digits/118"], "0b7c94d3"),
  entry(48_210, 18 * MINUTE, "towpath:judge", "rollout.advanced", ["release/58"], "77a1c0de"),
  entry(48_209, 30 * MINUTE, "towpath:reconciler", "rollout.started", ["release/58"], "2f6be9a4"),
  entry(48_208, 34 * MINUTE, "reviewer-2", "release.approved", ["release/58"], "c4d81b30"),
];

const rollingOut = deployment("digits", "production", 7, 84, {
  rolling_out: 58,
  revisions: [revision("digits-v7-r14", 0.75, 127_641, 400, 0.00061), revision("digits-v8-r58", 0.25, 25_135, 86, 0.00067)],
});

function lanes(): Overview["lanes"] {
  const week9 = commit("41c9e07", "Add week 9 batch", "ds-1", NOW - 14 * MINUTE);
  const retrain = commit("e07b2d4", "Scheduled retrain", "ds-3", NOW - 11 * HOUR);
  const penalty = commit("f02d4e8", "Try l2 penalty", "ds-2", NOW - 22 * HOUR);
  const features = commit("9d20c5f", "Two more features", "ds-2", NOW - 40 * SECOND);
  const newest = {
    digits: runSummary("digits", 118, "failed", 9, 14 * MINUTE, week9),
    bikes: runSummary("bikes", 402, "succeeded", 134, 11 * HOUR, retrain),
    diabetes: runSummary("diabetes", 77, "running", 0, 40 * SECOND, features),
    wine: runSummary("wine", 12, "succeeded", 31, 22 * HOUR, penalty),
  };
  const live = (model: string, version: number) => releaseSummary(version * 2, model, version, "staging", "live", 22 * HOUR);
  return [
    {
      project: "digits",
      model: "digits",
      newest_run: newest.digits,
      recent_runs: recentRuns("digits", newest.digits, 3),
      environments: [
        { environment: "staging", newest_release: live("digits", 8), deployment: deployment("digits", "staging", 8, 1), quality: null },
        { environment: "production", newest_release: releaseSummary(58, "digits", 8, "production", "rolling_out", 3 * HOUR), deployment: rollingOut, quality: 0.964 },
      ],
    },
    {
      project: "bikes",
      model: "bikes",
      newest_run: newest.bikes,
      recent_runs: recentRuns("bikes", newest.bikes, 5),
      environments: [
        { environment: "staging", newest_release: live("bikes", 31), deployment: deployment("bikes", "staging", 31, 1), quality: null },
        { environment: "production", newest_release: releaseSummary(57, "bikes", 31, "production", "awaiting_approval", 3 * HOUR), deployment: deployment("bikes", "production", 30, 12), quality: 0.912 },
      ],
    },
    {
      project: "diabetes",
      model: "diabetes",
      newest_run: newest.diabetes,
      recent_runs: recentRuns("diabetes", newest.diabetes, 7),
      environments: [
        { environment: "staging", newest_release: live("diabetes", 4), deployment: deployment("diabetes", "staging", 4, 1), quality: null },
        { environment: "production", newest_release: live("diabetes", 4), deployment: deployment("diabetes", "production", 4, 1.9), quality: 0.887 },
      ],
    },
    {
      project: "wine",
      model: "wine",
      newest_run: newest.wine,
      recent_runs: recentRuns("wine", newest.wine, 11).slice(-12),
      environments: [
        { environment: "staging", newest_release: live("wine", 2), deployment: deployment("wine", "staging", 2, 1), quality: null },
        { environment: "production", newest_release: null, deployment: null, quality: null },
      ],
    },
  ];
}

export const overview: Overview = {
  lanes: lanes(),
  waiting: [
    {
      release: releaseSummary(57, "bikes", 31, "production", "awaiting_approval", 3 * HOUR),
      text: "ml-lead-1 approved 2 h ago; one more from risk. Accuracy 0.9210 against 0.9122 now.",
      may_approve: true,
    },
  ],
  attention: [
    {
      kind: "run",
      project: "digits",
      id: 118,
      title: "digits run 118 stopped at check images",
      text: "week-09: mean of pixel_35 is 11.9, allowed 2.1 to 9.6; 41 more columns. Nothing was trained.",
    },
  ],
  ledger: ledgerEntries,
  counts: { runs: 1, releases_waiting: 1, rollouts: 1 },
};

// --- one pipeline run -------------------------------------------------------------------------

const runStart = NOW - 24.5 * SECOND;

function stage(name: string, status: StageRun["status"], needs: string[], from: number | null, to: number | null, extra: Partial<StageRun> = {}): StageRun {
  return {
    name,
    status,
    command: `python ${name.split("@")[0]}.py`,
    attempt: 1,
    needs,
    queued_at: from === null ? null : runStart + Math.max(0, from - 0.3) * SECOND,
    started_at: from === null ? null : runStart + from * SECOND,
    finished_at: to === null ? null : runStart + to * SECOND,
    exit_code: to === null ? null : 0,
    error: null,
    why: "One of three inputs changed since run 117, where this stage last succeeded.",
    changes: [],
    unchanged: ["train.py"],
    reused_from: null,
    saved_seconds: null,
    inputs: [],
    outputs: [],
    params: {},
    metrics: {},
    tracking_run: null,
    log_lines: 0,
    ...extra,
  };
}

const item = (path: string, start: string, size: number) => ({ path, hash: hash(start).slice(0, 32), size, files: null });

export const run: Run = {
  ...runSummary("digits", 119, "running", 0, 24.5 * SECOND, commit("6ab2f310", "Replace week 9 batch, widen MLP", "ds-1", NOW - MINUTE)),
  tracking_run: "parent-119",
  experiment: "1",
  lock_ref: null,
  environment: { hash: hash("e41b09d7"), file: "requirements.txt", packages: 142, python: "3.11.2", cached: true, seconds: 0.2 },
  sources: [
    { path: "data/pixels.csv", hash: hash("9f1d22b0").slice(0, 32), size: 812_000 },
    { path: "data/labels.csv", hash: hash("1c70e4aa").slice(0, 32), size: 5_400 },
    { path: "train.py", hash: hash("33").slice(0, 32), size: 2_100 },
  ],
  stages: [
    stage("validate", "succeeded", [], 0.3, 2.4, { inputs: [item("data/pixels.csv", "9f1d22b0", 812_000)] }),
    stage("labels", "reused", [], null, 0.4, { inputs: [item("data/labels.csv", "1c70e4aa", 5_400)], reused_from: "digits/118", saved_seconds: 1.4, queued_at: runStart + 300 }),
    stage("features", "succeeded", ["validate", "labels"], 2.5, 7.3, {
      outputs: [item("features/train.parquet", "30c9be71", 186_000)],
      attempt: 2,
      items: {
        over: "data/batches",
        total: 1_204,
        done: 3,
        kept: 1_200,
        failed: 1,
        retried: 2,
        items: [
          { name: "2026-11-18.csv", status: "failed", attempts: 2, seconds: 0.4, error: "exited with 3" },
          { name: "2026-11-17.csv", status: "done", attempts: 2, seconds: 1.2, error: null },
          { name: "2026-11-19.csv", status: "done", attempts: 1, seconds: 2.1, error: null },
          { name: "2026-11-16.csv", status: "done", attempts: 1, seconds: 0.9, error: null },
          { name: "2026-10-01.csv", status: "kept", attempts: 0, seconds: 0, error: null },
        ],
      },
    }),
    stage("train@logreg", "succeeded", ["features"], 7.5, 8.8, { metrics: { accuracy: 0.9412 } }),
    stage("train@trees", "succeeded", ["features"], 7.5, 19.1, { outputs: [item("models/trees.onnx", "d81f44c0", 412_000)] }),
    stage("train@mlp", "running", ["features"], 7.6, null, {
      why: "Two of five inputs changed since run 117, where this stage last succeeded.",
      changes: [
        { kind: "dependency", name: "features/train.parquet", old: hash("b7f012ce").slice(0, 32), new: hash("30c9be71").slice(0, 32) },
        { kind: "param", name: "params.yaml:mlp.hidden", old: "64", new: "96" },
      ],
      unchanged: ["train.py", "params: seed", "environment e41b09d7"],
      inputs: [item("features/train.parquet", "30c9be71", 186_000), item("train.py", "33", 2_100)],
      outputs: [],
      params: { "mlp.hidden": 96, seed: 20261 },
      metrics: { loss: 0.0659, val: 0.0896, accuracy: 0.9783 },
      tracking_run: "r1",
      log_lines: 51,
      sandbox: "landlock abi 7",
      observed: "4,312 files",
      undeclared: [
        { kind: "repository", name: "src/layers.py", program: "python" },
        { kind: "elsewhere", name: "/srv/exports/week-09.csv", program: "python" },
      ],
    }),
    stage("evaluate", "queued", ["train@logreg", "train@trees", "train@mlp"], null, null),
  ],
  checks: [],
};

export const failedRun: Run = {
  ...runSummary("digits", 118, "failed", 9, 14 * MINUTE, commit("41c9e07", "Add week 9 batch", "ds-1", NOW - 14 * MINUTE)),
  error: "Run 118 stopped: mean of pixel_35 is 11.9, allowed 2.1 to 9.6 (checks/images.yaml). Fix the batch or change the suite.",
  tracking_run: null,
  experiment: null,
  lock_ref: null,
  environment: null,
  sources: [{ path: "data/pixels.csv", hash: hash("77aa").slice(0, 32), size: 850_000 }],
  stages: [stage("prepare", "skipped", [], null, null, { inputs: [item("data/pixels.csv", "77aa", 850_000)] }), stage("train", "skipped", ["prepare"], null, null)],
  checks: [
    {
      name: "images",
      path: "data/pixels.csv",
      data_hash: hash("77aa"),
      suite_hash: hash("88bb"),
      passed: false,
      stopped_run: true,
      rows: 1_617,
      expectations: 38,
      failed: 2,
      failures: [
        { batch: "data/images/week-09.csv", column: "pixel_35", expectation: "mean_near_baseline", observed: 11.9, low: 2.1, high: 9.6, message: "mean of pixel_35 is 11.9, allowed 2.1 to 9.6" },
        { batch: "data/images/week-09.csv", column: "pixel_36", expectation: "mean_near_baseline", observed: 12.4, low: 3.0, high: 9.9, message: "mean of pixel_36 is 12.4, allowed 3.0 to 9.9" },
      ],
      at: NOW - 13 * MINUTE,
    },
  ],
};

const epochs = Array.from({ length: 46 }, (_, index) => ({
  number: index + 4,
  seconds: 9 + index * 0.34,
  stream: "out",
  text: index === 37 ? "warning: 2 images have no ink (0911, 1204)" : `epoch ${index + 1}  loss ${(0.9 / (index + 8)).toFixed(4)}  val ${(1.1 / (index + 8)).toFixed(4)}  acc 0.97${21 + index}`,
}));

export const log = {
  lines: [
    { number: 0, seconds: 7.6, stream: "towpath", text: "uv: environment \u001b[36me41b09d7\u001b[0m from cache (142 packages)" },
    { number: 1, seconds: 7.7, stream: "out", text: "$ python train.py --model mlp" },
    { number: 2, seconds: 8.5, stream: "out", text: "MLflow run \u001b[36mbrisk-heron-118\u001b[0m" },
    { number: 3, seconds: 8.8, stream: "out", text: "train 1,294 rows, held out 323, seed 20261" },
    ...epochs,
    { number: 50, seconds: 24.1, stream: "out", text: "\u001b[32mcheckpoint models/mlp.onnx  1.2 MB  epoch 40\u001b[0m" },
  ],
  total: 51,
  finished: false,
};

// --- tracking ---------------------------------------------------------------------------------

export const experiment: Experiment = { id: "1", name: "digits-train", runs: 214, running: 1, created_at: NOW - 30 * DAY };

const NAMES = ["brisk-heron-118", "calm-weir-96", "quiet-otter-12", "plain-sluice-8", "still-lock-71", "steep-kestrel-5", "slow-barge-40", "low-bridge-33", "wide-basin-2", "green-reed-14", "soft-eddy-60", "long-reach-27", "old-winch-3"];

export const trackedRuns: TrackedRun[] = NAMES.map((name, index) => {
  const random = noise(index + 17);
  const failed = index === 5;
  const started = NOW - [3 * MINUTE, HOUR, HOUR, 22 * HOUR, 23 * HOUR, 24 * HOUR, 26 * HOUR][index]! || NOW - 2 * DAY - index * HOUR;
  const accuracy = 0.9783 - index * 0.0021;
  return {
    run_id: `r${index + 1}`,
    name,
    status: index === 0 ? "RUNNING" : failed ? "FAILED" : index === 10 ? "KILLED" : "FINISHED",
    experiment: "1",
    started_at: started,
    finished_at: index === 0 ? null : started + (20 + random() * 60) * SECOND,
    parent: null,
    commit: hash(["6ab2f310", "41aa07d3", "41aa07d3", "b3370aa1"][index] ?? "9d20c5f2").slice(0, 40),
    pipeline_run: index === 0 ? "digits/119" : null,
    stage: "train@mlp",
    metrics: (failed
      ? { val_loss: { value: "NaN", step: 9 } }
      : index === 1
        ? { val_loss: { value: 0.0956, step: 60 }, grad_norm: { value: 2.1, step: 999_999 } }
        : { val_accuracy: { value: accuracy, step: 60 }, val_loss: { value: 0.0896 + index * 0.006, step: 60 } }) as TrackedRun["metrics"],
    params: { lr: ["0.003", "0.003", "0.001", "0.003", "0.0003", "0.1"][index] ?? "0.01", hidden: ["96", "96", "128", "64", "64"][index] ?? "32", l2: index % 3 === 2 ? "1e-5" : "1e-4", batch: index % 2 ? "32" : "64" },
    tags: { "towpath.stage": "train@mlp" },
    model_versions: index === 1 ? [{ model: "digits", version: 9 }] : index === 3 ? [{ model: "digits", version: 8 }] : [],
  };
});

/** A million points, of which as many are sent as are asked for. */
function longSeries(id: string, asked: URLSearchParams): MetricSeries {
  const [from, to] = [Number(asked.get("from") ?? 0), Number(asked.get("to") ?? 999_999)];
  const total = to - from + 1;
  const sent = Math.min(total, Number(asked.get("points")));
  const steps = Array.from({ length: sent }, (_, index) => Math.round(from + (index * (total - 1)) / Math.max(sent - 1, 1)));
  return { run_id: id, key: "grad_norm", total, steps, times: steps.map((step) => NOW - HOUR + step), values: steps.map((step) => 2 + Math.sin(step / 50_000) + 0.3 * Math.sin(step / 3)) };
}

export function series(runIds: string[], key: string, asked: URLSearchParams): MetricSeries[] {
  if (key === "grad_norm") return runIds.map((id) => longSeries(id, asked));
  return runIds.map((id) => {
    const index = Number(id.slice(1)) - 1;
    const random = noise(index + (key === "val_loss" ? 1 : 50));
    const steps = Array.from({ length: index === 5 ? 9 : 60 }, (_, step) => step + 1);
    return {
      run_id: id,
      key,
      total: steps.length,
      steps,
      times: steps.map((step) => NOW - HOUR + step * SECOND),
      values: steps.map((step) => {
        if (index === 5 && step > 6) return null;
        const loss = 0.09 + 1.6 * Math.exp(-step / (6 + index * 3)) * (0.94 + 0.12 * random());
        return key === "val_loss" ? loss : 0.985 - loss / 12;
      }),
    };
  });
}

// --- models and releases ----------------------------------------------------------------------

function version(number: number): ModelVersion {
  return {
    model: "digits",
    version: number,
    created_at: NOW - (9 - number) * DAY,
    aliases: number === 7 ? ["production"] : number === 8 ? ["staging"] : [],
    source: `towpath:digits/${108 + number}`,
    tracking_run: "r4",
    lineage: {
      project: "digits",
      run: 108 + number,
      commit: hash(number === 8 ? "b3370aa1" : "2c81e5d0").slice(0, 40),
      author: "ds-1",
      trainer: "ds-2",
      content: hash(number === 8 ? "d81f44c0" : "aa77"),
      size: 1_204_000,
      data: [item("data/pixels.csv", number === 8 ? "a94e6d12" : "77f0aa31", 812_000), item("data/labels.csv", "1c70e4aa", 5_400)],
      params_hash: hash("5510fe3c"),
      environment_hash: hash("e41b09d7"),
      evaluation_hash: hash("6b0c"),
    },
    metrics: { accuracy: number === 8 ? 0.9722 : 0.9639, macro_f1: number === 8 ? 0.9716 : 0.9631 },
    params: { "mlp.hidden": number === 8 ? 64 : 48, seed: 20261 },
    serving: number === 7 ? { production: 0.75 } : number === 8 ? { staging: 1, production: 0.25 } : {},
    releases: [number * 2],
  };
}

const CARD = `# Digits

Reads one handwritten digit in an image of **8 × 8** pixels. See [the data](https://example.org/digits).

## Limits

- Trained on scanned forms only: photographs are not covered.
- [x] looked at by *reviewer-1*

| digit | recall |
|:--|--:|
| 1 | 0.98 |
| 8 | 0.91 |

\`\`\`python
model.predict(pixels / 16)
\`\`\`

Shown, not run: <script>alert("no")</script> [not this](javascript:alert(1)) &lt;kept&gt;
`;

/** The card as it is now; a test changes it. */
export const card: { now: Card } = { now: { markdown: CARD, digest: hash("c0"), edited_by: "ds-1", edited_at: NOW - 5 * DAY } };

export const facts: Facts = {
  model: "digits",
  version: 8,
  created_at: NOW - DAY,
  created_by: "towpath",
  aliases: ["staging"],
  description: null,
  location: "mlflow-artifacts:/models/d81f44c0",
  tracking_run: "r4",
  pipeline_run: "digits/116",
  commit: hash("b3370aa1").slice(0, 40),
  author: "ds-1",
  trainer: "ds-2",
  data: [item("data/pixels.csv", "a94e6d12", 812_000), item("data/labels.csv", "1c70e4aa", 5_400), { ...item("data/images.dir", "77aa", 4_100_000), files: 1_797 }],
  datasets: [{ name: "digits-eval", digest: "1f3a", context: "evaluation" }],
  params: { "mlp.hidden": 64, seed: 20261 },
  metrics: { accuracy: 0.9722, macro_f1: 0.9716, drift: "NaN" },
  evaluation_hash: hash("6b0c"),
  environment: { hash: hash("e41b09d7"), locked: true, packages: ["numpy==2.1.0", "onnx==1.17.0", "onnxruntime==1.20.1", "scikit-learn==1.7.0", "scipy==1.14.1", "skl2onnx==1.18.0", "threadpoolctl==3.5.0"] },
  flavors: ["onnx"],
  signature: { inputs: [{ name: "pixels", kind: "float32[?, 64]" }], outputs: [{ name: "label", kind: "int64[?]" }, { name: "scores", kind: "float32[?, 10]" }], params: [] },
  files: [
    { path: "MLmodel", size: 612, sha256: hash("0a").slice(0, 64) },
    { path: "digits.onnx", size: 1_203_388, sha256: hash("d81f44c0") },
  ],
  size: 1_204_000,
  content: hash("d81f44c0"),
  unknown: [{ what: "sha256", why: "large files are still to be read: ask again" }],
};

const change = (key: string, a: Json, b: Json, word?: string): VersionComparison["params"][number] => ({
  key,
  a,
  b,
  ...(typeof a === "number" && typeof b === "number" ? { difference: b - a } : {}),
  ...(word ? { word } : {}),
});

export const compared: VersionComparison = {
  a: "digits/7",
  b: "digits/8",
  same_content: false,
  same_evaluation: true,
  origin: [change("commit", hash("2c81e5d0").slice(0, 40), hash("b3370aa1").slice(0, 40)), change("author", "ds-1", "ds-1"), change("pipeline run", "digits/115", "digits/116")],
  params: [change("mlp.hidden", 48, 64), change("seed", 20261, 20261), change("mlp.dropout", null, 0.1)],
  metrics: [change("accuracy", 0.9639, 0.9722, "better"), change("val_loss", 0.09, 0.11, "worse"), change("rows", 360, 360, "same")],
  data: [
    { path: "data/images", a: hash("77aa").slice(0, 32), b: hash("88bb").slice(0, 32), files: { added: 200, removed: 0, changed: 1, names: ["+ 1798.png", "~ 17.png"] } },
    { path: "data/labels.csv", a: hash("1c70e4aa").slice(0, 32), b: hash("1c70e4aa").slice(0, 32), files: null },
  ],
  signature: [change("input pixels", "float32[?, 64]", "float32[?, 64]")],
  packages: [change("numpy", "==2.0.2", "==2.1.0"), change("scipy", "==1.14.1", "==1.14.1")],
  files: [change("digits.onnx", 1_100_210, 1_203_388, "other content"), change("MLmodel", 612, 612, "other content"), change("input_example.json", 212, 212, "same")],
  unknown: [{ what: "a: environment", why: "there is no lock of what was installed" }],
};

export const model: Model = { name: "digits", created_at: NOW - 30 * DAY, updated_at: NOW - 20 * HOUR, description: CARD, aliases: { production: 7, staging: 8 }, versions: [version(8), version(7), version(6)] };

const gate = (name: string, kind: string, outcome: Release["gates"][number]["outcome"], reason: string, extra: Partial<Release["gates"][number]> = {}): Release["gates"][number] => ({
  name,
  kind,
  outcome,
  reason,
  expression: null,
  inputs: {},
  hash: hash("1c0e88b2"),
  at: NOW - 2 * HOUR,
  ...extra,
});

export const release: Release = {
  ...releaseSummary(57, "digits", 8, "production", "awaiting_approval", 3 * HOUR),
  binds: {
    environment: "production",
    model: "digits",
    version: 8,
    model_content: hash("d81f44c0"),
    data: hash("a94e6d12"),
    commit: hash("b3370aa1").slice(0, 40),
    run: "digits/116",
    params: hash("5510fe3c"),
    metrics: hash("90be17d4"),
    evaluation: hash("6b0c"),
    python_environment: hash("e41b09d7"),
    policy: hash("0aa41c77"),
  },
  commit: commit("b3370aa1", "Hidden layer from params", "ds-1", NOW - 4 * HOUR),
  incumbent: { release: 14, version: 7, live_at: NOW - 6 * DAY },
  gated_against: "release 14 (digits v7)",
  gates_evaluated_at: NOW - 2 * HOUR,
  gates: [
    gate("beats production", "require", "passed", "0.9722 >= 0.9639 - 0.002", {
      expression: "candidate.metrics.accuracy >= production.metrics.accuracy - 0.002",
      inputs: { candidate: { metrics: { accuracy: 0.9722 } }, production: { metrics: { accuracy: 0.9639 } } },
    }),
    gate("macro F1 holds", "require", "failed", "false: 0.9716 >= 0.9631 + 0.01 is short by 0.0015", {
      expression: "candidate.metrics.macro_f1 >= production.metrics.macro_f1 + 0.01",
      inputs: { candidate: { metrics: { macro_f1: 0.9716 } }, production: { metrics: { macro_f1: 0.9631 } } },
    }),
    gate("data is valid", "checks", "passed", "1,437 rows, 65 columns: 38 of 38 checks hold", { inputs: { images: { passed: true } } }),
    gate("fast enough", "latency", "passed", "p99 0.60 ms <= 20 ms over 20,000 requests", { inputs: { p99_ms: 0.6 } }),
    gate("no unsafe artifact", "artifact_scan", "passed", "digits.onnx: 11 operators, all known, no pickle", { inputs: { files: ["digits.onnx"] } }),
  ],
  verdicts_hash: hash("90be17d4"),
  votes: [{ user: "ml-lead-1", role: "ml-leads", approved: true, reason: "Recall of 8 fell by one image. Fine for the canary.", at: NOW - 2 * HOUR, stale: null }],
  voters: [
    { user: "ml-lead-1", roles: ["ml-leads"], may: true, why_not: null },
    { user: "reviewer-1", roles: ["risk"], may: true, why_not: null },
    { user: "reviewer-2", roles: ["risk"], may: true, why_not: null },
    { user: "ds-1", roles: ["ml-leads"], may: false, why_not: "author, requester" },
    { user: "ds-2", roles: [], may: false, why_not: "trainer" },
  ],
  comparison: {
    incumbent: version(7),
    candidate: version(8),
    comparable: true,
    why_not_comparable: null,
    metrics: [
      { name: "accuracy", old: 0.9639, new: 0.9722, word: "better" },
      { name: "macro_f1", old: 0.9631, new: 0.9716, word: "better" },
      { name: "recall_8", old: 0.943, new: 0.914, word: "worse" },
      { name: "log_loss", old: 0.1043, new: 0.1043, word: "same" },
    ],
    data: [{ path: "data/pixels.csv", old: hash("77f0aa31").slice(0, 32), new: hash("a94e6d12").slice(0, 32), files_added: 1, files_removed: 0, files_changed: 0 }],
    params: { "mlp.hidden": { old: 48, new: 64 } },
    code: {
      old: hash("2c81e5d0").slice(0, 40),
      new: hash("b3370aa1").slice(0, 40),
      commits: 3,
      files: [{ path: "train.py", added: 6, removed: 2 }],
      diff: "diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ -41,3 +41,3 @@ def fit():\n     scaler = StandardScaler().fit(X)\n-    model = MLPClassifier(hidden_layer_sizes=(48,))\n+    model = MLPClassifier(hidden_layer_sizes=(params[\"mlp\"][\"hidden\"],))\n",
    },
    environment_changed: false,
  },
  rollout: null,
  history: [entry(48_200, 2 * HOUR, "ml-lead-1", "release.approved", ["release/57"], "ab12"), entry(48_190, 3 * HOUR, "towpath:gates", "release.gated", ["release/57"], "ab13")],
};

// --- the rollout ------------------------------------------------------------------------------

function rolloutSeries(): RolloutPoint[] {
  const random = noise(42);
  let latency = 1;
  let errors = 0;
  let labels = 0;
  return Array.from({ length: 120 }, (_, index) => {
    const late = index > 70;
    latency = Math.max(-1.2, Math.min(4, latency + (random() - (late ? 0.4 : 0.52)) * 1.1));
    errors = Math.max(-6.9, errors + (random() - 0.62) * 0.5);
    labels = Math.max(-9, labels + (random() - 0.68) * 0.5);
    const arm = (p99: number, share: number, accuracy: number) => ({
      p99_ms: p99 + 0.08 * random(),
      error_share: share + 0.002 * random(),
      accuracy: index < 20 ? null : accuracy + 0.02 * (random() - 0.5),
    });
    return {
      at: NOW - 30 * MINUTE + index * 15 * SECOND,
      combined: 0.3 * Math.exp(latency) + 0.5 * Math.exp(errors) + 0.2 * Math.exp(labels),
      errors: Math.exp(errors),
      latency: Math.exp(latency),
      labels: index < 8 ? null : Math.exp(labels),
      stable: arm(0.58, 0.0026, 0.965),
      candidate: arm(0.62, 0.0026, 0.974),
    };
  });
}

const metricPolicy = (share: number, required: boolean) => ({ share, required, safe: { ratio: 2 }, over: [] });

export const rollout: Rollout = {
  id: "0199aa",
  release: 58,
  policy: {
    strategy: "canary",
    steps: [0.05, 0.25, 0.5, 1],
    step: { min_seconds: 600, min_requests: 200, max_seconds: 3_600, inconclusive: "hold" },
    judge: { alpha: 0.01, alpha_advance: 0.05, errors: metricPolicy(0.5, false), latency: { ...metricPolicy(0.3, true), over: [0.99] }, labels: metricPolicy(0.2, true), min_bad_events: 3 },
    warm_seconds: 3_600,
  },
  status: "holding",
  stable_version: 7,
  candidate_version: 8,
  weight: 0.25,
  observed_share: 0.248,
  step: 1,
  steps: [
    { weight: 0.05, status: "done", started_at: NOW - 30 * MINUTE, seconds: 720 },
    { weight: 0.25, status: "current", started_at: NOW - 18 * MINUTE, seconds: 1_080 },
    { weight: 0.5, status: "next", started_at: null, seconds: null },
    { weight: 1, status: "later", started_at: null, seconds: null },
  ],
  started_at: NOW - 30 * MINUTE,
  finished_at: null,
  next: "Holding at 25 %. Advances to 50 % when latency is shown to be safe: about 9,000 more requests.",
  evidence: { requests: { stable: 127_641, candidate: 25_135 }, latency: [{ quantile: 0.99, limit_seconds: 0.0006 }] },
  verdict: {
    action: "hold",
    text: "Latency is not shown to be safe yet.",
    combined: 7.2,
    combined_needed: 100,
    metrics: [
      { name: "latency p99", required: true, stable: { bad: 1_220, all: 127_641 }, candidate: { bad: 311, all: 25_135 }, ratio: { estimate: 1.29, low: 0.99, high: 1.69 }, evidence: 24.1, worse: "suspected", safe: 4.6, safe_needed: 20 },
      { name: "errors", required: false, stable: { bad: 400, all: 127_641 }, candidate: { bad: 86, all: 25_135 }, ratio: { estimate: 1.09, low: 0.72, high: 1.6 }, evidence: 0.002, worse: "no_sign", safe: 61, safe_needed: 20 },
      { name: "labels", required: true, stable: { bad: 205, all: 5_684 }, candidate: { bad: 35, all: 1_343 }, ratio: { estimate: 0.72, low: 0.41, high: 1.19 }, evidence: 0.0004, worse: "no_sign", safe: 143, safe_needed: 20 },
    ],
  },
  series: rolloutSeries(),
  decisions: [
    { at: NOW - 6 * MINUTE, verb: "hold", text: "Soak of 10 min is over; errors and labels are safe, latency is not (4.6 of 20). About 9,000 more requests needed.", step: 1, evidence: null, hash: hash("5e2d7710") },
    { at: NOW - 18 * MINUTE, verb: "advance", text: "3,265 requests in 12 min. Evidence 0.2, highest 10.9.", step: 0, evidence: null, hash: hash("77a1c0de") },
    { at: NOW - 30 * MINUTE, verb: "start", text: "v8 ready: loaded, warmed, answering.", step: 0, evidence: null, hash: hash("2f6be9a4") },
  ],
};

/** An experiment: two variants until a person ends it. */
const experimentRollout: Rollout = {
  ...rollout,
  release: 59,
  policy: { ...rollout.policy, strategy: "ab", steps: [0.5, 1], variants: { stable: "control", candidate: "treatment" } },
  status: "holding",
  weight: 0.5,
  observed_share: 0.503,
  step: 0,
  steps: [
    { weight: 0.5, status: "current", started_at: NOW - 30 * MINUTE, seconds: 1_800 },
    { weight: 1, status: "next", started_at: null, seconds: null },
  ],
  next: "Experiment with 50 % of treatment: 203 requests, 184 of control; a person ends it",
  verdict: {
    action: "hold",
    text: "Experiment with 50 % of treatment: 203 requests, 184 of control; a person ends it",
    combined: 0.71,
    combined_needed: 100,
    metrics: [
      { name: "errors", required: false, stable: { bad: 0, all: 184 }, candidate: { bad: 0, all: 203 }, ratio: null, p_value: 1, evidence: 1, worse: "no_sign", safe: 5.3, safe_needed: 20 },
      { name: "labels", required: false, stable: { bad: 48, all: 184 }, candidate: { bad: 14, all: 203 }, ratio: { estimate: 0.264, low: 0.085, high: 0.79 }, p_value: 0.00033, evidence: 0.00006, worse: "no_sign", safe: 9_281, safe_needed: 20 },
    ],
    shadow: { compared: 1_200, disagreed: 14, failed: 1, safe: 61, safe_needed: 20, drift: 0.02, stable_seconds: 0.0004, candidate_seconds: 0.0005 },
  },
};
const experimentRelease: Release = { ...release, ...releaseSummary(59, "digits", 8, "production", "rolling_out", 3 * HOUR), rollout: experimentRollout };

const rollingRelease: Release = { ...release, ...releaseSummary(58, "digits", 8, "production", "rolling_out", 3 * HOUR), hash: release.hash, rollout, votes: [...release.votes, { ...release.votes[0]!, user: "reviewer-2", role: "risk", reason: "Agreed." }] };

/** Thrown out by the judge at its second step. */
const rolledBackRollout: Rollout = {
  ...rollout,
  release: 15,
  candidate_version: 6,
  status: "rolled_back",
  weight: 0,
  steps: rollout.steps.map((step, index) => (index < 2 ? step : { ...step, status: "later" })),
  finished_at: NOW - MINUTE,
  next: "Rolled back at 25 %: wrong labels, evidence 128 of 100.",
  verdict: rollout.verdict && { ...rollout.verdict, action: "roll_back", combined: 128 },
  series: rollout.series.map((point, index) => (index < 100 ? point : { ...point, labels: 20 + (index - 100) * 30, combined: 4 + (index - 100) * 6.5 })),
  decisions: [{ at: NOW - MINUTE, verb: "roll_back", text: "Wrong labels: 18 of 24, was 3 of 80. No request failed.", step: 1, evidence: null, hash: hash("9d11") }, ...rollout.decisions],
};
const rolledBack: Release = {
  ...release,
  ...releaseSummary(15, "digits", 6, "production", "rolled_back", 2 * DAY),
  reason: rolledBackRollout.next,
  rollout: rolledBackRollout,
};

/** A run of earlier days, with everything done. */
const earlierRun = (number: number): Run => ({
  ...run,
  number,
  status: "succeeded",
  finished_at: NOW,
  model_version: { model: "digits", version: 8 },
  stages: run.stages.map((each) => (each.status === "running" || each.status === "queued" ? { ...each, status: "succeeded", started_at: runStart + 20 * SECOND, finished_at: NOW, exit_code: 0 } : each)),
});

/** Its last stage waits for somebody to agree. */
const waitingRun: Run = {
  ...earlierRun(120),
  status: "running",
  finished_at: null,
  model_version: null,
  stages: earlierRun(120).stages.map((each) =>
    each.name === "evaluate" ? { ...each, status: "waiting", started_at: null, finished_at: null, exit_code: null, approval: { count: 2, from: ["risk"], votes: [{ user: "reviewer-2", approved: true, reason: "Data looked at.", at: NOW - MINUTE }] } } : each,
  ),
};

const gridRuns = [...recentRuns("digits", failedRun, 3).slice(0, 22), failedRun, run];
const grid: Grid = {
  stages: run.stages.map((each) => each.name),
  runs: gridRuns.map((each, index) => ({
    ...each,
    stages: Object.fromEntries(run.stages.map((stage, at) => [stage.name, each.number === run.number ? stage.status : each.status === "failed" ? (at < 3 ? "succeeded" : at === 3 ? "failed" : "skipped") : (index + at) % 4 === 0 ? "reused" : "succeeded"])),
  })),
};

const schedule = (name: string, kind: string, when: string, rest: Partial<Schedule> = {}): Schedule => ({ project: "digits", name, kind, when, branch: "main", paused_at: null, paused_by: null, next_at: null, last: null, ...rest });
const schedules: Schedule[] = [
  schedule("nightly", "schedule", "0 3 * * * Europe/Berlin", { next_at: NOW + 9 * HOUR, last: { at: NOW - 15 * HOUR, outcome: "started", run: 117, why: "schedule nightly, planned for 2026-11-23T02:00:00.000Z" } }),
  schedule("weekly", "schedule", "0 4 * * 1 UTC", { paused_at: NOW - DAY, paused_by: "ds-1" }),
  schedule("data", "data", "new version of data/pixels.csv"),
];
const backfills: Backfill[] = [
  {
    project: "digits",
    number: 2,
    schedule: "nightly",
    from: NOW - 10 * DAY,
    to: NOW,
    at_once: 2,
    status: "running",
    created_at: NOW - HOUR,
    created_by: "ds-1",
    partitions: (["succeeded", "succeeded", "failed", "running", "queued", "waiting", "skipped"] as const).map((status, index) => ({
      planned_at: NOW - (10 - index) * DAY,
      status,
      run: index < 5 ? 100 + index : null,
      why: status === "skipped" ? "run 90 of it succeeded" : null,
    })),
  },
];

// --- the rest ---------------------------------------------------------------------------------

const me: Me = { user: "reviewer-1", roles: ["risk", "write"], admin: false, open: false, server_version: "0.1.0" };
const verified: Verified = { entries: 48_213, head: hash("c81f04e2"), intact: true, broken_at: null, detail: null, at: NOW - 2 * MINUTE };
const projects: Project[] = overview.lanes.map((lane) => ({ name: lane.project, created_at: NOW - 30 * DAY, default_branch: "main", head: lane.newest_run?.commit ?? null, git_url: `http://127.0.0.1/git/${lane.project}.git`, runs: lane.newest_run?.number ?? 0 }));
const trace: Trace = {
  of: "model/digits/8",
  links: [
    { depth: 0, kind: "model_version", name: "digits v8", hash: hash("d81f44c0"), facts: [["size", "1.2 MB"]], ledger_seq: 48_150 },
    { depth: 1, kind: "run", name: "digits/116", hash: null, facts: [["trainer", "ds-2"]], ledger_seq: 48_140 },
    { depth: 2, kind: "commit", name: "b3370aa1", hash: hash("b3370aa1").slice(0, 40), facts: [["author", "ds-1"], ["subject", "Hidden layer from params"]], ledger_seq: null },
    { depth: 2, kind: "data", name: "data/pixels.csv", hash: hash("a94e6d12").slice(0, 32), facts: [["files", "9"]], ledger_seq: null },
  ],
};

const page = <T>(items: T[], total = items.length): Page<T> => ({ items, total });

const allReleases: ReleaseSummary[] = [releaseSummary(58, "digits", 8, "production", "rolling_out", 3 * HOUR), release, releaseSummary(16, "digits", 8, "staging", "live", DAY), releaseSummary(15, "digits", 6, "production", "rolled_back", 2 * DAY)];

function fits(release: ReleaseSummary, asked: URLSearchParams): boolean {
  const version = asked.get("version");
  return version === null || (release.version === Number(version) && release.model === asked.get("model"));
}

/** What the invented server answers to `GET /api/v1<path>`; `undefined` is a 404. */
export function answer(url: URL): unknown {
  const path = url.pathname.replace(/^\/api\/v1/, "");
  const fixed: Record<string, unknown> = {
    "/me": me,
    "/overview": overview,
    "/audit/verify": verified,
    "/projects": projects,
    "/projects/digits/runs": page([run, failedRun, ...recentRuns("digits", failedRun, 3).slice(0, 22).reverse()].map((each) => ({ ...each, stages: undefined })), 119),
    "/projects/digits/grid": grid,
    "/projects/digits/schedules": schedules,
    "/projects/digits/backfills": backfills,
    "/projects/digits/runs/120": waitingRun,
    "/projects/digits/runs/119": run,
    "/projects/digits/runs/118": failedRun,
    "/experiments": [experiment],
    "/experiments/1/runs": page(trackedRuns, 214),
    "/models": page([model]),
    "/models/digits": model,
    "/models/digits/card": card.now,
    "/models/digits/versions/8": version(8),
    "/models/digits/versions/8/facts": facts,
    "/models/digits/versions/7/compare": compared,
    "/models/digits/versions/8/compare": { ...compared, a: "digits/8", b: "digits/7" },
    "/releases": page(allReleases.filter((each) => fits(each, url.searchParams))),
    "/releases/57": release,
    "/releases/58": rollingRelease,
    "/releases/58/rollout": rollout,
    "/releases/59": experimentRelease,
    "/releases/59/rollout": experimentRollout,
    "/releases/15": rolledBack,
    "/releases/15/rollout": rolledBackRollout,
    "/deployments": [rollingOut, deployment("bikes", "production", 30, 12)],
    "/deployments/digits/production": rollingOut,
    "/ledger": page(ledgerEntries, 48_213),
    "/ledger/48212": ledgerEntries[1],
    "/trace": trace,
    "/users": [{ name: "reviewer-1", emails: ["reviewer-1@example.org"], admin: false, roles: ["risk"], created_at: NOW - DAY }],
    "/tokens": [{ id: "t1", user: "reviewer-1", roles: ["risk"], created_at: NOW - DAY, expires_at: null }],
  };
  const number = Number(/^\/projects\/digits\/runs\/(\d+)$/.exec(path)?.[1] ?? 0);
  if (number > 0 && number < 118) return earlierRun(number);
  if (path.endsWith("/origins")) {
    const stage = run.stages.find((each) => path.includes(`/${encodeURIComponent(each.name)}/`));
    const origins = stage?.changes.map((change) => (change.kind === "dependency" ? { kind: "stage", stage: "features" } : { kind: "commit", commit: run.commit }));
    return { compared: { run: 117, commit: run.commit }, origins: origins ?? [] };
  }
  if (path.endsWith("/log")) return { ...log, finished: !path.includes("/119/") };
  if (path === "/experiments/1/runs" && url.searchParams.get("filter")?.includes("> 999999999")) return page([]);
  if (path === "/tracking/metrics") return series((url.searchParams.get("runs") ?? "").split(","), url.searchParams.get("key") ?? "", url.searchParams);
  if (path.startsWith("/tracking/runs/")) return trackedRuns.find((each) => path.endsWith(`/${each.run_id}`));
  return fixed[path];
}
