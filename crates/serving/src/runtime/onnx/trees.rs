//! `TreeEnsembleClassifier`, `TreeEnsembleRegressor` and, since ai.onnx.ml opset 5, `TreeEnsemble`.
//!
//! Where the specification leaves two-class scores open, the rules are those of ONNX Runtime.

use std::collections::HashMap;

use super::elements::{as_f64, as_i64, count, rows_and_columns};
use super::execute::{Inputs, Operator, Produced};
use super::forest::{Described, Forest, Mode, Number};
use super::node::{Built, Checked, Node, ValueType};
use super::scores::{Labels, PostTransform, SecondClass};
use crate::tensor::{Data, ElementType, Tensor};

pub(super) const CLASSIFIER_ATTRIBUTES: &[&str] = &[
    "base_values",
    "base_values_as_tensor",
    "class_ids",
    "class_nodeids",
    "class_treeids",
    "class_weights",
    "class_weights_as_tensor",
    "classlabels_int64s",
    "classlabels_strings",
    "nodes_falsenodeids",
    "nodes_featureids",
    "nodes_hitrates",
    "nodes_hitrates_as_tensor",
    "nodes_missing_value_tracks_true",
    "nodes_modes",
    "nodes_nodeids",
    "nodes_treeids",
    "nodes_truenodeids",
    "nodes_values",
    "nodes_values_as_tensor",
    "post_transform",
];

pub(super) const REGRESSOR_ATTRIBUTES: &[&str] = &[
    "aggregate_function",
    "base_values",
    "base_values_as_tensor",
    "n_targets",
    "nodes_falsenodeids",
    "nodes_featureids",
    "nodes_hitrates",
    "nodes_hitrates_as_tensor",
    "nodes_missing_value_tracks_true",
    "nodes_modes",
    "nodes_nodeids",
    "nodes_treeids",
    "nodes_truenodeids",
    "nodes_values",
    "nodes_values_as_tensor",
    "post_transform",
    "target_ids",
    "target_nodeids",
    "target_treeids",
    "target_weights",
    "target_weights_as_tensor",
];

pub(super) const ENSEMBLE_ATTRIBUTES: &[&str] = &[
    "aggregate_function",
    "leaf_targetids",
    "leaf_weights",
    "membership_values",
    "n_targets",
    "nodes_falseleafs",
    "nodes_falsenodeids",
    "nodes_featureids",
    "nodes_hitrates",
    "nodes_missing_value_tracks_true",
    "nodes_modes",
    "nodes_splits",
    "nodes_trueleafs",
    "nodes_truenodeids",
    "post_transform",
    "tree_roots",
];

/// Rows that pass through one tree before the next tree's turn.
const BLOCK: usize = 64;

/// How the leaves of all trees make one score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// The score of one target of one row; `None` until a leaf contributed to it.
type Score<T> = Option<T>;

impl Aggregate {
    fn add<T: Number>(self, score: &mut Score<T>, weight: T) {
        *score = Some(match *score {
            None if matches!(self, Self::Sum | Self::Average) => T::default().plus(weight),
            None => weight,
            Some(score) => match self {
                Self::Sum | Self::Average => score.plus(weight),
                Self::Min => {
                    if weight < score {
                        weight
                    } else {
                        score
                    }
                }
                Self::Max => {
                    if weight > score {
                        weight
                    } else {
                        score
                    }
                }
            },
        });
    }
}

/// Scores of all targets for every row, row by row into `finish`.
fn score_rows<T: Number>(
    forest: &Forest<T>,
    aggregate: Aggregate,
    targets: usize,
    input: &Tensor,
    mut finish: impl FnMut(&mut [Score<T>]),
) -> Checked<()> {
    let (_, columns) = rows_and_columns(&input.shape)?;
    if columns < forest.features() || columns == 0 {
        return Err(format!("{columns} features given, the trees test {}", forest.features()));
    }
    let values = T::view(input)?;
    let block = BLOCK.min(values.len() / columns);
    let mut scores: Vec<Score<T>> = vec![None; count(&[block, targets])?];
    for rows in values.chunks(BLOCK * columns) {
        scores.fill(None);
        forest.visit(rows, columns, |row, target, weight| {
            aggregate.add(&mut scores[row * targets + target], weight);
        });
        scores.chunks_exact_mut(targets).take(rows.len() / columns).for_each(&mut finish);
    }
    Ok(())
}

