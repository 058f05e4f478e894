//! `LinearClassifier` and `LinearRegressor`: scores = X Wᵀ + b in 32-bit floats.

use super::elements::{as_f32, count, rows_and_columns};
use super::execute::{Inputs, Operator, Produced};
use super::node::{Built, Checked, Node, ValueType};
use super::scores::{Labels, PostTransform, SecondClass};
use crate::tensor::{Data, ElementType, Tensor};

/// The affine map of a linear model. Weights are kept transposed, `[features, targets]`, so that
/// a row is a sum of weight rows: independent adds over the targets, which vectorise.
struct Affine {
    features: usize,
    targets: usize,
    weights: Vec<f32>,
    intercepts: Vec<f32>,
}

impl Affine {
    /// `coefficients` is `[targets, features]`, row-major.
    fn new(coefficients: &[f32], intercepts: Vec<f32>, targets: usize) -> Checked<Self> {
        if targets == 0 || coefficients.is_empty() || !coefficients.len().is_multiple_of(targets) {
            return Err(format!("{} coefficients for {targets} targets", coefficients.len()));
        }
        if intercepts.len() != targets {
            return Err(format!("{} intercepts for {targets} targets", intercepts.len()));
        }
        let features = coefficients.len() / targets;
        let mut weights = vec![0.0; coefficients.len()];
        for (target, row) in coefficients.chunks_exact(features).enumerate() {
            for (feature, &weight) in row.iter().enumerate() {
                weights[feature * targets + target] = weight;
            }
        }
        Ok(Self { features, targets, weights, intercepts })
    }

    /// Checks what the loader knows of the features per row.
    fn accepts(&self, input: &ValueType) -> Checked<()> {
        match input.columns() {
            Some(columns) if columns != self.features => {
                Err(format!("{columns} features given, {} coefficients each", self.features))
            }
            _ => Ok(()),
        }
    }

    /// Scores of all rows, each row in a block of `stride` numbers.
    fn scores(&self, input: &Tensor, stride: usize) -> Checked<(usize, Vec<f32>)> {
        let (rows, columns) = rows_and_columns(&input.shape)?;
        if columns != self.features {
            return Err(format!("{columns} features given, the model has {}", self.features));
        }
        let values = as_f32(input)?;
        let mut scores = vec![0.0; count(&[rows, stride])?];
        for (row, block) in values.chunks_exact(columns).zip(scores.chunks_exact_mut(stride)) {
            let scores = &mut block[..self.targets];
            for (&value, weights) in row.iter().zip(self.weights.chunks_exact(self.targets)) {
                for (score, &weight) in scores.iter_mut().zip(weights) {
                    *score += value * weight;
                }
            }
            for (score, &intercept) in scores.iter_mut().zip(&self.intercepts) {
                *score += intercept;
            }
        }
        Ok((rows, scores))
    }
}

struct LinearClassifier {
    affine: Affine,
    labels: Labels,
    post_transform: PostTransform,
}

pub(super) fn classifier(node: &Node<'_>) -> Checked<Built> {
    let input = node.number(0)?;
    let labels = Labels::read(node, "classlabels_ints", "classlabels_strings")?;
    let coefficients = node.reals("coefficients")?;
    let intercepts = node.reals("intercepts")?.to_vec();
    let targets = intercepts.len();
    let affine = Affine::new(coefficients, intercepts, targets)?;
    affine.accepts(input)?;
    if labels.len() != targets && !(targets == 1 && labels.len() == 2) {
        return Err(format!("{} class labels for {targets} scores", labels.len()));
    }
    let post_transform = PostTransform::read(node)?;
    if labels.len() != targets && post_transform == PostTransform::Probit {
        return Err("post_transform PROBIT of a single score is not supported: use NONE".into());
    }
    let outputs = vec![
        ValueType::new(labels.element_type(), Some(vec![input.rows()])),
        ValueType::new(ElementType::F32, Some(vec![input.rows(), Some(labels.len())])),
    ];
    let class_labels = Some(labels.names());
    let operator = Box::new(LinearClassifier { affine, labels, post_transform });
    Ok(Built { operator, outputs, class_labels })
}

impl Operator for LinearClassifier {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let classes = self.labels.len();
        let targets = self.affine.targets;
        let (rows, mut scores) = self.affine.scores(inputs.get(0)?, classes)?;
        let mut winners = Vec::with_capacity(rows);
        for block in scores.chunks_exact_mut(classes) {
            if targets == 1 && classes == 2 {
                winners.push(usize::from(block[0] > 0.0));
                self.post_transform.apply_single(block, SecondClass::Complement);
            } else {
                winners.push(first_maximum(block));
                self.post_transform.apply(block);
            }
        }
        let labels = Tensor { shape: vec![rows], data: self.labels.select(&winners) };
        Ok(Produced::Two(labels, Tensor { shape: vec![rows, classes], data: Data::F32(scores) }))
    }
}

/// The first of the largest; a NaN wins only in the first place, as no comparison removes it.
fn first_maximum(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, &score) in scores.iter().enumerate() {
        if score > scores[best] {
            best = index;
        }
    }
    best
}

struct LinearRegressor {
    affine: Affine,
    post_transform: PostTransform,
}

pub(super) fn regressor(node: &Node<'_>) -> Checked<Built> {
    let input = node.float(0)?;
    let targets =
        usize::try_from(node.integer("targets", 1)?).map_err(|_| "attribute 'targets' is negative".to_owned())?;
    let coefficients = node.reals("coefficients")?;
    if targets > coefficients.len() {
        return Err(format!("{} coefficients for {targets} targets", coefficients.len()));
    }
    let intercepts = match node.reals("intercepts")? {
        [] => vec![0.0; targets],
        given => given.to_vec(),
    };
    let affine = Affine::new(coefficients, intercepts, targets)?;
    affine.accepts(input)?;
    let output = ValueType::new(ElementType::F32, Some(vec![input.rows(), Some(targets)]));
    let post_transform = PostTransform::read(node)?;
    Ok(Built::one(LinearRegressor { affine, post_transform }, output))
}

impl Operator for LinearRegressor {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let targets = self.affine.targets;
        let (rows, mut scores) = self.affine.scores(inputs.get(0)?, targets)?;
        if self.post_transform != PostTransform::None {
            for row in scores.chunks_exact_mut(targets) {
                self.post_transform.apply(row);
            }
        }
        Ok(Tensor { shape: vec![rows, targets], data: Data::F32(scores) }.into())
    }
}
