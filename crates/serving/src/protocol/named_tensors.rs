//! What both forms of the Open Inference Protocol, REST and gRPC, ask of the tensors of a request.

use super::binary::Datatype;
use crate::error::RequestError;
use crate::tensor::{Data, ElementType, Half, Integer, Tensor, TensorSpec};

/// One input of a request.
pub(super) struct Given<'a> {
    pub(super) name: &'a str,
    pub(super) datatype: &'a str,
    pub(super) shape: &'a [usize],
}

/// The inputs of a request, put in the order of the model's.
pub(super) struct Inputs<'a> {
    specs: &'a [TensorSpec],
    found: Vec<Option<Tensor>>,
}

impl<'a> Inputs<'a> {
    pub(super) fn of(specs: &'a [TensorSpec]) -> Self {
        Self { specs, found: specs.iter().map(|_| None).collect() }
    }

    /// Takes one input in; `data` reads its elements and says in words what is wrong with them.
    pub(super) fn take(
        &mut self,
        given: &Given<'_>,
        data: impl FnOnce(Datatype, ElementType) -> Result<Data, String>,
    ) -> Result<(), RequestError> {
        let Some(index) = self.specs.iter().position(|spec| spec.name == given.name) else {
            let known: Vec<String> = self.specs.iter().map(describe).collect();
            let error = format!("no input '{}'; the model takes {}", given.name, known.join(", "));
            return Err(RequestError::Invalid(error));
        };
        if self.found[index].is_some() {
            return Err(RequestError::Invalid(format!("input '{}' is given twice", given.name)));
        }
        self.found[index] = Some(tensor(given, &self.specs[index], data)?);
        Ok(())
    }

    pub(super) fn all(self) -> Result<Vec<Tensor>, RequestError> {
        let missing = |spec: &TensorSpec| {
            RequestError::Invalid(format!("input '{}' is missing: expected {}", spec.name, describe(spec)))
        };
        self.found.into_iter().zip(self.specs).map(|(tensor, spec)| tensor.ok_or_else(|| missing(spec))).collect()
    }
}

fn tensor(
    given: &Given<'_>,
    spec: &TensorSpec,
    data: impl FnOnce(Datatype, ElementType) -> Result<Data, String>,
) -> Result<Tensor, RequestError> {
    let invalid = |detail: String| {
        RequestError::Invalid(format!("input '{}': {detail}; expected {}", given.name, describe(spec)))
    };
    let datatype = Datatype::parse(given.datatype)
        .filter(|datatype| accepts(spec.element_type, *datatype))
        .ok_or_else(|| invalid(format!("datatype is {}", given.datatype)))?;
    let fits = given.shape.len() == spec.shape.len()
        && given.shape.iter().zip(&spec.shape).all(|(given, wanted)| wanted.is_none_or(|wanted| wanted == *given));
    if !fits {
        return Err(invalid(format!("shape is {:?}", given.shape)));
    }
    let count = given.shape.iter().try_fold(1_usize, |count, length| count.checked_mul(*length));
    let data = data(datatype, spec.element_type).map_err(invalid)?;
    if count != Some(data.len()) {
        return Err(invalid(format!("shape is {:?}, data has {} elements", given.shape, data.len())));
    }
    check_range(&data, spec.element_type).map_err(invalid)?;
    Ok(Tensor { shape: given.shape.to_vec(), data })
}

/// That the integers are those of the narrower type that the model declares.
pub(super) fn check_range(data: &Data, element_type: ElementType) -> Result<(), String> {
    let (Data::I64(values), Some(range)) = (data, element_type.range()) else { return Ok(()) };
    match values.iter().find(|value| !range.contains(value)) {
        None => Ok(()),
        Some(value) => Err(format!("{value} is no {}", datatype(element_type))),
    }
}

/// That all outputs that a request wants are outputs of the model.
pub(super) fn check_outputs<'a>(
    wanted: impl IntoIterator<Item = &'a str>,
    specs: &[TensorSpec],
) -> Result<(), RequestError> {
    match wanted.into_iter().find(|output| !specs.iter().any(|spec| spec.name == *output)) {
        None => Ok(()),
        Some(unknown) => {
            let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            Err(RequestError::Invalid(format!("no output '{unknown}'; the model gives {}", names.join(", "))))
        }
    }
}

/// Integers of any width are widened, halves become `FP32`; nothing is rounded.
fn accepts(element_type: ElementType, datatype: Datatype) -> bool {
    use Datatype::{Bf16, Bool, Bytes, Fp16, Fp32, Fp64};
    match element_type {
        ElementType::F32 | ElementType::Half(_) => matches!(datatype, Fp32 | Fp16 | Bf16),
        ElementType::F64 => datatype == Fp64,
        ElementType::I64 | ElementType::I32 | ElementType::Integer(_) => {
            !matches!(datatype, Fp32 | Fp16 | Bf16 | Fp64 | Bool | Bytes)
        }
        ElementType::Bool => datatype == Bool,
        ElementType::Text => datatype == Bytes,
    }
}

/// The protocol's name of what a model declares.
pub(crate) fn datatype(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::F32 => "FP32",
        ElementType::F64 => "FP64",
        ElementType::I64 => "INT64",
        ElementType::I32 => "INT32",
        ElementType::Integer(Integer::I8) => "INT8",
        ElementType::Integer(Integer::I16) => "INT16",
        ElementType::Integer(Integer::U8) => "UINT8",
        ElementType::Integer(Integer::U16) => "UINT16",
        ElementType::Integer(Integer::U32) => "UINT32",
        ElementType::Integer(Integer::U64) => "UINT64",
        ElementType::Half(Half::F16) => "FP16",
        ElementType::Half(Half::Bf16) => "BF16",
        ElementType::Bool => "BOOL",
        ElementType::Text => "BYTES",
    }
}

/// -1 stands for any length.
pub(super) fn dimensions(spec: &TensorSpec) -> Vec<i64> {
    spec.shape.iter().map(|length| length.map_or(-1, |length| length as i64)).collect()
}

/// `X FP32 [-1, 64]`.
pub(super) fn describe(spec: &TensorSpec) -> String {
    format!("{} {} {:?}", spec.name, datatype(spec.element_type), dimensions(spec))
}
