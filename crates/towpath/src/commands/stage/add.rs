use serde_json::json;
use towpath_pipeline::engine::{self, Reach};
use towpath_plan::frontend::dvc_yaml::{self, DEFAULT_PARAMS, Sources};
use towpath_plan::graph::Graph;
use towpath_plan::pipeline::Pipeline;
use towpath_yaml::{Step, Value, edit};

use crate::commands::checkout::canonical_dir;
use crate::commands::repro::{Chosen, ReproOptions, Setting};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace::{self, PIPELINE_FILE, arguments, read, shown};

/// Write a stage into the dvc.yaml of this folder
#[derive(clap::Args, Debug)]
pub struct Add {
    /// What it is called
    #[arg(long, short)]
    name: String,
    /// Replace a stage of this name
    #[arg(long, short)]
    force: bool,
    /// A file or folder that it reads
    #[arg(long, short, value_name = "PATH")]
    deps: Vec<String>,
    /// Parameters that it reads, separated by commas; of params.yaml without a file
    #[arg(long, short, value_name = "[FILE:]KEYS")]
    params: Vec<String>,
    /// A file or folder that it makes
    #[arg(long, short, value_name = "PATH")]
    outs: Vec<String>,
    /// As --outs, but not kept in the cache
    #[arg(long, short = 'O', value_name = "PATH")]
    outs_no_cache: Vec<String>,
    /// As --outs, but not deleted before it runs
    #[arg(long, value_name = "PATH")]
    outs_persist: Vec<String>,
    /// As --outs-persist, but not kept in the cache
    #[arg(long, value_name = "PATH")]
    outs_persist_no_cache: Vec<String>,
    /// A file of metrics that it makes
    #[arg(long, short, value_name = "PATH")]
    metrics: Vec<String>,
    /// As --metrics, but not kept in the cache
    #[arg(long, short = 'M', value_name = "PATH")]
    metrics_no_cache: Vec<String>,
    /// A file that it makes and that can be plotted
    #[arg(long, value_name = "PATH")]
    plots: Vec<String>,
    /// As --plots, but not kept in the cache
    #[arg(long, value_name = "PATH")]
    plots_no_cache: Vec<String>,
    /// The folder that the command runs in and that paths are relative to
    #[arg(long, short, value_name = "PATH")]
    wdir: Option<String>,
    /// Run it every time
    #[arg(long)]
    always_changed: bool,
    /// What it is for, in words
    #[arg(long, value_name = "TEXT")]
    desc: Option<String>,
    /// Run it now
    #[arg(long)]
    run: bool,
    /// The command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

impl Add {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let from = canonical_dir()?;
        let file = shown(&from, PIPELINE_FILE, repository.root());
        let path = repository.root().join(&file);
        let lock = repository.lock()?;
        let old = read(&path)?;
        let text = self.text(&file, old.as_deref())?;
        let read_beside =
            |path: &str| read(&repository.root().join(path)).map_err(|e| std::io::Error::other(e.message));
        let sources = Sources { read: &read_beside, arguments: arguments(&repository) };
        let pipeline = dvc_yaml::read(&file, &text, &sources)?;
        let added = pipeline.stages.iter().find(|stage| stage.name == self.name).cloned();
        let others = engine::read_pipelines(&repository)?.stages.into_iter().filter(|stage| stage.file != file);
        let mut whole = Pipeline::joined(PIPELINE_FILE, [pipeline]);
        whole.stages.extend(others);
        // Refused before anything is written: overlapping outputs, circles.
        Graph::of(&whole)?;
        repository.write(&file, &text)?;
        // A folder that is not there yet gets its line when the stage runs.
        let has_folder = |path: &str| repository.root().join(path).parent().is_some_and(std::path::Path::is_dir);
        for out in added.iter().flat_map(|stage| &stage.outs).filter(|out| out.cache && has_folder(&out.at.path)) {
            repository.keep_out_of_git(&out.at.path, false)?;
        }
        drop(lock);
        let result = json!({ "stage": self.name, "file": file });
        ctx.ui.show_as(&result, || format!("Added stage '{}' in '{file}'", self.name))?;
        if !self.run {
            return Ok(Exit::Done);
        }
        let address = if file == PIPELINE_FILE { self.name } else { format!("{file}:{}", self.name) };
        let chosen = Chosen { stages: vec![address], reach: Reach::Only, pointers: Vec::new(), reads: Vec::new() };
        let outcome = ReproOptions::default().run(ctx, &repository, chosen, &Setting::default())?;
        let succeeded = outcome.is_none_or(|outcome| outcome.status == towpath_pipeline::Status::Succeeded);
        Ok(if succeeded { Exit::Done } else { Exit::No })
    }

