//! Tensors as requests carry them and runtimes compute on them.

use std::ops::RangeInclusive;

/// Row-major data. `i32`, `i8`, ... requests are widened to `I64`; `FP16` to `F32`.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
    /// UTF-8 text (`BYTES` in the Open Inference Protocol).
    Text(Vec<String>),
}

impl Data {
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::Text(v) => v.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn element_type(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::F64(_) => ElementType::F64,
            Self::I64(_) => ElementType::I64,
            Self::Bool(_) => ElementType::Bool,
            Self::Text(_) => ElementType::Text,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    F32,
    F64,
    I64,
    /// Declared by the model as 32 bits wide; computed on as `I64`.
    I32,
    /// Declared by the model as integers of another width; carried as `I64`.
    Integer(Integer),
    /// Declared by the model as floats of 16 bits; carried as `F32`.
    Half(Half),
    Bool,
    Text,
}

/// Integers of other widths than 32 and 64 bits, and those without a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integer {
    I8,
    I16,
    U8,
    U16,
    U32,
    /// Up to 2^63 - 1.
    U64,
}

/// The two floats of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    F16,
    Bf16,
}

impl ElementType {
    /// What its elements may be, where they are carried as wider integers.
    pub fn range(self) -> Option<RangeInclusive<i64>> {
        Some(match self {
            Self::I32 => i64::from(i32::MIN)..=i64::from(i32::MAX),
            Self::Integer(Integer::I8) => i64::from(i8::MIN)..=i64::from(i8::MAX),
            Self::Integer(Integer::I16) => i64::from(i16::MIN)..=i64::from(i16::MAX),
            Self::Integer(Integer::U8) => 0..=i64::from(u8::MAX),
            Self::Integer(Integer::U16) => 0..=i64::from(u16::MAX),
            Self::Integer(Integer::U32) => 0..=i64::from(u32::MAX),
            Self::Integer(Integer::U64) => 0..=i64::MAX,
            Self::F32 | Self::F64 | Self::I64 | Self::Half(_) | Self::Bool | Self::Text => return None,
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Product equals the number of elements.
    pub shape: Vec<usize>,
    pub data: Data,
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    pub name: String,
    pub element_type: ElementType,
    /// `None` = any length (the batch).
    pub shape: Vec<Option<usize>>,
}

impl Tensor {
    /// What fits `spec`, of one row.
    pub fn zeros(spec: &TensorSpec) -> Self {
        let shape: Vec<usize> = spec.shape.iter().map(|length| length.unwrap_or(1)).collect();
        let count = shape.iter().product();
        let data = match spec.element_type {
            ElementType::F32 | ElementType::Half(_) => Data::F32(vec![0.0; count]),
            ElementType::F64 => Data::F64(vec![0.0; count]),
            ElementType::I64 | ElementType::I32 | ElementType::Integer(_) => Data::I64(vec![0; count]),
            ElementType::Bool => Data::Bool(vec![false; count]),
            ElementType::Text => Data::Text(vec![String::new(); count]),
        };
        Self { shape, data }
    }
}
