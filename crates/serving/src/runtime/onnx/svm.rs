//! `SVMClassifier` and `SVMRegressor`: kernels against support vectors, votes between pairs of classes, and
//! probabilities by pairwise coupling (Wu, Lin and Weng, 2004), as libsvm and ONNX Runtime have them.

use super::elements::{as_f32, count, rows_and_columns};
use super::execute::{Inputs, Operator, Produced};
use super::node::{Built, Checked, Node, ValueType};
use super::scores::{Labels, PostTransform, SecondClass};
use crate::tensor::{Data, ElementType, Tensor};

#[derive(Clone, Copy)]
enum Kernel {
    Linear,
    Polynomial,
    Radial,
    Sigmoid,
}

/// The kernel and the vectors that rows are compared with.
struct Vectors {
    kernel: Kernel,
    gamma: f64,
    coef0: f64,
    degree: f64,
    features: usize,
    /// `[vectors, features]`.
    numbers: Vec<f32>,
}

impl Vectors {
    fn read(node: &Node<'_>, numbers: Vec<f32>, rows: usize, linear: bool) -> Checked<Self> {
        if rows == 0 || numbers.is_empty() || !numbers.len().is_multiple_of(rows) {
            return Err(format!("{} numbers for {rows} vectors", numbers.len()));
        }
        let kernel = match node.text("kernel_type", "LINEAR")?.as_str() {
            _ if linear => Kernel::Linear,
            "LINEAR" => Kernel::Linear,
            "POLY" => Kernel::Polynomial,
            "RBF" => Kernel::Radial,
            "SIGMOID" => Kernel::Sigmoid,
            other => return Err(format!("kernel_type '{other}' is not one of LINEAR, POLY, RBF, SIGMOID")),
        };
        let [gamma, coef0, degree] = match node.reals("kernel_params")? {
            [] => [0.0; 3],
            &[gamma, coef0, degree] => [gamma, coef0, degree],
            other => return Err(format!("kernel_params has {} numbers, 3 are needed", other.len())),
        }
        .map(f64::from);
        let features = numbers.len() / rows;
        if let Some(columns) = node.value(0)?.columns().filter(|&columns| columns != features) {
            return Err(format!("{columns} features given, the vectors have {features}"));
        }
        Ok(Self { kernel, gamma, coef0, degree, features, numbers })
    }

    /// The kernel of a row with each vector.
    fn kernels<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        self.numbers.chunks_exact(self.features).map(|vector| {
            let pairs = row.iter().zip(vector).map(|(&a, &b)| (f64::from(a), f64::from(b)));
            match self.kernel {
                Kernel::Radial => (-self.gamma * pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f64>()).exp(),
                Kernel::Linear => pairs.map(|(a, b)| a * b).sum(),
                Kernel::Polynomial => {
                    (self.gamma * pairs.map(|(a, b)| a * b).sum::<f64>() + self.coef0).powf(self.degree)
                }
                Kernel::Sigmoid => (self.gamma * pairs.map(|(a, b)| a * b).sum::<f64>() + self.coef0).tanh(),
            }
        })
    }

    fn check(&self, input: &Tensor) -> Checked<usize> {
        let (rows, columns) = rows_and_columns(&input.shape)?;
        if columns == self.features {
            Ok(rows)
        } else {
            Err(format!("{columns} features given, the model has {}", self.features))
        }
    }
}

struct Regressor {
    vectors: Vectors,
    /// One for each vector; `[1.0]` when the vector is the weights themselves.
    coefficients: Vec<f32>,
    rho: f64,
    one_class: bool,
}

pub(super) fn regressor(node: &Node<'_>) -> Checked<Built> {
    let input = node.number(0)?;
    let supports = length(node.integer("n_supports", 0)?, "n_supports")?;
    let given = node.reals("coefficients")?.to_vec();
    let (vectors, coefficients) = if supports == 0 {
        (Vectors::read(node, given, 1, true)?, vec![1.0])
    } else {
        (Vectors::read(node, node.reals("support_vectors")?.to_vec(), supports, false)?, given)
    };
    if coefficients.len() != supports.max(1) {
        return Err(format!("{} coefficients for {supports} support vectors", coefficients.len()));
    }
    let &[rho] = node.reals("rho")? else { return Err("'rho' must be one number".into()) };
    if PostTransform::read(node)? != PostTransform::None {
        return Err("post_transform is supported as NONE only".into());
    }
    let one_class = node.flag("one_class", false)?;
    let output = ValueType::new(ElementType::F32, Some(vec![input.rows(), Some(1)]));
    Ok(Built::one(Regressor { vectors, coefficients, rho: rho.into(), one_class }, output))
}

fn length(value: i64, name: &str) -> Checked<usize> {
    usize::try_from(value).map_err(|_| format!("attribute '{name}' is negative"))
}

