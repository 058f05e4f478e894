//! The order of stages: a stage comes after those whose outputs it reads.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::error::Error;
use crate::paths;
use crate::pipeline::Pipeline;

/// Which stage needs which. Stages are numbered as in the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    names: Vec<String>,
    /// Of each name.
    places: HashMap<String, usize>,
    needs: Vec<Vec<usize>>,
    order: Vec<usize>,
}

impl Graph {
    /// An edge goes to every stage with an output that is, holds or lies below a dependency (or a
    /// parameter file) of the stage.
    ///
    /// # Errors
    /// Two outputs overlap, or stages depend on each other in a circle.
    pub fn of(pipeline: &Pipeline) -> Result<Self, Error> {
        let makers = Makers::of(pipeline)?;
        let stages = &pipeline.stages;
        let mut needs = Vec::with_capacity(stages.len());
        for stage in stages {
            let mut of_stage: Vec<usize> = Vec::new();
            let files = stage.deps.iter().chain(stage.params.iter().map(|p| &p.file));
            for dep in files {
                let mut makers: Vec<usize> = makers.overlapping(&dep.path).map(|(_, at)| at).collect();
                makers.sort_unstable();
                for at in makers {
                    if !of_stage.contains(&at) {
                        of_stage.push(at);
                    }
                }
            }
            needs.push(of_stage);
        }
        let names: Vec<String> = stages.iter().map(|s| s.name.clone()).collect();
        let places = names.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect();
        let order = post_order(&names, &needs)?;
        Ok(Self { names, places, needs, order })
    }

    /// Without what frozen stages need: their commands do not run, so nothing is brought up to date
    /// for them.
    pub fn active(&self, pipeline: &Pipeline) -> Self {
        let mut active = self.clone();
        for (needs, stage) in active.needs.iter_mut().zip(&pipeline.stages) {
            if stage.frozen {
                needs.clear();
            }
        }
        // Fewer edges close no circle.
        active.order = post_order(&active.names, &active.needs).unwrap_or_else(|_| self.order.clone());
        active
    }

    /// Every stage that is joined to one of `names` by what stages need, whichever way: their whole
    /// pipelines, in order.
    pub fn connected(&self, names: &[&str]) -> Vec<&str> {
        let mut wanted = vec![false; self.names.len()];
        let mut open: Vec<usize> = names.iter().filter_map(|name| self.places.get(*name)).copied().collect();
        let mut neighbours = self.needs.clone();
        for (at, needs) in self.needs.iter().enumerate() {
            for &need in needs {
                neighbours[need].push(at);
            }
        }
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut wanted[at], true) {
                open.extend(&neighbours[at]);
            }
        }
        self.in_order(&wanted)
    }

    /// All stages, each after those it needs, in the order of `dvc repro`.
    pub fn order(&self) -> Vec<&str> {
        self.order.iter().map(|&at| self.names[at].as_str()).collect()
    }

    /// The stages `name` reads outputs of.
    pub fn needs(&self, name: &str) -> Vec<&str> {
        let at = self.places.get(name);
        at.map(|&at| self.needs[at].iter().map(|&n| self.names[n].as_str()).collect()).unwrap_or_default()
    }

    /// `targets` and everything they need, in order; all stages when there are no targets. A target
    /// may be the name of a group, which stands for all stages that `foreach` or `matrix` made of it.
    ///
    /// # Errors
    /// A target is not a stage.
    pub fn order_for(&self, targets: &[&str]) -> Result<Vec<&str>, Error> {
        if targets.is_empty() {
            return Ok(self.order());
        }
        let mut wanted = vec![false; self.names.len()];
        let mut open = self.all_named(targets)?;
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut wanted[at], true) {
                open.extend(&self.needs[at]);
            }
        }
        Ok(self.in_order(&wanted))
    }

    /// `targets` and nothing else, in the order they are named.
    ///
    /// # Errors
    /// As [`order_for`](Self::order_for).
    pub fn only(&self, targets: &[&str]) -> Result<Vec<&str>, Error> {
        let mut seen = vec![false; self.names.len()];
        let named = self.all_named(targets)?.into_iter().filter(|&at| !std::mem::replace(&mut seen[at], true));
        Ok(named.map(|at| self.names[at].as_str()).collect())
    }

    /// `targets` and everything that needs them, directly or not, in order.
    ///
    /// # Errors
    /// As [`order_for`](Self::order_for).
    pub fn downstream_of(&self, targets: &[&str]) -> Result<Vec<&str>, Error> {
        let mut reached = vec![false; self.names.len()];
        for at in self.all_named(targets)? {
            reached[at] = true;
        }
        for &at in &self.order {
            reached[at] |= self.needs[at].iter().any(|&need| reached[need]);
        }
        Ok(self.in_order(&reached))
    }

    fn in_order(&self, wanted: &[bool]) -> Vec<&str> {
        self.order.iter().filter(|&&at| wanted[at]).map(|&at| self.names[at].as_str()).collect()
    }

    fn all_named(&self, targets: &[&str]) -> Result<Vec<usize>, Error> {
        let mut all = Vec::new();
        for target in targets {
            let found = self.named(target);
            if found.is_empty() {
                return Err(Error::NoStage { name: (*target).to_owned(), known: self.names.clone() });
            }
            all.extend(found);
        }
        Ok(all)
    }

    fn named(&self, target: &str) -> Vec<usize> {
        if let Some(&at) = self.places.get(target) {
            return vec![at];
        }
        let of_group = |name: &String| name.strip_prefix(target).is_some_and(|rest| rest.starts_with('@'));
        self.names.iter().enumerate().filter(|(_, name)| of_group(name)).map(|(at, _)| at).collect()
    }

    /// The stages that need `name`, directly or not, in order.
    pub fn downstream(&self, name: &str) -> Vec<&str> {
        let reached = self.downstream_of(&[name]).unwrap_or_default();
        reached.into_iter().filter(|reached| *reached != name).collect()
    }
}