/// Numbers of `name`, or of its tensor form `name_as_tensor` (since opset 3).
fn numbers<T: Number>(node: &Node<'_>, name: &str) -> Checked<Vec<T>> {
    match node.tensor(&format!("{name}_as_tensor"))? {
        Some(tensor) => tensor_numbers(&tensor),
        None => Ok(node.reals(name)?.iter().map(|&value| T::from_f64(value.into())).collect()),
    }
}

fn tensor_numbers<T: Number>(tensor: &Tensor) -> Checked<Vec<T>> {
    Ok(as_f64(tensor)?.iter().map(|&value| T::from_f64(value)).collect())
}

fn check_length(name: &str, length: usize, wanted: usize) -> Checked<()> {
    if length == wanted { Ok(()) } else { Err(format!("'{name}' has {length} values, {wanted} are needed")) }
}

/// Reads the `nodes_*` attributes and the leaf weights of `prefix` (`class` or `target`).
fn read_forest<T: Number>(node: &Node<'_>, prefix: &str, targets: usize) -> Checked<Forest<T>> {
    let tree_ids = node.integers("nodes_treeids")?;
    let total = tree_ids.len();
    let of_nodes = |name: &str| -> Checked<&[i64]> {
        let values = node.integers(name)?;
        check_length(name, values.len(), total)?;
        Ok(values)
    };
    let node_ids = of_nodes("nodes_nodeids")?;
    let features = of_nodes("nodes_featureids")?;
    let holds = of_nodes("nodes_truenodeids")?;
    let fails = of_nodes("nodes_falsenodeids")?;
    let thresholds: Vec<T> = numbers(node, "nodes_values")?;
    check_length("nodes_values", thresholds.len(), total)?;
    let modes = node.texts("nodes_modes")?;
    check_length("nodes_modes", modes.len(), total)?;
    let missing = node.integers("nodes_missing_value_tracks_true")?;
    if !missing.is_empty() {
        check_length("nodes_missing_value_tracks_true", missing.len(), total)?;
    }
    let mut positions = HashMap::with_capacity(total);
    let mut roots = Vec::new();
    for (index, id) in tree_ids.iter().copied().zip(node_ids.iter().copied()).enumerate() {
        if positions.insert(id, index).is_some() {
            return Err(format!("node {} of tree {} is there twice", id.1, id.0));
        }
        if index == 0 || tree_ids[index - 1] != id.0 {
            roots.push(index);
        }
    }
    let find = |tree: i64, id: i64| {
        positions.get(&(tree, id)).copied().ok_or_else(|| format!("there is no node {id} in tree {tree}"))
    };
    let mut described = Vec::with_capacity(total);
    for index in 0..total {
        described.push(match mode(&modes[index])? {
            None => Described::Leaf(Vec::new()),
            Some(mode) => Described::Branch {
                mode,
                feature: features[index],
                threshold: thresholds[index],
                missing_holds: missing.get(index) == Some(&1),
                children: [find(tree_ids[index], holds[index])?, find(tree_ids[index], fails[index])?],
            },
        });
    }
    let ids = node.integers(&format!("{prefix}_ids"))?;
    let weights: Vec<T> = numbers(node, &format!("{prefix}_weights"))?;
    let weight_trees = node.integers(&format!("{prefix}_treeids"))?;
    let weight_nodes = node.integers(&format!("{prefix}_nodeids"))?;
    check_length(&format!("{prefix}_weights"), weights.len(), ids.len())?;
    check_length(&format!("{prefix}_treeids"), weight_trees.len(), ids.len())?;
    check_length(&format!("{prefix}_nodeids"), weight_nodes.len(), ids.len())?;
    for (((&id, &weight), &tree), &at) in ids.iter().zip(&weights).zip(weight_trees).zip(weight_nodes) {
        if let Described::Leaf(weights) = &mut described[find(tree, at)?] {
            let target = usize::try_from(id).map_err(|_| format!("{prefix} {id} of a leaf is negative"))?;
            weights.push((target, weight));
        }
    }
    Forest::new(&described, &roots, targets)
}

/// The test of a branch, `None` for a leaf.
fn mode(name: &str) -> Checked<Option<Mode>> {
    Ok(Some(match name {
        "LEAF" => return Ok(None),
        "BRANCH_LEQ" => Mode::LessOrEqual,
        "BRANCH_LT" => Mode::Less,
        "BRANCH_GTE" => Mode::GreaterOrEqual,
        "BRANCH_GT" => Mode::Greater,
        "BRANCH_EQ" => Mode::Equal,
        "BRANCH_NEQ" => Mode::NotEqual,
        other => return Err(format!("nodes_modes '{other}' is not supported")),
    }))
}

