//! Operators that rescale or replace numbers column by column: `Scaler`, `Normalizer`, `Imputer`,
//! `Binarizer`.

use super::elements::{as_f32, as_f64, rows_and_columns};
use super::execute::{Inputs, Operator, Produced};
use super::node::{Built, Checked, Node, ValueType};
use crate::tensor::{Data, ElementType, Tensor};

/// Parameters of one number for all columns, or one per column.
fn check_columns(name: &str, parameters: usize, columns: usize) -> Checked<()> {
    if parameters == 1 || parameters == columns {
        Ok(())
    } else {
        Err(format!("'{name}' has {parameters} values for {columns} columns"))
    }
}

struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

pub(super) fn scaler(node: &Node<'_>) -> Checked<Built> {
    let input = node.number(0)?;
    let scaler = Scaler { offset: node.reals("offset")?.to_vec(), scale: node.reals("scale")?.to_vec() };
    if scaler.offset.is_empty() || scaler.scale.len() != scaler.offset.len() {
        return Err("'offset' and 'scale' must have the same number of values".into());
    }
    if let Some(columns) = input.columns() {
        check_columns("offset", scaler.offset.len(), columns)?;
    }
    let output = ValueType::new(ElementType::F32, input.shape.clone());
    Ok(Built::one(scaler, output))
}

impl Operator for Scaler {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let input = inputs.take(0)?;
        let (_, columns) = rows_and_columns(&input.shape)?;
        check_columns("offset", self.offset.len(), columns)?;
        let pairs = || self.offset.iter().zip(&self.scale).cycle();
        let scaled = if let Data::F32(mut values) = input.data {
            for row in values.chunks_exact_mut(columns.max(1)) {
                for (value, (&offset, &scale)) in row.iter_mut().zip(pairs()) {
                    *value = (*value - offset) * scale;
                }
            }
            values
        } else {
            let scale_one = |(&value, (&offset, &scale)): (&f64, (&f32, &f32))| {
                ((value - f64::from(offset)) * f64::from(scale)) as f32
            };
            as_f64(&input)?.iter().zip(pairs()).map(scale_one).collect()
        };
        Ok(Tensor { shape: input.shape, data: Data::F32(scaled) }.into())
    }
}

enum Normalizer {
    Max,
    L1,
    L2,
}

pub(super) fn normalizer(node: &Node<'_>) -> Checked<Built> {
    let input = node.number(0)?;
    let normalizer = match node.text("norm", "MAX")?.as_str() {
        "MAX" => Normalizer::Max,
        "L1" => Normalizer::L1,
        "L2" => Normalizer::L2,
        other => return Err(format!("norm '{other}' is not one of MAX, L1, L2")),
    };
    let output = ValueType::new(ElementType::F32, input.shape.clone());
    Ok(Built::one(normalizer, output))
}

impl Normalizer {
    fn normalize(&self, row: &mut [f32]) {
        let norm = match self {
            Self::Max => row.iter().fold(f32::MIN, |best, &x| if x > best { x } else { best }),
            Self::L1 => row.iter().map(|x| x.abs()).sum(),
            Self::L2 => row.iter().map(|x| x * x).sum(),
        };
        if norm == 0.0 {
            return;
        }
        for x in row {
            *x = match self {
                Self::Max | Self::L1 => *x / norm,
                Self::L2 => (*x * *x / norm).sqrt() * if *x < 0.0 { -1.0 } else { 1.0 },
            };
        }
    }
}

impl Operator for Normalizer {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let input = inputs.take(0)?;
        let (_, columns) = rows_and_columns(&input.shape)?;
        let mut values = match input.data {
            Data::F32(values) => values,
            _ => as_f32(&input)?.into_owned(),
        };
        values.chunks_exact_mut(columns.max(1)).for_each(|row| self.normalize(row));
        Ok(Tensor { shape: input.shape, data: Data::F32(values) }.into())
    }
}

enum Imputer {
    Float { replaced: f32, imputed: Vec<f32> },
    Integer { replaced: i64, imputed: Vec<i64> },
}

pub(super) fn imputer(node: &Node<'_>) -> Checked<Built> {
    let input = node.value(0)?;
    let (imputer, values) = match input.element {
        ElementType::F32 => {
            let imputed = node.reals("imputed_value_floats")?.to_vec();
            let count = imputed.len();
            let replaced = node.real("replaced_value_float", 0.0)?;
            (Imputer::Float { replaced, imputed }, count)
        }
        ElementType::I64 => {
            let imputed = node.integers("imputed_value_int64s")?.to_vec();
            let count = imputed.len();
            let replaced = node.integer("replaced_value_int64", 0)?;
            (Imputer::Integer { replaced, imputed }, count)
        }
        other => return Err(format!("input is {other:?}; F32 and I64 are supported: add a Cast")),
    };
    if values == 0 {
        return Err("no imputed values of the input's type are given".into());
    }
    Ok(Built::one(imputer, input.clone()))
}

/// Puts `imputed` (per column, or its first value) where `missing` says so.
fn impute<T: Copy>(values: &mut [T], columns: usize, imputed: &[T], missing: impl Fn(T) -> bool) {
    let per_column = imputed.len() == columns;
    for row in values.chunks_exact_mut(columns.max(1)) {
        for (column, value) in row.iter_mut().enumerate() {
            if missing(*value) {
                *value = imputed[if per_column { column } else { 0 }];
            }
        }
    }
}

impl Operator for Imputer {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let mut input = inputs.take(0)?;
        let (_, columns) = rows_and_columns(&input.shape)?;
        match (self, &mut input.data) {
            (Self::Float { replaced, imputed }, Data::F32(values)) => {
                #[expect(clippy::float_cmp, reason = "the operator is defined by equality")]
                impute(values, columns, imputed, |value| value == *replaced || (value.is_nan() && replaced.is_nan()));
            }
            (Self::Integer { replaced, imputed }, Data::I64(values)) => {
                impute(values, columns, imputed, |value| value == *replaced);
            }
            _ => return Err("the input's type is not what the graph declared".into()),
        }
        Ok(input.into())
    }
}

struct Binarizer {
    threshold: f32,
}

pub(super) fn binarizer(node: &Node<'_>) -> Checked<Built> {
    let input = node.number(0)?;
    let binarizer = Binarizer { threshold: node.real("threshold", 0.0)? };
    // The specification keeps the input's type; ONNX Runtime has the operator for F32 only.
    if input.element != ElementType::F32 {
        return Err(format!("input is {:?}; F32 is supported: add a Cast", input.element));
    }
    Ok(Built::one(binarizer, input.clone()))
}

impl Operator for Binarizer {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let mut input = inputs.take(0)?;
        match &mut input.data {
            Data::F32(values) => {
                for value in values {
                    if value.is_nan() {
                        return Err("NaN is on neither side of the threshold: impute it".into());
                    }
                    *value = f32::from(u8::from(*value > self.threshold));
                }
            }
            _ => return Err("the input's type is not what the graph declared".into()),
        }
        Ok(input.into())
    }
}
