//! Activations of neural networks that have a parameter.

use super::execute::{Inputs, Operator, Produced};
use super::node::{Built, Checked, Node};
use crate::tensor::{Data, ElementType, Tensor};

const TYPE_DIFFERS: &str = "the input's type is not what the graph declared";

/// Computed in 64 bits; the parameters are 32-bit attributes.
enum Activation {
    LeakyRelu { alpha: f64 },
    Elu { alpha: f64 },
    Selu { alpha: f64, gamma: f64 },
    Celu { alpha: f64 },
    HardSigmoid { alpha: f64, beta: f64 },
    HardSwish,
    ThresholdedRelu { alpha: f64 },
}

pub(super) fn activation(node: &Node<'_>) -> Checked<Built> {
    let value = node.float(0)?.clone();
    let real = |name: &str, default: f32| node.real(name, default).map(f64::from);
    let activation = match node.operator {
        "LeakyRelu" => Activation::LeakyRelu { alpha: real("alpha", 0.01)? },
        "Elu" => Activation::Elu { alpha: real("alpha", 1.0)? },
        "Selu" => Activation::Selu { alpha: real("alpha", 1.673_263_2)?, gamma: real("gamma", 1.050_701)? },
        "Celu" => Activation::Celu { alpha: real("alpha", 1.0)? },
        "HardSigmoid" => Activation::HardSigmoid { alpha: real("alpha", 0.2)?, beta: real("beta", 0.5)? },
        "HardSwish" => Activation::HardSwish,
        "ThresholdedRelu" => Activation::ThresholdedRelu { alpha: real("alpha", 1.0)? },
        other => return Err(format!("'{other}' is no activation")),
    };
    Ok(Built::one(activation, value))
}

impl Activation {
    fn of(&self, x: f64) -> f64 {
        match *self {
            Self::LeakyRelu { alpha } => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Self::Elu { alpha } => {
                if x < 0.0 {
                    alpha * x.exp_m1()
                } else {
                    x
                }
            }
            Self::Selu { alpha, gamma } => gamma * if x <= 0.0 { alpha * x.exp_m1() } else { x },
            Self::Celu { alpha } => {
                if x < 0.0 {
                    alpha * (x / alpha).exp_m1()
                } else {
                    x
                }
            }
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::ThresholdedRelu { alpha } => {
                if x > alpha {
                    x
                } else {
                    0.0
                }
            }
        }
    }
}

impl Operator for Activation {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let mut tensor = inputs.take(0)?;
        match &mut tensor.data {
            Data::F32(values) => {
                for value in values.iter_mut() {
                    *value = self.of(f64::from(*value)) as f32;
                }
            }
            Data::F64(values) => {
                for value in values.iter_mut() {
                    *value = self.of(*value);
                }
            }
            Data::I64(_) | Data::Bool(_) | Data::Text(_) => return Err(TYPE_DIFFERS.into()),
        }
        Ok(tensor.into())
    }
}

/// Whether each number is NaN.
struct IsNan;

pub(super) fn is_nan(node: &Node<'_>) -> Checked<Built> {
    let mut value = node.float(0)?.clone();
    value.element = ElementType::Bool;
    Ok(Built::one(IsNan, value))
}

impl Operator for IsNan {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let tensor = inputs.get(0)?;
        let values = match &tensor.data {
            Data::F32(values) => values.iter().map(|value| value.is_nan()).collect(),
            Data::F64(values) => values.iter().map(|value| value.is_nan()).collect(),
            Data::I64(_) | Data::Bool(_) | Data::Text(_) => return Err(TYPE_DIFFERS.into()),
        };
        Ok(Tensor { shape: tensor.shape.clone(), data: Data::Bool(values) }.into())
    }
}
