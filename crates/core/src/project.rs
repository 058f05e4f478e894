//! What `towpath.yaml` says, as values. Reading the file (with positions and defaults) is
//! `towpath-plan`'s; everybody else takes these. Their JSON is hashed as the policy of a release.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::triggers::{ManualParam, Trigger};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectFile {
    /// The registered model that a successful run makes of an output.
    pub model: Option<ModelOutput>,
    /// `requirements.txt`, `pyproject.toml` or `uv.lock`, relative to the repository.
    pub python: Option<String>,
    /// Branches (glob patterns) whose push starts a run.
    pub push_branches: Vec<String>,
    /// Tags (glob patterns) whose push starts a run.
    #[serde(default)]
    pub push_tags: Vec<String>,
    /// What else starts runs.
    #[serde(default)]
    pub triggers: Vec<Trigger>,
    /// What may be set when a run is started by hand.
    #[serde(default)]
    pub manual: BTreeMap<String, ManualParam>,
    pub checks: BTreeMap<String, CheckDeclaration>,
    /// In the order of promotion.
    pub environments: Vec<Environment>,
    /// Longest time a stage may run, in seconds, by stage name; `"*"` is the default for all.
    pub timeouts: BTreeMap<String, u64>,
    /// Longest times other than that of the run, by stage name; `"*"` is the default for all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waits: BTreeMap<String, Waits>,
    /// How often a stage that failed is tried again, by stage name; `"*"` is the default for all.
    #[serde(default)]
    pub retries: BTreeMap<String, Retries>,
    /// Whether, when and with what stages run, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stages: BTreeMap<String, StagePolicy>,
    /// Runs of one group follow each other.
    #[serde(default)]
    pub concurrency: Option<Concurrency>,
}

/// When a stage is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retries {
    /// Attempts after the first.
    pub count: u32,
    /// Before the second attempt; each further wait is twice as long.
    pub delay_seconds: f64,
    pub max_delay_seconds: f64,
    /// The only exit codes that are tried again; empty means any failure of the command.
    pub exit_codes: Vec<i32>,
}

/// How long a stage may wait or say nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// For what it asked of the server's pools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_seconds: Option<f64>,
    /// For its environment to be built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_seconds: Option<f64>,
    /// Without a line of output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_seconds: Option<f64>,
}

/// What a project wants done with one stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StagePolicy {
    /// A CEL expression over `params`, `metrics` and `trigger`; the stage is skipped when it is false.
    #[serde(rename = "if", default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Who has to agree before it runs on a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approvals>,
    /// Whose secrets it gets beside those of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Environment variable -> name of a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Resources::is_nothing")]
    pub resources: Resources,
    /// Of stages that wait for the same pool the highest goes first.
    #[serde(default)]
    pub priority: i64,
    /// What is done about inputs that it reads and does not declare.
    #[serde(default)]
    pub undeclared: Undeclared,
    /// How its processes are confined.
    #[serde(default)]
    pub sandbox: Confinement,
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// Runs it as a job of a Slurm cluster instead of on the machine of the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slurm: Option<SlurmOptions>,
}

/// How a stage is given to Slurm, beside what `resources` and `timeouts` say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlurmOptions {
    pub partition: Option<String>,
    pub account: Option<String>,
    /// More words for `sbatch`: `--constraint=a100`.
    pub options: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confinement {
    /// Writes only into the checkout, gains no privileges, and reads no secrets of the server.
    #[default]
    Default,
    /// Also in namespaces of its own, without a network.
    Strict,
    /// In a container, which has the checkout and nothing else of the machine.
    Container(Image),
}

/// What a container is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As `podman run` takes it: `docker.io/library/python:3.11`, with a tag or a digest.
    pub name: String,
    #[serde(default)]
    pub network: Network,
}

/// What a container reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A loopback device of its own.
    #[default]
    None,
    /// The world, by an address of its own.
    Bridge,
    /// All that the machine reaches, its own services among it.
    Host,
}

/// What each process of a stage may take at most (`setrlimit(2)`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Of the user, in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<u64>,
}

