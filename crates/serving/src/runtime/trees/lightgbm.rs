//! LightGBM's text models, versions 3 and 4 (`src/io/tree.cpp` and `src/boosting/gbdt_model_text.cpp` of
//! LightGBM). A row goes left when its value is at most the threshold, in 64 bits.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Instant;

use super::shap::{self, Step};
use super::{MAX_WIDTH, contributions, softmax};
use crate::runtime::{ExplainError, RunError, Runtime, Signature};
use crate::tensor::{Data, ElementType, Tensor, TensorSpec};

/// What LightGBM takes for zero: its constant is one of 32 bits.
const ZERO: f64 = 1e-35_f32 as f64;

#[derive(Clone, Copy)]
struct Node {
    feature: u32,
    threshold: f64,
    /// Below zero: the leaf `!child`.
    left: i32,
    right: i32,
    test: Test,
}

#[derive(Clone, Copy)]
enum Test {
    /// `value <= threshold`
    Number { missing: Missing, missing_goes_left: bool },
    /// Where the set of categories that go left begins and ends among the words.
    Category { from: u32, to: u32 },
}

#[derive(Clone, Copy)]
enum Missing {
    /// A missing value is zero.
    Nothing,
    /// Zero is missing as well.
    Zero,
    Nan,
}

struct Tree {
    nodes: Vec<Node>,
    leaves: Vec<f64>,
    /// Sets of categories, as bits.
    words: Vec<u32>,
    /// How many rows of the training data passed each node and then each leaf; empty when the file does not say.
    covers: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    Identity,
    Sigmoid(f64),
    Softmax,
    Exp,
    /// The sign stays, the size is squared.
    SignedSquare,
    /// `ln(1 + exp(x))`
    Softplus,
}

pub(super) struct Model {
    trees: Vec<Tree>,
    link: Link,
    /// Outputs of a row: tree `i` adds to output `i` modulo this.
    width: usize,
    /// What sums are divided by: a random forest averages.
    divisor: f64,
    columns: usize,
    signature: Signature,
}

impl Model {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut sections = text.split("\nTree=");
        let head = sections.next().map(fields).unwrap_or_default();
        let last = number::<usize>(&head, "max_feature_idx")?;
        if last >= MAX_WIDTH {
            return Err(format!("'max_feature_idx' is {last}, at most {MAX_WIDTH} columns are taken"));
        }
        let columns = last + 1;
        let width = number::<usize>(&head, "num_tree_per_iteration")?.max(1);
        let mut trees = Vec::new();
        for (index, section) in sections.enumerate() {
            let section = section.split("\nend of trees").next().unwrap_or(section);
            let tree = Tree::read(&fields(section), columns);
            trees.push(tree.map_err(|error| format!("tree {index}: {error}"))?);
        }
        if trees.is_empty() || !text.contains("\nend of trees") {
            return Err("the file ends before its trees do".to_owned());
        }
        if trees.len() % width != 0 {
            return Err(format!("{} trees do not divide into {width} for each round", trees.len()));
        }
        let averages = text.lines().take_while(|line| !line.starts_with("Tree=")).any(|line| line == "average_output");
        let divisor = if averages { (trees.len() / width) as f64 } else { 1.0 };
        let shape = if width == 1 { vec![None] } else { vec![None, Some(width)] };
        let spec = |name: &str, shape| TensorSpec { name: name.to_owned(), element_type: ElementType::F64, shape };
        let names = head.get("feature_names").copied().unwrap_or_default();
        let names: Vec<String> = names.split_ascii_whitespace().map(str::to_owned).collect();
        Ok(Self {
            trees,
            link: link(head.get("objective").copied().unwrap_or_default())?,
            width,
            divisor,
            columns,
            signature: Signature {
                inputs: vec![spec("X", vec![None, Some(columns)])],
                outputs: vec![spec("predictions", shape)],
                column_names: if names.len() == columns { names } else { Vec::new() },
                class_labels: None,
            },
        })
    }
}

/// `key=value` lines.
fn fields(section: &str) -> HashMap<&str, &str> {
    section.lines().filter_map(|line| line.split_once('=')).collect()
}

fn number<T: FromStr>(fields: &HashMap<&str, &str>, key: &str) -> Result<T, String> {
    let text = fields.get(key).ok_or_else(|| format!("'{key}' is missing"))?;
    text.trim().parse().map_err(|_| format!("'{key}' is '{text}', not a number"))
}

