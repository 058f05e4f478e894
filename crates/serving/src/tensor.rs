//! Tensors as requests carry them and runtimes compute on them.

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
    Bool,
    Text,
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
            ElementType::F32 => Data::F32(vec![0.0; count]),
            ElementType::F64 => Data::F64(vec![0.0; count]),
            ElementType::I64 | ElementType::I32 => Data::I64(vec![0; count]),
            ElementType::Bool => Data::Bool(vec![false; count]),
            ElementType::Text => Data::Text(vec![String::new(); count]),
        };
        Self { shape, data }
    }
}
