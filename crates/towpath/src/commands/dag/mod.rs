mod drawing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::json;
use towpath_data::targets::{choose, is_within};
use towpath_data::{Stage, Targets};
use towpath_pipeline::engine;

use crate::commands::checkout::canonical_dir;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace::{self, declared, shown};

/// Show which stages need which
#[derive(clap::Args, Debug)]
pub struct Dag {
    /// A stage or an output: only it and what it needs
    target: Option<String>,
    /// In the language of Graphviz
    #[arg(long)]
    dot: bool,
    /// As a Mermaid flowchart
    #[arg(long)]
    mermaid: bool,
    /// As a Mermaid flowchart in a block of Markdown
    #[arg(long)]
    md: bool,
    /// Stages of one foreach or matrix as one
    #[arg(long, conflicts_with = "outs")]
    collapse_foreach_matrix: bool,
    /// With a target: the whole pipeline that it belongs to
    #[arg(long)]
    full: bool,
    /// Outputs instead of stages
    #[arg(long, short)]
    outs: bool,
}

/// Names, each with those it needs.
type Needs = BTreeMap<String, BTreeSet<String>>;

impl Dag {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let pipeline = engine::read_pipelines(&repository)?;
        let stages = repository.stages(&declared(&pipeline, "")?)?;
        let from = canonical_dir()?;
        let name_of = |path: &str| shown(repository.root(), path, &from);
        let mut graph = if self.outs { of_outputs(&stages, &name_of) } else { of_stages(&stages) };
        if let Some(target) = &self.target {
            let mut targets = Vec::new();
            for chosen in choose(&repository, &stages, &Targets::named(&from, [target]))? {
                if self.outs {
                    targets.extend(chosen.selections().iter().map(|s| name_of(&s.output.path)));
                } else {
                    targets.push(chosen.stage.addressing());
                }
            }
            graph = if self.full { connected(&graph, targets) } else { needed(&graph, targets) };
        }
        if self.collapse_foreach_matrix {
            graph = collapsed(&graph);
        }
        ctx.ui.show_as(&json!(graph), || match (self.dot, self.mermaid, self.md) {
            (true, ..) => dot(&graph),
            (_, _, true) => format!("```mermaid\n{}\n```", mermaid(&graph)),
            (_, true, _) => mermaid(&graph),
            _ => pipelines(&graph).iter().map(drawing::draw).collect::<Vec<_>>().join("\n"),
        })?;
        Ok(Exit::Done)
    }
}

fn touches(a: &str, b: &str) -> bool {
    is_within(a, b) || is_within(b, a)
}

fn of_stages(stages: &[Stage]) -> Needs {
    let makers_of = |stage: &Stage| {
        let makes =
            |maker: &&Stage| maker.outputs.iter().any(|out| stage.deps.iter().any(|dep| touches(dep, &out.path)));
        stages.iter().filter(makes).map(Stage::addressing).collect()
    };
    stages.iter().map(|stage| (stage.addressing(), makers_of(stage))).collect()
}

fn of_outputs(stages: &[Stage], name_of: &dyn Fn(&str) -> String) -> Needs {
    let all: Vec<&str> = stages.iter().flat_map(|stage| &stage.outputs).map(|out| out.path.as_str()).collect();
    let mut graph = Needs::new();
    for stage in stages {
        let read = |path: &&&str| stage.deps.iter().any(|dep| touches(dep, path));
        let needs: BTreeSet<String> = all.iter().filter(read).map(|path| name_of(path)).collect();
        graph.extend(stage.outputs.iter().map(|out| (name_of(&out.path), needs.clone())));
    }
    graph
}

/// The targets and all they need.
fn needed(graph: &Needs, mut open: Vec<String>) -> Needs {
    let mut found = Needs::new();
    while let Some(name) = open.pop() {
        if let Some(needs) = graph.get(&name).filter(|_| !found.contains_key(&name)) {
            open.extend(needs.iter().cloned());
            found.insert(name, needs.clone());
        }
    }
    found
}

/// All that hangs together with the targets.
fn connected(graph: &Needs, mut open: Vec<String>) -> Needs {
    let mut found = Needs::new();
    while let Some(name) = open.pop() {
        if let Some(needs) = graph.get(&name).filter(|_| !found.contains_key(&name)) {
            open.extend(needs.iter().cloned());
            open.extend(graph.iter().filter(|(_, needs)| needs.contains(&name)).map(|(name, _)| name.clone()));
            found.insert(name, needs.clone());
        }
    }
    found
}

/// The parts that do not hang together, each with its first name first.
fn pipelines(graph: &Needs) -> Vec<Needs> {
    let mut parts: Vec<Needs> = Vec::new();
    for name in graph.keys() {
        if !parts.iter().any(|part| part.contains_key(name)) {
            parts.push(connected(graph, vec![name.clone()]));
        }
    }
    parts
}

fn collapsed(graph: &Needs) -> Needs {
    let group = |name: &String| match name.split_once('@') {
        Some((group, _)) if !name.ends_with(".dvc") => group.to_owned(),
        _ => name.clone(),
    };
    let mut collapsed = Needs::new();
    for (name, needs) in graph {
        collapsed.entry(group(name)).or_default().extend(needs.iter().map(group));
    }
    collapsed
}

fn dot(graph: &Needs) -> String {
    let mut text = "strict digraph {\n".to_owned();
    for name in graph.keys() {
        let _ = writeln!(text, "\"{name}\";");
    }
    for (name, needs) in graph {
        for need in needs {
            let _ = writeln!(text, "\"{need}\" -> \"{name}\";");
        }
    }
    text + "}"
}

fn mermaid(graph: &Needs) -> String {
    let mut text = "flowchart TD".to_owned();
    let mut count = 0;
    for pipeline in pipelines(graph) {
        let mut ids = BTreeMap::new();
        for name in pipeline.keys() {
            count += 1;
            let _ = write!(text, "\n\tnode{count}[\"{name}\"]");
            ids.insert(name, count);
        }
        let edges = pipeline.iter().flat_map(|(name, needs)| needs.iter().map(move |need| (need, name)));
        let edges: BTreeSet<(&String, &String)> = edges.collect();
        for (need, name) in edges {
            let _ = write!(text, "\n\tnode{}-->node{}", ids[need], ids[name]);
        }
    }
    text
}