/// The numbers of a line; a missing line has none.
fn numbers<T: FromStr>(fields: &HashMap<&str, &str>, key: &str) -> Result<Vec<T>, String> {
    let text = fields.get(key).copied().unwrap_or_default();
    text.split_ascii_whitespace()
        .map(|word| word.parse().map_err(|_| format!("'{key}' holds '{word}', which is not a number")))
        .collect()
}

impl Tree {
    fn read(fields: &HashMap<&str, &str>, columns: usize) -> Result<Self, String> {
        if fields.get("is_linear").is_some_and(|linear| linear.trim() == "1") {
            return Err("its leaves are linear models, which are not supported".to_owned());
        }
        let leaves: Vec<f64> = numbers(fields, "leaf_value")?;
        let count = number::<usize>(fields, "num_leaves")?.saturating_sub(1);
        let (features, thresholds) = (numbers::<u32>(fields, "split_feature")?, numbers::<f64>(fields, "threshold")?);
        let kinds = numbers::<u8>(fields, "decision_type")?;
        let (left, right) = (numbers::<i32>(fields, "left_child")?, numbers::<i32>(fields, "right_child")?);
        let boundaries = numbers::<u32>(fields, "cat_boundaries")?;
        let words = numbers::<u32>(fields, "cat_threshold")?;
        let lengths = [features.len(), thresholds.len(), kinds.len(), left.len(), right.len()];
        if leaves.len() != count + 1 || lengths.iter().any(|length| *length != count) {
            return Err("its lists are of different lengths".to_owned());
        }
        let mut nodes = Vec::with_capacity(count);
        for at in 0..count {
            // Children stand behind their parents, so no row goes round in circles.
            for child in [left[at], right[at]] {
                let fits = if child < 0 {
                    (!child as usize) < leaves.len()
                } else {
                    (at + 1..count).contains(&(child as usize))
                };
                if !fits {
                    return Err(format!("node {at} leads to {child}"));
                }
            }
            if features[at] as usize >= columns {
                return Err(format!("node {at} asks for column {}", features[at]));
            }
            let kind = kinds[at];
            let test = if kind & 1 == 1 {
                let set = thresholds[at] as usize;
                let bounds = boundaries.get(set).zip(boundaries.get(set + 1));
                let (from, to) = bounds.ok_or_else(|| format!("node {at} has no categories"))?;
                if from > to || *to as usize > words.len() {
                    return Err(format!("the categories of node {at} are not there"));
                }
                Test::Category { from: *from, to: *to }
            } else {
                let missing = match (kind >> 2) & 3 {
                    0 => Missing::Nothing,
                    1 => Missing::Zero,
                    _ => Missing::Nan,
                };
                Test::Number { missing, missing_goes_left: kind & 2 == 2 }
            };
            nodes.push(Node {
                feature: features[at],
                threshold: thresholds[at],
                left: left[at],
                right: right[at],
                test,
            });
        }
        let mut covers: Vec<f64> = numbers(fields, "internal_count").unwrap_or_default();
        covers.extend(numbers::<f64>(fields, "leaf_count").unwrap_or_default());
        if covers.len() != nodes.len() + leaves.len() {
            covers = Vec::new();
        }
        Ok(Self { nodes, leaves, words, covers })
    }

    fn leaf(&self, row: &[f64]) -> f64 {
        if self.nodes.is_empty() {
            return self.leaves[0];
        }
        let mut at = 0;
        loop {
            let node = &self.nodes[at as usize];
            at = if self.goes_left(node, row) { node.left } else { node.right };
            if at < 0 {
                return self.leaves[!at as usize];
            }
        }
    }

    fn goes_left(&self, node: &Node, row: &[f64]) -> bool {
        let value = row[node.feature as usize];
        let value = if value.abs() <= ZERO { 0.0 } else { value };
        match node.test {
            Test::Number { missing: Missing::Nan, missing_goes_left } if value.is_nan() => missing_goes_left,
            Test::Number { missing: Missing::Zero, missing_goes_left } if value.is_nan() || value == 0.0 => {
                missing_goes_left
            }
            Test::Number { .. } => (if value.is_nan() { 0.0 } else { value }) <= node.threshold,
            Test::Category { from, to } => {
                let words = &self.words[from as usize..to as usize];
                let bit = value as i64;
                let known = !value.is_nan() && value >= 0.0 && ((bit / 32) as usize) < words.len();
                known && (words[(bit / 32) as usize] >> (bit % 32)) & 1 == 1
            }
        }
    }
}

