//! What classifiers and regressors share: class labels, and what is done to raw scores.

use super::node::{Checked, Node};
use crate::tensor::{Data, ElementType};

/// The classes of a classifier, in the order of their scores.
pub(super) enum Labels {
    Integers(Vec<i64>),
    Texts(Vec<String>),
}

impl Labels {
    /// Reads the two attributes of which one must be given.
    pub(super) fn read(node: &Node<'_>, integers: &str, texts: &str) -> Checked<Self> {
        let labels = match node.texts(texts)? {
            given if given.is_empty() => Self::Integers(node.integers(integers)?.to_vec()),
            given => Self::Texts(given),
        };
        if labels.len() == 0 {
            return Err(format!("neither '{integers}' nor '{texts}' names the classes"));
        }
        Ok(labels)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Integers(labels) => labels.len(),
            Self::Texts(labels) => labels.len(),
        }
    }

    pub(super) fn element_type(&self) -> ElementType {
        match self {
            Self::Integers(_) => ElementType::I64,
            Self::Texts(_) => ElementType::Text,
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Integers(labels) => labels.iter().map(ToString::to_string).collect(),
            Self::Texts(labels) => labels.clone(),
        }
    }

    /// The label of each row; `winners` are positions below [`Labels::len`].
    pub(super) fn select(&self, winners: &[usize]) -> Data {
        match self {
            Self::Integers(labels) => Data::I64(winners.iter().map(|&w| labels[w]).collect()),
            Self::Texts(labels) => Data::Text(winners.iter().map(|&w| labels[w].clone()).collect()),
        }
    }
}

/// The attribute `post_transform` of the ai.onnx.ml operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostTransform {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
    Probit,
}

/// How one score of a two-class model becomes two (the specification leaves it open; these are
/// the rules of ONNX Runtime).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecondClass {
    /// `[1 - s, s]`: the score is a probability.
    Complement,
    /// `[-s, s]`: the score is a margin.
    Margin,
}

impl PostTransform {
    pub(super) fn read(node: &Node<'_>) -> Checked<Self> {
        match node.text("post_transform", "NONE")?.as_str() {
            "NONE" => Ok(Self::None),
            "LOGISTIC" => Ok(Self::Logistic),
            "SOFTMAX" => Ok(Self::Softmax),
            "SOFTMAX_ZERO" => Ok(Self::SoftmaxZero),
            "PROBIT" => Ok(Self::Probit),
            other => {
                Err(format!("post_transform '{other}' is not one of NONE, LOGISTIC, SOFTMAX, SOFTMAX_ZERO, PROBIT"))
            }
        }
    }

    /// Transforms the scores of one row.
    pub(super) fn apply(self, scores: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => {
                for score in scores.iter_mut() {
                    *score = logistic(*score);
                }
            }
            Self::Softmax => softmax(scores),
            Self::SoftmaxZero => softmax_zero(scores),
            Self::Probit => {
                for score in scores.iter_mut() {
                    *score = probit(*score);
                }
            }
        }
    }

    /// Transforms the single score `row[0]` of a two-class model into both scores of `row`.
    pub(super) fn apply_single(self, row: &mut [f32], second: SecondClass) {
        let score = row[0];
        let pair = match (self, second) {
            (Self::Logistic, _) => [logistic(-score), logistic(score)],
            (_, SecondClass::Complement) => [1.0 - score, score],
            (_, SecondClass::Margin) => [-score, score],
        };
        row.copy_from_slice(&pair);
    }
}

/// 1 / (1 + e^-x), without overflow on either side.
fn logistic(score: f32) -> f32 {
    let positive = 1.0 / (1.0 + (-score.abs()).exp());
    if score < 0.0 { 1.0 - positive } else { positive }
}

fn softmax(scores: &mut [f32]) {
    let maximum = scores.iter().fold(f32::MIN, |best, &score| if score > best { score } else { best });
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - maximum).exp();
        sum += *score;
    }
    for score in scores.iter_mut() {
        *score /= sum;
    }
}

/// Softmax over the scores that are not zero.
fn softmax_zero(scores: &mut [f32]) {
    let maximum = scores.iter().fold(f32::MIN, |best, &score| if score > best { score } else { best });
    let zero = (-maximum).exp();
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        if score.abs() > 1e-7 {
            *score = (*score - maximum).exp();
            sum += *score;
        } else {
            *score *= zero;
        }
    }
    for score in scores.iter_mut() {
        *score /= sum;
    }
}

/// √2 erf⁻¹(2x - 1), with the inverse error function approximated as in Winitzki (2008), a = 0.147.
fn probit(score: f32) -> f32 {
    let x = 2.0 * score - 1.0;
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let v = 2.0 / (std::f32::consts::PI * 0.147) + 0.5 * log;
    let inverse = sign * (-v + (v * v - log / 0.147).sqrt()).sqrt();
    std::f32::consts::SQRT_2 * inverse
}
