//! Operators on every element of one tensor.

use super::execute::{Inputs, Operator, Produced};
use super::node::{Built, Checked, Node};
use crate::tensor::{Data, ElementType};

const TYPE_DIFFERS: &str = "the input's type is not what the graph declared";

/// A function in both float types.
struct Unary {
    f32: fn(f32) -> f32,
    f64: fn(f64) -> f64,
}

pub(super) fn unary(node: &Node<'_>) -> Checked<Built> {
    let value = node.float(0)?.clone();
    let unary = match node.operator {
        "Abs" => Unary { f32: f32::abs, f64: f64::abs },
        "Exp" => Unary { f32: f32::exp, f64: f64::exp },
        "Log" => Unary { f32: f32::ln, f64: f64::ln },
        "Neg" => Unary { f32: |x| -x, f64: |x| -x },
        "Reciprocal" => Unary { f32: f32::recip, f64: f64::recip },
        // Not `max`: a NaN stays one.
        "Relu" => Unary { f32: |x| if x < 0.0 { 0.0 } else { x }, f64: |x| if x < 0.0 { 0.0 } else { x } },
        "Sigmoid" => Unary { f32: sigmoid_f32, f64: sigmoid_f64 },
        "Sqrt" => Unary { f32: f32::sqrt, f64: f64::sqrt },
        "Tanh" => Unary { f32: f32::tanh, f64: f64::tanh },
        other => return Err(format!("'{other}' is no function of one number")),
    };
    Ok(Built::one(unary, value))
}

/// 1 / (1 + e^-x) without overflow.
fn sigmoid_f64(x: f64) -> f64 {
    let positive = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - positive } else { positive }
}

fn sigmoid_f32(x: f32) -> f32 {
    let positive = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - positive } else { positive }
}

impl Operator for Unary {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let mut tensor = inputs.take(0)?;
        match &mut tensor.data {
            Data::F32(values) => {
                for value in values.iter_mut() {
                    *value = (self.f32)(*value);
                }
            }
            Data::F64(values) => {
                for value in values.iter_mut() {
                    *value = (self.f64)(*value);
                }
            }
            _ => return Err(TYPE_DIFFERS.into()),
        }
        Ok(tensor.into())
    }
}

struct Not;

pub(super) fn not(node: &Node<'_>) -> Checked<Built> {
    let value = node.value(0)?.clone();
    if value.element != ElementType::Bool {
        return Err(format!("the input is {:?}, BOOL is needed", value.element));
    }
    Ok(Built::one(Not, value))
}

impl Operator for Not {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let mut tensor = inputs.take(0)?;
        let Data::Bool(values) = &mut tensor.data else { return Err(TYPE_DIFFERS.into()) };
        for value in values.iter_mut() {
            *value = !*value;
        }
        Ok(tensor.into())
    }
}

/// Limits as 64-bit floats; they come from attributes before opset 11, from inputs since.
struct Clip {
    low: f64,
    high: f64,
}

pub(super) fn clip(node: &Node<'_>) -> Checked<Built> {
    let value = node.float(0)?.clone();
    let limit = |index: usize, name: &str, default: f32| -> Checked<f64> {
        if node.opset < 11 {
            return Ok(node.real(name, default)?.into());
        }
        let Some(argument) = node.optional(index) else { return Ok(default.into()) };
        match argument.constant.map(|tensor| &tensor.data) {
            Some(Data::F32(values)) if values.len() == 1 => Ok(values[0].into()),
            Some(Data::F64(values)) if values.len() == 1 => Ok(values[0]),
            _ => Err(format!("'{name}' must be an initialiser of one float")),
        }
    };
    let (low, high) = (limit(1, "min", f32::NEG_INFINITY)?, limit(2, "max", f32::INFINITY)?);
    Ok(Built::one(Clip { low, high }, value))
}

impl Operator for Clip {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let mut tensor = inputs.take(0)?;
        match &mut tensor.data {
            Data::F32(values) => {
                let (low, high) = (self.low as f32, self.high as f32);
                for value in values {
                    *value = if *value < low { low } else { *value };
                    *value = if *value > high { high } else { *value };
                }
            }
            Data::F64(values) => {
                for value in values {
                    *value = if *value < self.low { self.low } else { *value };
                    *value = if *value > self.high { self.high } else { *value };
                }
            }
            _ => return Err(TYPE_DIFFERS.into()),
        }
        Ok(tensor.into())
    }
}