impl Operator for Regressor {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let input = inputs.get(0)?;
        let rows = self.vectors.check(input)?;
        let values = as_f32(input)?;
        let score = |row: &[f32]| {
            let weighted = self.vectors.kernels(row).zip(&self.coefficients);
            let score = (weighted.map(|(kernel, &weight)| kernel * f64::from(weight)).sum::<f64>() + self.rho) as f32;
            match self.one_class {
                true if score > 0.0 => 1.0,
                true => -1.0,
                false => score,
            }
        };
        let scores = values.chunks_exact(self.vectors.features).map(score).collect();
        Ok(Tensor { shape: vec![rows, 1], data: Data::F32(scores) }.into())
    }
}

struct Classifier {
    vectors: Vectors,
    labels: Labels,
    scoring: Scoring,
    all_positive: bool,
    rho: Vec<f32>,
    post_transform: PostTransform,
}

enum Scoring {
    /// Without support vectors: a row of weights for each class.
    Linear,
    Pairs {
        /// Where the vectors of each class begin and end.
        ranges: Vec<std::ops::Range<usize>>,
        /// `[classes - 1, vectors]`.
        coefficients: Vec<f32>,
        /// `(a, b)` of the sigmoid of each pair of classes.
        probabilities: Option<Vec<(f32, f32)>>,
    },
}

pub(super) fn classifier(node: &Node<'_>) -> Checked<Built> {
    let input = node.number(0)?;
    let labels = Labels::read(node, "classlabels_ints", "classlabels_strings")?;
    let classes = labels.len();
    let pairs = classes.checked_mul(classes.saturating_sub(1)).ok_or("too many classes")? / 2;
    let coefficients = node.reals("coefficients")?.to_vec();
    let all_positive = coefficients.iter().all(|&weight| weight >= 0.0);
    let rho = node.reals("rho")?.to_vec();
    let post_transform = PostTransform::read(node)?;
    let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
    for &vectors in node.integers("vectors_per_class")? {
        let start = ranges.last().map_or(0, |range| range.end);
        let end = start.checked_add(length(vectors, "vectors_per_class")?).ok_or("too many vectors")?;
        ranges.push(start..end);
    }
    let total = ranges.last().map_or(0, |range| range.end);
    let (vectors, scoring) = if total == 0 {
        if rho.is_empty() {
            return Err("'rho' is empty".into());
        }
        (Vectors::read(node, coefficients, classes, true)?, Scoring::Linear)
    } else {
        let vectors = Vectors::read(node, node.reals("support_vectors")?.to_vec(), total, false)?;
        if classes < 2 || ranges.len() != classes {
            return Err(format!("vectors_per_class has {} numbers for {classes} classes", ranges.len()));
        }
        if (classes - 1).checked_mul(total) != Some(coefficients.len()) || rho.len() != pairs {
            return Err(format!(
                "{} coefficients and {} rho for {classes} classes and {total} support vectors",
                coefficients.len(),
                rho.len()
            ));
        }
        let (a, b) = (node.reals("prob_a")?, node.reals("prob_b")?);
        if a.len() != b.len() || !(a.is_empty() || a.len() == pairs) {
            return Err(format!("{} prob_a and {} prob_b for {pairs} pairs of classes", a.len(), b.len()));
        }
        let probabilities = (!a.is_empty()).then(|| a.iter().copied().zip(b.iter().copied()).collect());
        (vectors, Scoring::Pairs { ranges, coefficients, probabilities })
    };
    let columns = match &scoring {
        Scoring::Pairs { probabilities: None, .. } if classes > 2 => pairs,
        _ => classes,
    };
    if columns != classes && post_transform == PostTransform::Probit {
        return Err("post_transform PROBIT of a single score is not supported: use NONE".into());
    }
    let outputs = vec![
        ValueType::new(labels.element_type(), Some(vec![input.rows()])),
        ValueType::new(ElementType::F32, Some(vec![input.rows(), Some(columns)])),
    ];
    let class_labels = Some(labels.names());
    let operator = Box::new(Classifier { vectors, labels, scoring, all_positive, rho, post_transform });
    Ok(Built { operator, outputs, class_labels })
}