impl Limits {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undeclared {
    /// They are named.
    #[default]
    Warn,
    /// The stage fails, and nothing of it is kept.
    Refuse,
    /// Nobody looks.
    Allow,
}

/// What a stage takes of a machine while it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Cores.
    #[serde(default)]
    pub cpu: f64,
    /// Bytes. A stage that uses more is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Whole devices.
    #[serde(default)]
    pub gpu: u32,
    /// Places of pools that the server names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<String, u32>,
}

impl Resources {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Runs that must not go on at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// `${branch}` and `${trigger}` stand for those of the run.
    pub group: String,
    /// A new run cancels the older ones of its group.
    pub cancel_in_progress: bool,
}

impl Concurrency {
    /// The group of a run.
    pub fn group_of(&self, branch: Option<&str>, trigger: &str) -> String {
        self.group.replace("${branch}", branch.unwrap_or_default()).replace("${trigger}", trigger)
    }
}

impl ProjectFile {
    /// How often a stage is tried again.
    pub fn retries_of(&self, stage: &str) -> Option<&Retries> {
        self.retries.get(stage).or_else(|| self.retries.get("*"))
    }

    /// How long a stage may wait or say nothing.
    pub fn waits_of(&self, stage: &str) -> Waits {
        self.waits.get(stage).or_else(|| self.waits.get("*")).cloned().unwrap_or_default()
    }