/// Checks what the loader knows of the features per row.
fn check_features<T: Number>(forest: &Forest<T>, input: &ValueType) -> Checked<()> {
    match input.columns() {
        Some(columns) if columns < forest.features() => {
            Err(format!("rows have {columns} features, the trees test {}", forest.features()))
        }
        _ => Ok(()),
    }
}

struct Classifier<T> {
    forest: Forest<T>,
    base: Vec<T>,
    labels: Labels,
    post_transform: PostTransform,
    /// Two classes, and all leaves score the same one of them.
    one_scored: bool,
    /// No weight is negative: scores are probabilities, not margins.
    probabilities: bool,
}

pub(super) fn classifier(node: &Node<'_>) -> Checked<Built> {
    if node.number(0)?.element == ElementType::F64 {
        build_classifier::<f64>(node)
    } else {
        build_classifier::<f32>(node)
    }
}

fn build_classifier<T: Number>(node: &Node<'_>) -> Checked<Built> {
    let input = node.number(0)?;
    let labels = Labels::read(node, "classlabels_int64s", "classlabels_strings")?;
    if labels.len() < 2 {
        return Err("a classifier with one class is not supported".into());
    }
    let base: Vec<T> = numbers(node, "base_values")?;
    let fits = [0, labels.len()].contains(&base.len()) || (labels.len() == 2 && base.len() == 1);
    if !fits {
        return Err(format!("{} base_values for {} classes", base.len(), labels.len()));
    }
    let forest = read_forest(node, "class", labels.len())?;
    check_features(&forest, input)?;
    let ids = node.integers("class_ids")?;
    let weights: Vec<T> = numbers(node, "class_weights")?;
    let classifier = Classifier {
        one_scored: labels.len() == 2 && !ids.is_empty() && ids.iter().all(|id| *id == ids[0]),
        probabilities: !weights.iter().any(|&weight| weight < T::default()),
        post_transform: PostTransform::read(node)?,
        forest,
        base,
        labels,
    };
    classifier.check_two_classes()?;
    let outputs = vec![
        ValueType::new(classifier.labels.element_type(), Some(vec![input.rows()])),
        ValueType::new(ElementType::F32, Some(vec![input.rows(), Some(classifier.labels.len())])),
    ];
    let class_labels = Some(classifier.labels.names());
    Ok(Built { operator: Box::new(classifier), outputs, class_labels })
}

impl<T: Number> Classifier<T> {
    /// Refuses what the specification leaves open and ONNX Runtime answers with leftovers.
    fn check_two_classes(&self) -> Checked<()> {
        if self.labels.len() > 2 {
            Ok(())
        } else if self.base.len() == 1 && !self.one_scored {
            Err("one base_value where the leaves score both classes: give two".into())
        } else if self.post_transform == PostTransform::Probit {
            Err("post_transform PROBIT with two classes is not supported: use NONE".into())
        } else {
            Ok(())
        }
    }

    /// Adds the base values and picks the winner; writes the transformed scores of one row.
    fn finish(&self, scores: &mut [Score<T>], written: &mut [f32]) -> usize {
        if scores.len() == 2 {
            return self.finish_two(scores, written);
        }
        for (score, &base) in scores.iter_mut().zip(&self.base) {
            *score = Some(score.map_or(base, |score| score.plus(base)));
        }
        let mut best: Option<(usize, T)> = None;
        for (class, score) in scores.iter().enumerate() {
            if let Some(score) = *score
                && best.is_none_or(|(_, best)| score > best)
            {
                best = Some((class, score));
            }
        }
        self.write(scores, written);
        best.map_or(0, |(class, _)| class)
    }

    fn write(&self, scores: &[Score<T>], written: &mut [f32]) {
        for (written, score) in written.iter_mut().zip(scores) {
            *written = score.unwrap_or_default().to_f32();
        }
        self.post_transform.apply(written);
    }

    fn finish_two(&self, scores: &mut [Score<T>], written: &mut [f32]) -> usize {
        let zero = T::default();
        let second_scored = scores[1].is_some();
        let plus = |score: Score<T>, base: T| score.map(|score| score.plus(base));
        // A class that no leaf scored is written as zero, whatever its base value.
        match *self.base.as_slice() {
            [_, base] if second_scored => {
                let second = base.plus(scores[0].unwrap_or_default());
                scores[1] = Some(second);
                scores[0] = scores[0].map(|_| second.negated());
            }
            [base, base_second] => {
                scores[0] = plus(scores[0], base);
                scores[1] = plus(scores[1], base_second);
            }
            [base] => scores[0] = plus(scores[0], base),
            _ => {}
        }
        let deciding = if second_scored { scores[1] } else { scores[0] }.unwrap_or_default();
        let probability = self.one_scored && self.probabilities;
        let threshold = if probability { T::from_f64(0.5) } else { zero };
        if second_scored || self.base.len() == 2 {
            self.write(scores, written);
        } else {
            written[0] = scores[0].unwrap_or_default().to_f32();
            let second = if probability { SecondClass::Complement } else { SecondClass::Margin };
            self.post_transform.apply_single(written, second);
        }
        usize::from(deciding > threshold)
    }
}