/// Which stage makes a path, found without a look at every output.
#[derive(Default)]
struct Makers<'p> {
    by_path: BTreeMap<&'p str, usize>,
}

impl<'p> Makers<'p> {
    /// # Errors
    /// Two outputs overlap.
    fn of(pipeline: &'p Pipeline) -> Result<Self, Error> {
        let mut makers = Self::default();
        for (at, stage) in pipeline.stages.iter().enumerate() {
            for out in &stage.outs {
                if let Some((other_path, other)) = makers.overlapping(&out.at.path).next() {
                    return Err(Error::OverlappingOutputs {
                        path: out.at.path.clone(),
                        stage: stage.name.clone(),
                        other_path: other_path.to_owned(),
                        other: pipeline.stages[other].name.clone(),
                    });
                }
                makers.by_path.insert(&out.at.path, at);
            }
        }
        Ok(makers)
    }

    /// Outputs that are `path`, hold it or lie below it.
    fn overlapping<'s>(&'s self, path: &'s str) -> impl Iterator<Item = (&'p str, usize)> + 's {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let around = ends.filter_map(|end| self.by_path.get_key_value::<str>(&path[..end]));
        // `/` and what comes after it sort behind the path itself, not always directly.
        let from = (Bound::Excluded(path), Bound::Unbounded);
        let below = self.by_path.range::<str, _>(from);
        let below =
            below.take_while(move |(out, _)| out.starts_with(path)).filter(move |(out, _)| paths::is_within(out, path));
        around.chain(below).map(|(out, at)| (*out, *at))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Depth first in the order of the file; an edge back to an open stage closes a circle.