impl Tree {
    /// Nodes and leaves in one row of numbers.
    fn numbered(&self, child: i32) -> u32 {
        if child < 0 { self.nodes.len() as u32 + !child as u32 } else { child as u32 }
    }
}

impl shap::Tree<[f64]> for Tree {
    fn step(&self, node: u32, row: &[f64]) -> Step {
        let Some(split) = self.nodes.get(node as usize) else {
            return Step::Leaf(self.leaves[node as usize - self.nodes.len()]);
        };
        let (left, right) = (self.numbered(split.left), self.numbered(split.right));
        let (taken, other) = if self.goes_left(split, row) { (left, right) } else { (right, left) };
        Step::Split { column: split.feature, taken, other }
    }

    fn cover(&self, node: u32) -> f64 {
        self.covers[node as usize]
    }
}

impl Runtime for Model {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        let Some(Data::F64(values)) = inputs.first().map(|input| &input.data) else {
            return Err(RunError::Node { node: "X".to_owned(), detail: "is not FP64".to_owned() });
        };
        let rows = inputs[0].shape[0];
        let mut sums = vec![0.0; rows * self.width];
        for (index, tree) in self.trees.iter().enumerate() {
            for row in 0..rows {
                let columns = &values[row * self.columns..(row + 1) * self.columns];
                sums[row * self.width + index % self.width] += tree.leaf(columns);
            }
        }
        if self.divisor > 1.0 {
            for sum in &mut sums {
                *sum /= self.divisor;
            }
        }
        match self.link {
            Link::Identity => {}
            Link::Sigmoid(slope) => sums.iter_mut().for_each(|sum| *sum = 1.0 / (1.0 + (-slope * *sum).exp())),
            Link::Exp => sums.iter_mut().for_each(|sum| *sum = sum.exp()),
            Link::SignedSquare => sums.iter_mut().for_each(|sum| *sum *= sum.abs()),
            Link::Softplus => sums.iter_mut().for_each(|sum| *sum = sum.exp().ln_1p()),
            Link::Softmax => softmax(&mut sums, self.width, f64::exp),
        }
        let shape = if self.width == 1 { vec![rows] } else { vec![rows, self.width] };
        Ok(vec![Tensor { shape, data: Data::F64(sums) }])
    }

    fn explain(&self, inputs: &[Tensor], until: Instant) -> Result<Tensor, ExplainError> {
        let Some(Data::F64(values)) = inputs.first().map(|input| &input.data) else {
            return Err(ExplainError::Unsupported("X is not FP64".to_owned()));
        };
        if self.trees.iter().any(|tree| !tree.nodes.is_empty() && tree.covers.is_empty()) {
            let detail = "the trees do not say how many rows passed their nodes (internal_count, leaf_count)";
            return Err(ExplainError::Unsupported(detail.to_owned()));
        }
        contributions(values, self.columns, self.width, until, |row, own| {
            let width = self.columns + 1;
            for (index, tree) in self.trees.iter().enumerate() {
                let output = index % self.width;
                shap::explain(tree, 0, row, &mut own[output * width..(output + 1) * width])?;
            }
            if self.divisor > 1.0 {
                for contribution in own {
                    *contribution /= self.divisor;
                }
            }
            Ok(())
        })
    }

    fn engine(&self) -> &'static str {
        "lightgbm"
    }
}

/// `binary sigmoid:1`, `multiclass num_class:10`, `regression sqrt`; nothing for an objective of one's own.
fn link(objective: &str) -> Result<Link, String> {
    let mut words = objective.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    let sigmoid = || {
        let slope = rest.iter().find_map(|word| word.strip_prefix("sigmoid:"));
        slope.map_or(Ok(1.0), |slope| slope.parse().map_err(|_| format!("objective '{objective}' is not understood")))
    };
    Ok(match name {
        "regression" if rest.contains(&"sqrt") => Link::SignedSquare,
        "" | "custom" | "none" | "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape"
        | "lambdarank" | "rank_xendcg" => Link::Identity,
        "binary" | "multiclassova" => Link::Sigmoid(sigmoid()?),
        "cross_entropy" => Link::Sigmoid(1.0),
        "cross_entropy_lambda" => Link::Softplus,
        "multiclass" => Link::Softmax,
        "poisson" | "gamma" | "tweedie" => Link::Exp,
        other => return Err(format!("objective '{other}' is not supported")),
    })
}