    /// The text of the pipeline file with the stage in it.
    fn text(&self, file: &str, old: Option<&str>) -> Result<String, Error> {
        let entry = self.entry();
        let Some(text) = old.filter(|text| !text.trim().is_empty()) else {
            let stages = Value::Map(vec![(self.name.clone(), entry)]);
            return Ok(towpath_yaml::emit(&Value::Map(vec![("stages".into(), stages)])));
        };
        let root = towpath_yaml::parse(file, text)?.root().to_value();
        if root.get("stages").and_then(|stages| stages.get(&self.name)).is_some() && !self.force {
            return Err(Error::new(
                towpath_core::Kind::Conflict,
                format!("stage '{}' is in '{file}' already", self.name),
            )
            .hint("replace it with --force"));
        }
        let mut text = text.to_owned();
        if !matches!(root.get("stages"), Some(Value::Map(_))) {
            text = edit::set(file, &text, &[Step::Key("stages")], &Value::Map(Vec::new()))?;
        }
        Ok(edit::set(file, &text, &[Step::Key("stages"), Step::Key(&self.name)], &entry)?)
    }

    /// What of it is not empty, in the order of DVC.
    fn entry(&self) -> Value {
        let mut entry = Vec::new();
        if let Some(desc) = &self.desc {
            entry.push(("desc".to_owned(), Value::string(desc)));
        }
        entry.push(("cmd".into(), Value::string(command_line(&self.command))));
        if let Some(wdir) = self.wdir.as_ref().filter(|wdir| *wdir != ".") {
            entry.push(("wdir".into(), Value::string(wdir)));
        }
        let mut deps = self.deps.clone();
        deps.sort();
        deps.dedup();
        let lists = [
            ("deps", deps.iter().map(Value::string).collect()),
            ("params", params(&self.params)),
            (
                "outs",
                outputs(&[
                    (&self.outs, true, false),
                    (&self.outs_no_cache, false, false),
                    (&self.outs_persist, true, true),
                    (&self.outs_persist_no_cache, false, true),
                ]),
            ),
            ("metrics", outputs(&[(&self.metrics, true, false), (&self.metrics_no_cache, false, false)])),
            ("plots", outputs(&[(&self.plots, true, false), (&self.plots_no_cache, false, false)])),
        ];
        entry.extend(lists.into_iter().filter(|(_, l)| !l.is_empty()).map(|(key, l)| (key.to_owned(), Value::Seq(l))));
        if self.always_changed {
            entry.push(("always_changed".into(), Value::Bool(true)));
        }
        Value::Map(entry)
    }
}

/// One argument is a command; several are its words, those with blanks quoted.
fn command_line(words: &[String]) -> String {
    let quoted = |word: &String| match word.as_str() {
        "" => "\"\"".to_owned(),
        word if word.contains(' ') && !word.contains('"') => format!("\"{word}\""),
        word => word.to_owned(),
    };
    match words {
        [one] => one.clone(),
        words => words.iter().map(quoted).collect::<Vec<_>>().join(" "),
    }
}

/// Keys of `params.yaml` first, then `{file: [keys]}`; sorted.
fn params(asked: &[String]) -> Vec<Value> {
    let mut files: Vec<(String, Vec<String>)> = Vec::new();
    for one in asked {
        let (file, keys) = one.rsplit_once(':').unwrap_or((DEFAULT_PARAMS, one));
        let file = if file.is_empty() { DEFAULT_PARAMS } else { file };
        let keys = keys.split(',').filter(|key| !key.is_empty()).map(str::to_owned);
        match files.iter_mut().find(|(known, _)| known == file) {
            Some((_, known)) => known.extend(keys),
            None => files.push((file.to_owned(), keys.collect())),
        }
    }
    files.sort_by(|(a, _), (b, _)| (a != DEFAULT_PARAMS, a).cmp(&(b != DEFAULT_PARAMS, b)));
    let mut params = Vec::new();
    for (file, mut keys) in files {
        keys.sort();
        keys.dedup();
        let keys: Vec<Value> = keys.into_iter().map(Value::String).collect();
        match (file.as_str(), keys.is_empty()) {
            (DEFAULT_PARAMS, false) => params.extend(keys),
            (_, true) => params.push(Value::Map(vec![(file, Value::Null)])),
            _ => params.push(Value::Map(vec![(file, Value::Seq(keys))])),
        }
    }
    params
}

/// Paths with whether they are cached and whether they persist, sorted by path.
fn outputs(kinds: &[(&Vec<String>, bool, bool)]) -> Vec<Value> {
    let of_kind = |(paths, cache, persist): &(&Vec<String>, bool, bool)| {
        paths.iter().map(|path| (path.clone(), *cache, *persist)).collect::<Vec<_>>()
    };
    let mut all: Vec<(String, bool, bool)> = kinds.iter().flat_map(of_kind).collect();
    all.sort();
    let value = |(path, cache, persist): (String, bool, bool)| {
        let mut flags = Vec::new();
        if !cache {
            flags.push(("cache".to_owned(), Value::Bool(false)));
        }
        if persist {
            flags.push(("persist".to_owned(), Value::Bool(true)));
        }
        if flags.is_empty() { Value::String(path) } else { Value::Map(vec![(path, Value::Map(flags))]) }
    };
    all.into_iter().map(value).collect()
}
