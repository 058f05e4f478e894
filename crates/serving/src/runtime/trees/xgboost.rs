//! XGBoost's models (`doc/model.schema` and `src/tree/tree_model.cc` of XGBoost): boosters `gbtree` and
//! `dart`. A row goes left when its value is below the threshold, in 32 bits; a missing value goes the way
//! that training found better.

use std::time::Instant;

use serde_json::Value;

use super::shap::{self, Step};
use super::{MAX_WIDTH, contributions, softmax};
use crate::runtime::{ExplainError, RunError, Runtime, Signature};
use crate::tensor::{Data, ElementType, Tensor, TensorSpec};

const LEAF: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Node {
    /// [`LEAF`], or the number of the column.
    feature: u32,
    /// The threshold, or the value of a leaf; of a categorical node unused.
    value: f32,
    left: u32,
    right: u32,
    missing_goes_left: bool,
    /// Index of the set of categories that go right.
    categories: Option<u32>,
}

/// What is made of a row's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Identity,
    Logistic,
    Exp,
    Softmax,
    /// The class with the largest sum.
    Argmax,
    /// 1 above zero.
    Hinge,
}

pub(super) struct Model {
    nodes: Vec<Node>,
    /// How much of the training data passed each node; empty when a tree does not say.
    covers: Vec<f32>,
    /// The root of each tree, and which output it adds to.
    trees: Vec<(u32, usize)>,
    categories: Vec<Vec<u32>>,
    /// Of each output, on the scale of the sums.
    base: Vec<f32>,
    link: Link,
    signature: Signature,
    columns: usize,
}

impl Model {
    pub(super) fn read(document: &Value) -> Result<Self, String> {
        let learner = at(document, "learner")?;
        let parameters = at(learner, "learner_model_param")?;
        let count = |name: &str| {
            let count = number(parameters, name)? as usize;
            if count > MAX_WIDTH { Err(format!("'{name}' is {count}, at most {MAX_WIDTH} are run")) } else { Ok(count) }
        };
        let columns = count("num_feature")?;
        let width = count("num_class")?.max(count("num_target").unwrap_or(1)).max(1);
        let objective = text(at(learner, "objective")?, "name")?;
        let link = link(objective)?;
        let booster = at(learner, "gradient_booster")?;
        let (trees, drop) = match text(booster, "name")? {
            "gbtree" => (booster, None),
            "dart" => (at(booster, "gbtree")?, Some(floats(booster, "weight_drop")?)),
            other => return Err(format!("booster '{other}' is not supported: gbtree and dart are")),
        };
        let trees = at(trees, "model")?;
        let mut model = Self {
            nodes: Vec::new(),
            covers: Vec::new(),
            trees: Vec::new(),
            categories: Vec::new(),
            base: base_scores(text(parameters, "base_score")?, objective, width)?,
            link,
            signature: Signature {
                inputs: vec![spec("X", vec![None, Some(columns)])],
                outputs: vec![spec(
                    "predictions",
                    if width == 1 || link == Link::Argmax { vec![None] } else { vec![None, Some(width)] },
                )],
                column_names: names(learner, columns),
                class_labels: None,
            },
            columns,
        };
        let outputs = integers(trees, "tree_info")?;
        let list = at(trees, "trees")?.as_array().ok_or("learner.gradient_booster.model.trees is no list")?;
        if outputs.len() != list.len() || drop.as_ref().is_some_and(|drop| drop.len() != list.len()) {
            return Err(format!("{} trees, but tree_info or weight_drop is of another length", list.len()));
        }
        for (index, tree) in list.iter().enumerate() {
            let output = usize::try_from(outputs[index]).ok().filter(|output| *output < width);
            let output = output.ok_or_else(|| format!("tree {index} adds to output {} of {width}", outputs[index]))?;
            let weight = drop.as_ref().map_or(1.0, |drop| drop[index]);
            model.add(tree, output, weight).map_err(|error| format!("tree {index}: {error}"))?;
        }
        if model.covers.len() != model.nodes.len() {
            model.covers = Vec::new();
        }
        Ok(model)
    }