impl Classifier {
    /// The winner among the classes, and the scores of a row.
    fn row(&self, row: &[f32]) -> (usize, Vec<f32>) {
        let classes = self.labels.len();
        let Scoring::Pairs { ranges, coefficients, probabilities } = &self.scoring else {
            let mut scores: Vec<f32> =
                self.vectors.kernels(row).map(|score| (score + f64::from(self.rho[0])) as f32).collect();
            let mut winner = largest(scores.iter().copied());
            let positive = if self.all_positive { scores[winner] >= 0.5 } else { scores[winner] > 0.0 };
            if classes == 2 && positive {
                winner = 1;
            }
            self.post_transform.apply(&mut scores);
            return (winner, scores);
        };
        let kernels: Vec<f64> = self.vectors.kernels(row).collect();
        let mut votes = vec![0_u32; classes];
        let mut scores = Vec::with_capacity(self.rho.len().max(classes));
        let part = |row: usize, range: &std::ops::Range<usize>| -> f64 {
            let weights = &coefficients[row * kernels.len()..][range.clone()];
            weights.iter().zip(&kernels[range.clone()]).map(|(&weight, kernel)| f64::from(weight) * kernel).sum()
        };
        for first in 0..classes {
            for second in first + 1..classes {
                let sum =
                    part(second - 1, &ranges[first]) + part(first, &ranges[second]) + f64::from(self.rho[scores.len()]);
                scores.push(sum as f32);
                votes[if sum > 0.0 { first } else { second }] += 1;
            }
        }
        let winner = largest(votes.iter().copied());
        if let Some(sigmoids) = probabilities {
            scores = coupled(classes, &scores, sigmoids);
            self.post_transform.apply(&mut scores);
        } else if classes == 2 {
            scores.push(0.0);
            let second = match self.post_transform {
                PostTransform::None => SecondClass::Margin,
                _ => SecondClass::Complement,
            };
            self.post_transform.apply_single(&mut scores, second);
        } else {
            self.post_transform.apply(&mut scores);
        }
        (winner, scores)
    }
}

fn largest<T: PartialOrd>(values: impl Iterator<Item = T>) -> usize {
    let mut best: Option<(usize, T)> = None;
    for (index, value) in values.enumerate() {
        if best.as_ref().is_none_or(|(_, best)| value > *best) {
            best = Some((index, value));
        }
    }
    best.map_or(0, |(index, _)| index)
}

/// Probabilities of the classes from the margins of the pairs.
fn coupled(classes: usize, margins: &[f32], sigmoids: &[(f32, f32)]) -> Vec<f32> {
    let mut pairwise = vec![0.0_f32; classes * classes];
    let mut index = 0;
    for first in 0..classes {
        for second in first + 1..classes {
            let (a, b) = sigmoids[index];
            let x = margins[index] * a + b;
            let small = 1.0 / (1.0 + x.abs().exp());
            let probability = if x < 0.0 { 1.0 - small } else { small };
            let probability = probability.clamp(1e-7, 1.0 - 1e-7);
            pairwise[first * classes + second] = probability;
            pairwise[second * classes + first] = 1.0 - probability;
            index += 1;
        }
    }
    let of = |i: usize, j: usize| pairwise[i * classes + j];
    // Minimise p' Q p with sum(p) = 1, one coordinate after the other.
    let quadratic = |i: usize, j: usize| -> f32 {
        if i == j {
            (0..classes).filter(|&other| other != i).map(|other| of(other, i) * of(other, i)).sum()
        } else {
            -of(j, i) * of(i, j)
        }
    };
    let q: Vec<f32> = (0..classes * classes).map(|at| quadratic(at / classes, at % classes)).collect();
    let mut p = vec![1.0 / classes as f32; classes];
    let enough = 0.005 / classes as f32;
    for _ in 0..100 {
        let mut qp: Vec<f32> =
            q.chunks_exact(classes).map(|row| row.iter().zip(&p).map(|(q, p)| q * p).sum()).collect();
        let mut value: f32 = p.iter().zip(&qp).map(|(p, qp)| p * qp).sum();
        if qp.iter().all(|qp| (qp - value).abs() < enough) {
            break;
        }
        for t in 0..classes {
            let diagonal = q[t * classes + t];
            let step = (value - qp[t]) / diagonal;
            p[t] += step;
            value = (value + step * (step * diagonal + 2.0 * qp[t])) / (1.0 + step) / (1.0 + step);
            for j in 0..classes {
                qp[j] = (qp[j] + step * q[t * classes + j]) / (1.0 + step);
                p[j] /= 1.0 + step;
            }
        }
    }
    p
}

impl Operator for Classifier {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let input = inputs.get(0)?;
        let rows = self.vectors.check(input)?;
        let values = as_f32(input)?;
        let mut winners = Vec::with_capacity(rows);
        let mut all = Vec::new();
        for row in values.chunks_exact(self.vectors.features) {
            let (winner, scores) = self.row(row);
            if all.is_empty() {
                all.reserve(count(&[rows, scores.len()])?);
            }
            winners.push(winner);
            all.extend(scores);
        }
        let columns = match &self.scoring {
            Scoring::Pairs { probabilities: None, .. } if self.labels.len() > 2 => self.rho.len(),
            _ => self.labels.len(),
        };
        let labels = Tensor { shape: vec![rows], data: self.labels.select(&winners) };
        Ok(Produced::Two(labels, Tensor { shape: vec![rows, columns], data: Data::F32(all) }))
    }
}