impl<T: Number> Operator for Classifier<T> {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let input = inputs.get(0)?;
        let (rows, _) = rows_and_columns(&input.shape)?;
        let classes = self.labels.len();
        let mut written = vec![0.0; count(&[rows, classes])?];
        let mut winners = Vec::with_capacity(rows);
        let mut blocks = written.chunks_exact_mut(classes);
        score_rows(&self.forest, Aggregate::Sum, classes, input, |scores| {
            if let Some(block) = blocks.next() {
                winners.push(self.finish(scores, block));
            }
        })?;
        let labels = Tensor { shape: vec![rows], data: self.labels.select(&winners) };
        Ok(Produced::Two(labels, Tensor { shape: vec![rows, classes], data: Data::F32(written) }))
    }
}

struct Regressor<T> {
    forest: Forest<T>,
    base: Vec<T>,
    targets: usize,
    aggregate: Aggregate,
    post_transform: PostTransform,
}

pub(super) fn regressor(node: &Node<'_>) -> Checked<Built> {
    if node.number(0)?.element == ElementType::F64 {
        build_regressor::<f64>(node)
    } else {
        build_regressor::<f32>(node)
    }
}

fn read_targets(node: &Node<'_>) -> Checked<usize> {
    let targets = node.integer("n_targets", 1)?;
    usize::try_from(targets)
        .ok()
        .filter(|targets| (1..=1 << 20).contains(targets))
        .ok_or_else(|| format!("n_targets {targets}"))
}

fn build_regressor<T: Number>(node: &Node<'_>) -> Checked<Built> {
    let aggregate = match node.text("aggregate_function", "SUM")?.as_str() {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => return Err(format!("aggregate_function '{other}' is not one of SUM, AVERAGE, MIN, MAX")),
    };
    let targets = read_targets(node)?;
    let base: Vec<T> = numbers(node, "base_values")?;
    if !base.is_empty() {
        check_length("base_values", base.len(), targets)?;
    }
    let forest = read_forest(node, "target", targets)?;
    let post_transform = PostTransform::read(node)?;
    Regressor { forest, base, targets, aggregate, post_transform }.built(node.number(0)?)
}

/// `TreeEnsemble`: branches and leaves in lists of their own, numbers for names.
pub(super) fn ensemble(node: &Node<'_>) -> Checked<Built> {
    if node.float(0)?.element == ElementType::F64 { build_ensemble::<f64>(node) } else { build_ensemble::<f32>(node) }
}