    /// What is wanted of a stage; a generated one (`train@1`) has what its template has.
    pub fn policy_of(&self, stage: &str) -> Option<&StagePolicy> {
        self.stages.get(stage).or_else(|| self.stages.get(stage.split_once('@')?.0))
    }

    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments.iter().find(|e| e.name == name)
    }

    /// The environment that opens after `name` went live and soaked.
    pub fn after(&self, name: &str) -> Option<&Environment> {
        self.environments.iter().find(|e| e.after.as_deref() == Some(name))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelOutput {
    pub name: String,
    /// A stage output: a file or a folder with `model.onnx`.
    pub path: String,
    /// The file whose content hash identifies the evaluation data: metrics are comparable only
    /// between versions with the same one. A dependency or output of a stage.
    pub evaluation: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckDeclaration {
    /// `.dvc` data or a stage output.
    pub path: String,
    /// The suite file.
    pub suite: String,
    pub on_fail: OnFail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFail {
    Stop,
    Warn,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    pub name: String,
    pub after: Option<String>,
    /// Seconds live in `after` before this environment's release opens.
    pub soak_seconds: f64,
    pub gates: Vec<Gate>,
    pub approvals: Option<Approvals>,
    pub rollout: RolloutPolicy,
    pub target: Target,
    /// Requests that wait for the model are run together; `None` = each alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<Batching>,
    /// What the data plane keeps of predictions; `None` = everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction_log: Option<LogPolicy>,
}

impl Environment {
    /// Models may run pickles and code that they bring: a gate that looks for them lets them pass.
    pub fn allows_pickle(&self) -> bool {
        self.gates.iter().any(|gate| matches!(gate.condition, GateCondition::ArtifactScan { allow_pickle: true }))
    }
}

/// How requests of one model are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batching {
    /// Of one batch, at least 2. A larger request runs alone, whole.
    pub max_rows: usize,
    /// What the oldest request waits at most for others while the model is idle; 0 = not at all.
    pub max_delay_ms: u64,
}

/// What the prediction log keeps, and what it hides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogPolicy {
    /// Of the predictions, in (0, 1].
    pub sample: f64,
    /// What failed is kept whatever `sample` says.
    pub always_errors: bool,
    /// The inputs of the model are kept too.
    pub features: bool,
    /// Features that are left out.
    pub drop: Vec<String>,
    /// Features whose values are replaced by keyed hashes.
    pub hash: Vec<String>,
    /// Features whose values are not to be seen.
    pub mask: Vec<String>,
    /// Older predictions are deleted.
    pub keep_seconds: Option<f64>,
    /// The oldest are deleted above this size.
    pub keep_bytes: Option<u64>,
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self {
            sample: 1.0,
            always_errors: true,
            features: true,
            drop: Vec::new(),
            hash: Vec::new(),
            mask: Vec::new(),
            keep_seconds: None,
            keep_bytes: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    pub name: String,
    #[serde(flatten)]
    pub condition: GateCondition,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GateCondition {
    /// Verdicts of the checks (`all` = every declared one) on exactly the data of this version.
    Checks { checks: Vec<String> },
    /// A CEL expression over `candidate` and `production` (`<x>.metrics.*`, `<x>.params.*`).
    Require { expression: String },
    /// Measured on the real serving runtime.
    Latency { p99_ms: f64, requests: u32 },
    /// Refuses pickles and unknown file kinds unless allowed.
    ArtifactScan { allow_pickle: bool },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvals {
    pub count: u32,
    /// Roles; empty = anybody who may approve.
    pub from: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    Canary,
    AllAtOnce,
    /// The candidate is loaded beside what serves, looked at, and then takes all traffic in one step.
    BlueGreen,
    /// An experiment: fixed shares until a person ends it.
    Ab,
}

/// What keeps a caller with the same revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoutingKey {
    Header(String),
    Cookie(String),
    /// An input of the model, or a column of its signature; of its first row.
    Field(String),
}

/// How the two sides of an experiment are called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variants {
    /// What serves already.
    pub stable: String,
    pub candidate: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutPolicy {
    pub strategy: Strategy,
    /// Candidate shares, rising, the last one 1. The first one is 0 when copies are compared before, and with
    /// blue_green.
    pub steps: Vec<f64>,
    pub step: StepPolicy,
    pub judge: JudgePolicy,
    /// How long the old revision stays loaded after full promotion, in seconds.
    pub warm_seconds: f64,
    /// Of blue_green: how long testers may look at the candidate before it takes the traffic.
    #[serde(default)]
    pub preview_seconds: f64,
    /// `None` = the header or cookie `x-towpath-key`, or the id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<RoutingKey>,
    /// Of an experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variants: Option<Variants>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepPolicy {
    pub min_seconds: f64,
    /// Candidate requests in this step.
    pub min_requests: u64,
    /// After this the step is inconclusive.
    pub max_seconds: f64,
    pub inconclusive: Inconclusive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inconclusive {
    Hold,
    Advance,
    Rollback,
}

/// The judge of a canary: `inference.md`, section 7.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgePolicy {
    /// Probability that a rollout of a candidate that is not worse is ever rolled back.
    pub alpha: f64,
    /// Probability that a candidate that is unsafe is ever called safe, per metric.
    pub alpha_advance: f64,
    pub errors: Option<MetricPolicy>,
    pub latency: Option<MetricPolicy>,
    pub labels: Option<MetricPolicy>,
    /// Numbers that are told of predictions later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<ValueMetric>,
    /// Candidate bad events before a rollback is allowed at all.
    pub min_bad_events: u64,
    /// The candidate takes all traffic at once: it is judged by ceilings, with nothing beside it.
    #[serde(default)]
    pub alone: bool,
    /// Copies of requests for the candidate, before and while it has a share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowPolicy>,
}

/// How the candidate's answers to copies of requests are compared with stable's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShadowPolicy {
    /// Of the requests that stable answers, in (0, 1].
    pub share: f64,
    /// Fewer answers than this must differ, in (0, 1).
    pub disagreement: f64,
    /// Numbers that differ by less, relative to stable's, are the same.
    pub tolerance: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricPolicy {
    /// Weight of this metric's evidence in the rollback decision; shares are scaled to sum to 1.
    pub share: f64,
    /// Must be shown safe before a step may advance; without evidence the step holds.
    pub required: bool,
    pub safe: Safe,
    /// Latency only: quantiles of the stable revision that are frozen as limits, for example 0.9.
    pub over: Vec<f64>,
}

/// A number that is told of a prediction later, such as what a customer paid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueMetric {
    pub name: String,
    pub better: Better,
    /// The smallest difference of the means that matters; the candidate is safe when it is not worse by so much.
    pub effect: f64,
    /// Values beyond count as the bound. Without bounds nothing is decided on it.
    pub bounds: Option<(f64, f64)>,
    /// As of [`MetricPolicy`]; 0 without bounds.
    pub share: f64,
    pub required: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    Higher,
    Lower,
}

/// What "safe" means for a metric (section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Safe {
    /// The candidate's bad rate is below this share.
    Ceiling(f64),
    /// The candidate's bad rate is below this multiple of stable's.
    Ratio(f64),
    /// The candidate's bad rate exceeds stable's by less than this.
    Margin(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Local,
}