fn post_order(names: &[String], needs: &[Vec<usize>]) -> Result<Vec<usize>, Error> {
    let mut marks = vec![Mark::New; names.len()];
    let mut order = Vec::with_capacity(names.len());
    for root in 0..names.len() {
        // (stage, how many of its needs were visited); a stack of our own: chains may be long.
        let mut stack = Vec::new();
        if marks[root] == Mark::New {
            marks[root] = Mark::Open;
            stack.push((root, 0));
        }
        while let Some((at, visited)) = stack.last_mut() {
            let at = *at;
            let Some(&next) = needs[at].get(*visited) else {
                marks[at] = Mark::Done;
                order.push(at);
                stack.pop();
                continue;
            };
            *visited += 1;
            match marks[next] {
                Mark::Done => {}
                Mark::New => {
                    marks[next] = Mark::Open;
                    stack.push((next, 0));
                }
                Mark::Open => {
                    let circle = stack.iter().map(|(s, _)| *s).skip_while(|s| *s != next).chain([next]);
                    return Err(Error::Cycle(circle.map(|s| names[s].clone()).collect()));
                }
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::dvc_yaml;

    fn graph(stages: &[(&str, &[&str], &[&str])]) -> Result<Graph, Error> {
        let stage = |(name, deps, outs): &(&str, &[&str], &[&str])| {
            let (deps, outs) = (deps.join(", "), outs.join(", "));
            format!("  {name}:\n    cmd: x\n    deps: [{deps}]\n    outs: [{outs}]\n")
        };
        let text = format!("stages:\n{}", stages.iter().map(stage).collect::<Vec<_>>().concat());
        Graph::of(&dvc_yaml::read("dvc.yaml", &text, &dvc_yaml::Sources::none()).unwrap())
    }

    #[test]
    fn a_stage_comes_after_those_whose_outputs_it_reads() {
        let graph = graph(&[
            ("evaluate", &["model", "data/clean/test.csv"], &["metrics.json"]),
            ("train", &["data/clean"], &["model"]),
            ("prepare", &["data/raw"], &["data/clean"]),
        ])
        .unwrap();
        assert_eq!(graph.order(), ["prepare", "train", "evaluate"]);
        assert_eq!(graph.needs("evaluate"), ["train", "prepare"]);
        assert_eq!(graph.order_for(&["train"]).unwrap(), ["prepare", "train"]);
        assert_eq!(graph.downstream("prepare"), ["train", "evaluate"]);
    }

    #[test]
    fn whole_pipelines_are_found_from_any_of_their_stages_and_frozen_stages_need_nothing() {
        let text = "stages:\n  a: {cmd: x, outs: [a]}\n  b: {cmd: x, deps: [a], outs: [b], frozen: true}\n  c: {cmd: x, deps: [b]}\n  d: {cmd: x, outs: [d]}\n";
        let pipeline = dvc_yaml::read("dvc.yaml", text, &dvc_yaml::Sources::none()).unwrap();
        let graph = Graph::of(&pipeline).unwrap();
        assert_eq!(graph.connected(&["b"]), ["a", "b", "c"]);
        assert_eq!(graph.active(&pipeline).order_for(&["c"]).unwrap(), ["b", "c"]);
    }

    #[test]
    fn stages_of_several_files_are_one_graph() {
        let read = |file: &str, text: &str| dvc_yaml::read(file, text, &dvc_yaml::Sources::none()).unwrap();
        let pipelines = [
            read("dvc.yaml", "stages: {report: {cmd: x, deps: [train/model]}}"),
            read("train/dvc.yaml", "stages: {fit: {cmd: x, outs: [model]}}"),
        ];
        let joined = Pipeline::joined("dvc.yaml", pipelines);
        assert_eq!(Graph::of(&joined).unwrap().order(), ["train/dvc.yaml:fit", "report"]);
        let fit = joined.stage("train/dvc.yaml:fit").unwrap();
        assert_eq!((fit.entry.as_str(), fit.lock_file().as_str()), ("fit", "train/dvc.lock"));
    }

    #[test]
    fn a_circle_is_named_in_full() {
        let error =
            graph(&[("a", &["c.txt"], &["a.txt"]), ("b", &["a.txt"], &["b.txt"]), ("c", &["b.txt"], &["c.txt"])])
                .unwrap_err();
        assert_eq!(error.to_string(), "the stages depend on each other in a circle: a -> c -> b -> a");
        let error = graph(&[("a", &["out"], &["out/x"])]).unwrap_err();
        assert_eq!(error.to_string(), "the stages depend on each other in a circle: a -> a");
    }

    #[test]
    fn overlapping_outputs_are_refused() {
        let error = graph(&[("a", &[], &["data"]), ("b", &[], &["data/x"])]).unwrap_err();
        assert_eq!(error.to_string(), "output 'data/x' of stage 'b' and output 'data' of stage 'a' overlap");
    }

    #[test]
    fn an_unknown_target_is_named() {
        let graph = graph(&[("a", &[], &["x"])]).unwrap();
        assert_eq!(graph.order_for(&["b"]).unwrap_err().to_string(), "there is no stage 'b'");
    }

    #[test]
    fn a_group_stands_for_all_of_its_stages() {
        let text = "stages:\n  a: {foreach: [x, y], do: {cmd: x}}\n  ab: {cmd: x}\n";
        let pipeline = dvc_yaml::read("dvc.yaml", text, &dvc_yaml::Sources::none()).unwrap();
        let graph = Graph::of(&pipeline).unwrap();
        assert_eq!(graph.order_for(&["a"]).unwrap(), ["a@x", "a@y"]);
        assert_eq!(graph.order_for(&["a@y"]).unwrap(), ["a@y"]);
    }

    #[test]
    fn outputs_around_and_below_a_dependency_are_found_among_neighbours() {
        let graph = graph(&[
            ("p", &[], &["d-e", "d.x", "d/e/f", "d0"]),
            ("around", &["d/e/f/g"], &[]),
            ("below", &["d"], &[]),
            ("beside", &["d/e/g", "d-"], &[]),
        ])
        .unwrap();
        assert_eq!((graph.needs("around"), graph.needs("below")), (vec!["p"], vec!["p"]));
        assert!(graph.needs("beside").is_empty());
    }

    #[test]
    fn a_plan_of_five_thousand_stages_is_ordered_without_comparing_all_with_all() {
        let stage = |at: usize| format!("  s{at}: {{cmd: x, deps: [d/{at}], outs: [d/{}]}}\n", at + 1);
        let text = format!("stages:\n{}", (0..5000).map(stage).collect::<String>());
        let pipeline = dvc_yaml::read("dvc.yaml", &text, &dvc_yaml::Sources::none()).unwrap();
        let started = std::time::Instant::now();
        let graph = Graph::of(&pipeline).unwrap();
        assert_eq!((graph.order().first(), graph.order().last()), (Some(&"s0"), Some(&"s4999")));
        assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
    }
}