fn build_ensemble<T: Number>(node: &Node<'_>) -> Checked<Built> {
    let aggregate = match node.integer("aggregate_function", 1)? {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return Err(format!("aggregate_function {other} is not one of 0, 1, 2, 3")),
    };
    let post_transform = match node.integer("post_transform", 0)? {
        0 => PostTransform::None,
        // The specification says 1 is SOFTMAX and 2 LOGISTIC, ONNX Runtime has it the other way.
        given @ (1 | 2) => {
            return Err(format!(
                "post_transform {given} means different things to different runtimes: use 0 and a \
                 Softmax or Sigmoid node"
            ));
        }
        3 => PostTransform::SoftmaxZero,
        4 => PostTransform::Probit,
        other => return Err(format!("post_transform {other} is not one of 0, 1, 2, 3, 4")),
    };
    let targets = read_targets(node)?;
    let of_tensor =
        |name: &str| -> Checked<Tensor> { node.tensor(name)?.ok_or_else(|| format!("attribute '{name}' is missing")) };
    let modes = of_tensor("nodes_modes")?;
    let modes = as_i64(&modes)?;
    let total = modes.len();
    let of_nodes = |name: &str| -> Checked<&[i64]> {
        let values = node.integers(name)?;
        check_length(name, values.len(), total)?;
        Ok(values)
    };
    let splits: Vec<T> = tensor_numbers(&of_tensor("nodes_splits")?)?;
    check_length("nodes_splits", splits.len(), total)?;
    let features = of_nodes("nodes_featureids")?;
    let holds = [of_nodes("nodes_trueleafs")?, of_nodes("nodes_truenodeids")?];
    let fails = [of_nodes("nodes_falseleafs")?, of_nodes("nodes_falsenodeids")?];
    let missing = node.integers("nodes_missing_value_tracks_true")?;
    if !missing.is_empty() {
        check_length("nodes_missing_value_tracks_true", missing.len(), total)?;
    }
    let leaf_targets = node.integers("leaf_targetids")?;
    let leaf_weights: Vec<T> = tensor_numbers(&of_tensor("leaf_weights")?)?;
    check_length("leaf_weights", leaf_weights.len(), leaf_targets.len())?;
    // Leaves follow the branches in the list of described nodes.
    let child = |[is_leaf, ids]: [&[i64]; 2], index: usize| -> Checked<usize> {
        let (offset, limit) = if is_leaf[index] == 0 { (0, total) } else { (total, leaf_targets.len()) };
        usize::try_from(ids[index])
            .ok()
            .filter(|&id| id < limit)
            .map(|id| offset + id)
            .ok_or_else(|| format!("branch {index} leads to {}, which does not exist", ids[index]))
    };
    let mut described = Vec::with_capacity(total + leaf_targets.len());
    for index in 0..total {
        described.push(Described::Branch {
            mode: ensemble_mode(modes[index])?,
            feature: features[index],
            threshold: splits[index],
            missing_holds: missing.get(index) == Some(&1),
            children: [child(holds, index)?, child(fails, index)?],
        });
    }
    for (&target, &weight) in leaf_targets.iter().zip(&leaf_weights) {
        let target = usize::try_from(target).map_err(|_| format!("target {target} of a leaf is negative"))?;
        described.push(Described::Leaf(vec![(target, weight)]));
    }
    let roots = node
        .integers("tree_roots")?
        .iter()
        .map(|&root| {
            let found = usize::try_from(root).ok().filter(|&root| root < total);
            found.ok_or_else(|| format!("there is no branch {root} to be a root"))
        })
        .collect::<Checked<Vec<_>>>()?;
    let forest = Forest::new(&described, &roots, targets)?;
    let base = Vec::new();
    Regressor { forest, base, targets, aggregate, post_transform }.built(node.number(0)?)
}

fn ensemble_mode(mode: i64) -> Checked<Mode> {
    Ok(match mode {
        0 => Mode::LessOrEqual,
        1 => Mode::Less,
        2 => Mode::GreaterOrEqual,
        3 => Mode::Greater,
        4 => Mode::Equal,
        5 => Mode::NotEqual,
        6 => return Err("nodes_modes 6 (BRANCH_MEMBER) is not supported: use equality tests".into()),
        other => return Err(format!("nodes_modes {other} is not known")),
    })
}

impl<T: Number> Regressor<T> {
    fn built(self, input: &ValueType) -> Checked<Built> {
        check_features(&self.forest, input)?;
        if self.forest.trees() == 0 {
            return Err("an ensemble without trees".into());
        }
        let shape = vec![input.rows(), Some(self.targets)];
        Ok(Built::one(self, ValueType::new(ElementType::F32, Some(shape))))
    }

    fn finish(&self, scores: &[Score<T>], written: &mut [f32]) {
        for (target, (written, score)) in written.iter_mut().zip(scores).enumerate() {
            // With several targets, one that no leaf scored stays zero.
            let scored = score.is_some();
            let mut score = score.unwrap_or_default();
            if self.aggregate == Aggregate::Average {
                score = score.divided_by(self.forest.trees());
            }
            if let Some(&base) = self.base.get(target)
                && (scored || self.targets == 1)
            {
                score = score.plus(base);
            }
            *written = score.to_f32();
        }
        // One target: of all transforms, ONNX Runtime applies only this one.
        if self.targets > 1 || self.post_transform == PostTransform::Probit {
            self.post_transform.apply(written);
        }
    }
}

impl<T: Number> Operator for Regressor<T> {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let input = inputs.get(0)?;
        let (rows, _) = rows_and_columns(&input.shape)?;
        let mut written = vec![0.0; count(&[rows, self.targets])?];
        let mut blocks = written.chunks_exact_mut(self.targets);
        score_rows(&self.forest, self.aggregate, self.targets, input, |scores| {
            if let Some(block) = blocks.next() {
                self.finish(scores, block);
            }
        })?;
        Ok(Tensor { shape: vec![rows, self.targets], data: Data::F32(written) }.into())
    }
}