    fn add(&mut self, tree: &Value, output: usize, weight: f32) -> Result<(), String> {
        let (left, right) = (integers(tree, "left_children")?, integers(tree, "right_children")?);
        let features = integers(tree, "split_indices")?;
        let values = floats(tree, "split_conditions")?;
        let defaults = integers(tree, "default_left")?;
        let kinds = integers(tree, "split_type").unwrap_or_default();
        let count = left.len();
        if count == 0 || [right.len(), features.len(), values.len(), defaults.len()].iter().any(|len| *len != count) {
            return Err("its arrays are of different lengths".to_owned());
        }
        self.covers.extend(floats(tree, "sum_hessian").unwrap_or_default().iter().take(count));
        let sets = self.category_sets(tree, count)?;
        let first = u32::try_from(self.nodes.len()).map_err(|_| "there are too many nodes")?;
        for node in 0..count {
            if left[node] < 0 {
                let value = values[node] * weight;
                self.nodes.push(Node {
                    feature: LEAF,
                    value,
                    left: 0,
                    right: 0,
                    missing_goes_left: false,
                    categories: None,
                });
                continue;
            }
            // Children stand behind their parents, so no row goes round in circles.
            let child = |to: i64| {
                let inside = usize::try_from(to).ok().filter(|to| *to < count && *to > node);
                inside.map(|to| first + to as u32).ok_or_else(|| format!("node {node} leads to {to}"))
            };
            let feature = usize::try_from(features[node]).ok().filter(|feature| *feature < self.columns);
            let feature = feature.ok_or_else(|| format!("node {node} asks for column {}", features[node]))?;
            let is_categorical = kinds.get(node) == Some(&1);
            let categories = if is_categorical {
                Some(sets[node].ok_or_else(|| format!("node {node} has no categories"))?)
            } else {
                None
            };
            self.nodes.push(Node {
                feature: feature as u32,
                value: values[node],
                left: child(left[node])?,
                right: child(right[node])?,
                missing_goes_left: defaults[node] != 0,
                categories,
            });
        }
        self.trees.push((first, output));
        Ok(())
    }

    /// The set of each node that has one.
    fn category_sets(&mut self, tree: &Value, count: usize) -> Result<Vec<Option<u32>>, String> {
        let mut sets = vec![None; count];
        let nodes = integers(tree, "categories_nodes").unwrap_or_default();
        if nodes.is_empty() {
            return Ok(sets);
        }
        let (starts, sizes) = (integers(tree, "categories_segments")?, integers(tree, "categories_sizes")?);
        let all = integers(tree, "categories")?;
        for (index, node) in nodes.iter().enumerate() {
            let part = || {
                let start = usize::try_from(*starts.get(index)?).ok()?;
                let size = usize::try_from(*sizes.get(index)?).ok()?;
                all.get(start..start.checked_add(size)?)
            };
            let part = part().ok_or_else(|| format!("the categories of node {node} are not there"))?;
            let set = part.iter().map(|category| u32::try_from(*category)).collect::<Result<Vec<_>, _>>();
            let mut set = set.map_err(|_| format!("a category of node {node} is below 0"))?;
            set.sort_unstable();
            let place = usize::try_from(*node).ok().and_then(|node| sets.get_mut(node));
            let place = place.ok_or_else(|| format!("there is no node {node}"))?;
            *place = Some(self.categories.len() as u32);
            self.categories.push(set);
        }
        Ok(sets)
    }

    /// The leaf that a row falls into.
    fn leaf(&self, root: u32, row: &[f32]) -> f32 {
        let mut node = &self.nodes[root as usize];
        while node.feature != LEAF {
            node = &self.nodes[(if self.goes_left(node, row) { node.left } else { node.right }) as usize];
        }
        node.value
    }

    fn goes_left(&self, node: &Node, row: &[f32]) -> bool {
        let value = row[node.feature as usize];
        if value.is_nan() {
            return node.missing_goes_left;
        }
        match node.categories {
            None => value < node.value,
            Some(set) => !self.holds(set, value),
        }
    }

    /// What is no category (below zero, or beyond 2^24) is in no set.
    fn holds(&self, set: u32, value: f32) -> bool {
        (0.0..16_777_216.0).contains(&value) && self.categories[set as usize].binary_search(&(value as u32)).is_ok()
    }
}

impl shap::Tree<[f32]> for Model {
    fn step(&self, node: u32, row: &[f32]) -> Step {
        let node = &self.nodes[node as usize];
        if node.feature == LEAF {
            return Step::Leaf(f64::from(node.value));
        }
        let ways = (node.left, node.right);
        let (taken, other) = if self.goes_left(node, row) { ways } else { (ways.1, ways.0) };
        Step::Split { column: node.feature, taken, other }
    }

    fn cover(&self, node: u32) -> f64 {
        f64::from(self.covers[node as usize])
    }
}

