//! Operators on every element of one tensor.

use super::execute::{Inputs, Operator, Produced};
use super::node::{Built, Checked, Node};
use crate::tensor::{Data, ElementType};

const TYPE_DIFFERS: &str = "the input's type is not what the graph declared";

/// A function in both float types, and in integers where it has a meaning for them.
struct Unary {
    i64: Option<fn(i64) -> i64>,
    f32: fn(f32) -> f32,
    f64: fn(f64) -> f64,
}

pub(super) fn unary(node: &Node<'_>) -> Checked<Built> {
    let value = node.number(0)?.clone();
    let unary = match node.operator {
        "Abs" => of_numbers(f32::abs, f64::abs, i64::wrapping_abs),
        "Neg" => of_numbers(|x| -x, |x| -x, i64::wrapping_neg),
        // The sign of zero is zero, and NaN has none.
        "Sign" => of_numbers(
            |x| if x == 0.0 || x.is_nan() { x } else { x.signum() },
            |x| if x == 0.0 || x.is_nan() { x } else { x.signum() },
            i64::signum,
        ),
        // Not `max`: a NaN stays one.
        "Relu" => of_numbers(|x| if x < 0.0 { 0.0 } else { x }, |x| if x < 0.0 { 0.0 } else { x }, |x| x.max(0)),
        "Ceil" => of_floats(f32::ceil, f64::ceil),
        "Exp" => of_floats(f32::exp, f64::exp),
        "Erf" => of_floats(|x| erf(f64::from(x)) as f32, erf),
        "Floor" => of_floats(f32::floor, f64::floor),
        "Log" => of_floats(f32::ln, f64::ln),
        "Reciprocal" => of_floats(f32::recip, f64::recip),
        "Round" => of_floats(f32::round_ties_even, f64::round_ties_even),
        "Sigmoid" => of_floats(sigmoid_f32, sigmoid_f64),
        "Softplus" => of_floats(|x| softplus(f64::from(x)) as f32, softplus),
        "Softsign" => of_floats(|x| x / (1.0 + x.abs()), |x| x / (1.0 + x.abs())),
        "Sqrt" => of_floats(f32::sqrt, f64::sqrt),
        "Tanh" => of_floats(f32::tanh, f64::tanh),
        other => return Err(format!("'{other}' is no function of one number")),
    };
    if value.is_integer() && unary.i64.is_none() {
        return Err(format!("{} is supported for floats: add a Cast", node.operator));
    }
    Ok(Built::one(unary, value))
}

fn of_floats(f32: fn(f32) -> f32, f64: fn(f64) -> f64) -> Unary {
    Unary { f32, f64, i64: None }
}

fn of_numbers(f32: fn(f32) -> f32, f64: fn(f64) -> f64, i64: fn(i64) -> i64) -> Unary {
    Unary { f32, f64, i64: Some(i64) }
}

/// ln(1 + e^x) without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The error function, within 1.5e-7 (Abramowitz and Stegun, 7.1.26).
fn erf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let polynomial = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592]
        .iter()
        .fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    (1.0 - polynomial * (-x * x).exp()).copysign(x)
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
            Data::I64(values) => {
                let function = self.i64.ok_or(TYPE_DIFFERS)?;
                for value in values.iter_mut() {
                    *value = function(*value);
                }
            }
            Data::Bool(_) | Data::Text(_) => return Err(TYPE_DIFFERS.into()),
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