impl Runtime for Model {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        let Some(Data::F32(values)) = inputs.first().map(|input| &input.data) else {
            return Err(RunError::Node { node: "X".to_owned(), detail: "is not FP32".to_owned() });
        };
        let rows = inputs[0].shape[0];
        let width = self.base.len();
        let mut sums: Vec<f32> = self.base.iter().copied().cycle().take(rows * width).collect();
        // A tree at a time, so that its nodes stay in the cache while the rows go by.
        for (root, output) in &self.trees {
            for row in 0..rows {
                let columns = &values[row * self.columns..(row + 1) * self.columns];
                sums[row * width + output] += self.leaf(*root, columns);
            }
        }
        match self.link {
            Link::Identity => {}
            Link::Logistic => sums.iter_mut().for_each(|sum| *sum = 1.0 / (1.0 + (-*sum).exp())),
            Link::Exp => sums.iter_mut().for_each(|sum| *sum = sum.exp()),
            Link::Hinge => sums.iter_mut().for_each(|sum| *sum = f32::from(u8::from(*sum > 0.0))),
            Link::Softmax => softmax(&mut sums, width, f32::exp),
            Link::Argmax => sums = sums.chunks(width).map(largest).collect(),
        }
        let shape = if self.signature.outputs[0].shape.len() == 1 { vec![rows] } else { vec![rows, width] };
        Ok(vec![Tensor { shape, data: Data::F32(sums) }])
    }

    fn explain(&self, inputs: &[Tensor], until: Instant) -> Result<Tensor, ExplainError> {
        let Some(Data::F32(values)) = inputs.first().map(|input| &input.data) else {
            return Err(ExplainError::Unsupported("X is not FP32".to_owned()));
        };
        if self.covers.len() != self.nodes.len() {
            let detail = "the trees do not say how much of the training data passed their nodes (sum_hessian)";
            return Err(ExplainError::Unsupported(detail.to_owned()));
        }
        contributions(values, self.columns, self.base.len(), until, |row, own| {
            let width = self.columns + 1;
            for (root, output) in &self.trees {
                shap::explain(self, *root, row, &mut own[output * width..(output + 1) * width])?;
            }
            for (own, base) in own.chunks_mut(width).zip(&self.base) {
                own[self.columns] += f64::from(*base);
            }
            Ok(())
        })
    }

    fn engine(&self) -> &'static str {
        "xgboost"
    }
}

/// The first of the largest.
fn largest(sums: &[f32]) -> f32 {
    let first = |best: usize, next: usize| if sums[next] > sums[best] { next } else { best };
    (1..sums.len()).fold(0, first) as f32
}

fn spec(name: &str, shape: Vec<Option<usize>>) -> TensorSpec {
    TensorSpec { name: name.to_owned(), element_type: ElementType::F32, shape }
}

fn link(objective: &str) -> Result<Link, String> {
    Ok(match objective {
        "reg:logistic" | "binary:logistic" => Link::Logistic,
        "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => Link::Exp,
        "multi:softprob" => Link::Softmax,
        "multi:softmax" => Link::Argmax,
        "binary:hinge" => Link::Hinge,
        "binary:logitraw" => Link::Identity,
        other if other.starts_with("reg:") || other.starts_with("rank:") => Link::Identity,
        other => return Err(format!("objective '{other}' is not supported")),
    })
}

/// `5E-1`, or of newer versions `[5E-1]` or one for each output; given on the scale of the answers.
fn base_scores(text: &str, objective: &str, width: usize) -> Result<Vec<f32>, String> {
    let wrong = || format!("base_score is '{text}', not a number or a list of {width}");
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    let scores = inner.split(',').map(|score| score.trim().parse::<f32>()).collect::<Result<Vec<_>, _>>();
    let scores = scores.map_err(|_| wrong())?;
    let scores = match scores.len() {
        1 => vec![scores[0]; width],
        len if len == width => scores,
        _ => return Err(wrong()),
    };
    let margin = |score: f32| match link(objective) {
        Ok(Link::Logistic) => -(1.0 / score - 1.0).ln(),
        Ok(Link::Exp) => score.ln(),
        _ => score,
    };
    Ok(scores.into_iter().map(margin).collect())
}

/// Those that training was given, when there is one for each column.
fn names(learner: &Value, columns: usize) -> Vec<String> {
    let names = learner.get("feature_names").and_then(Value::as_array);
    let names: Vec<String> = names.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    if names.len() == columns { names } else { Vec::new() }
}

fn at<'v>(value: &'v Value, key: &str) -> Result<&'v Value, String> {
    value.get(key).ok_or_else(|| format!("'{key}' is missing"))
}

fn text<'v>(value: &'v Value, key: &str) -> Result<&'v str, String> {
    at(value, key)?.as_str().ok_or_else(|| format!("'{key}' is no text"))
}

/// XGBoost writes the numbers of its parameters as texts.
fn number(value: &Value, key: &str) -> Result<f64, String> {
    let found = at(value, key)?;
    found
        .as_f64()
        .or_else(|| found.as_str()?.parse().ok())
        .filter(|number| (0.0..1e9).contains(number))
        .ok_or_else(|| format!("'{key}' is {found}, not a number"))
}

fn list<T>(value: &Value, key: &str, item: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, String> {
    let items = at(value, key)?.as_array().ok_or_else(|| format!("'{key}' is no list"))?;
    items.iter().map(item).collect::<Option<_>>().ok_or_else(|| format!("'{key}' does not hold numbers only"))
}

fn floats(value: &Value, key: &str) -> Result<Vec<f32>, String> {
    list(value, key, |item| item.as_f64().map(|number| number as f32))
}

/// Also of flags, which are 0 and 1 or words.
fn integers(value: &Value, key: &str) -> Result<Vec<i64>, String> {
    list(value, key, |item| item.as_i64().or_else(|| item.as_bool().map(i64::from)))
}
