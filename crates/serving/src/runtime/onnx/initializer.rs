//! Constants of a graph: `TensorProto` to [`Tensor`], never trusting the sizes that the file claims.

use super::elements;
use super::node::Checked;
use super::proto::{TensorProto, data_type};
use crate::tensor::{Data, ElementType, Tensor};

/// The element type of `TensorProto.DataType`, or what to do about one that we do not have.
pub(super) fn element_type(data_type: i32) -> Checked<ElementType> {
    match data_type {
        data_type::FLOAT => Ok(ElementType::F32),
        data_type::DOUBLE => Ok(ElementType::F64),
        data_type::INT64 => Ok(ElementType::I64),
        data_type::INT32 => Ok(ElementType::I32),
        data_type::BOOL => Ok(ElementType::Bool),
        data_type::STRING => Ok(ElementType::Text),
        other => Err(format!(
            "element type {} is not supported: export with FLOAT, DOUBLE, INT64, INT32, BOOL or \
             STRING",
            data_type::name(other)
        )),
    }
}

/// Decodes a constant. The number of elements must be what the file really holds, so nothing is
/// allocated on the word of `dims`.
pub(super) fn read(proto: &TensorProto) -> Checked<(Tensor, ElementType)> {
    if proto.data_location != 0 {
        return Err("numbers in an external file are not supported: save the model with \
                    save_as_external_data=False"
            .into());
    }
    let shape = proto
        .dims
        .iter()
        .map(|&dim| usize::try_from(dim).map_err(|_| format!("negative dimension {dim}")))
        .collect::<Checked<Vec<usize>>>()?;
    let elements = elements::count(&shape)?;
    let raw = proto.raw_data.as_deref().filter(|raw| !raw.is_empty());
    let (element, data) = match proto.data_type {
        data_type::FLOAT => (
            ElementType::F32,
            Data::F32(match raw {
                Some(raw) => fixed(raw, f32::from_le_bytes)?,
                None => proto.float_data.clone(),
            }),
        ),
        data_type::DOUBLE => (
            ElementType::F64,
            Data::F64(match raw {
                Some(raw) => fixed(raw, f64::from_le_bytes)?,
                None => proto.double_data.clone(),
            }),
        ),
        data_type::INT64 => (
            ElementType::I64,
            Data::I64(match raw {
                Some(raw) => fixed(raw, i64::from_le_bytes)?,
                None => proto.int64_data.clone(),
            }),
        ),
        data_type::INT32 => (
            ElementType::I32,
            Data::I64(match raw {
                Some(raw) => fixed(raw, |bytes| i64::from(i32::from_le_bytes(bytes)))?,
                None => proto.int32_data.iter().copied().map(i64::from).collect(),
            }),
        ),
        // The modes of `TreeEnsemble` come as bytes.
        data_type::UINT8 => (
            ElementType::I32,
            Data::I64(match raw {
                Some(raw) => raw.iter().copied().map(i64::from).collect(),
                None => proto.int32_data.iter().copied().map(i64::from).collect(),
            }),
        ),
        data_type::BOOL => (
            ElementType::Bool,
            Data::Bool(match raw {
                Some(raw) => raw.iter().map(|&byte| byte != 0).collect(),
                None => proto.int32_data.iter().map(|&value| value != 0).collect(),
            }),
        ),
        data_type::STRING => {
            let texts = proto
                .string_data
                .iter()
                .map(|bytes| String::from_utf8(bytes.clone()).map_err(|_| "text is not UTF-8".to_owned()));
            (ElementType::Text, Data::Text(texts.collect::<Checked<_>>()?))
        }
        other => {
            element_type(other)?;
            return Err("a constant without data".into());
        }
    };
    if data.len() != elements {
        return Err(format!("shape {shape:?} claims {elements} elements, {} given", data.len()));
    }
    Ok((Tensor { shape, data }, element))
}

/// Little-endian numbers of `N` bytes each.
fn fixed<const N: usize, T>(raw: &[u8], decode: impl Fn([u8; N]) -> T) -> Checked<Vec<T>> {
    let (numbers, rest) = raw.as_chunks::<N>();
    if rest.is_empty() {
        Ok(numbers.iter().map(|&bytes| decode(bytes)).collect())
    } else {
        Err(format!("{} raw bytes are no multiple of {N}", raw.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_billion_claimed_elements_are_refused_without_allocating() {
        let proto = TensorProto { dims: vec![1_000_000_000], data_type: data_type::FLOAT, ..TensorProto::default() };
        assert!(read(&proto).unwrap_err().contains("more than"));
        let proto = TensorProto { dims: vec![1_000], ..proto };
        assert_eq!(read(&proto).unwrap_err(), "shape [1000] claims 1000 elements, 0 given");
    }

    #[test]
    fn half_floats_are_refused_with_what_works() {
        let proto = TensorProto { data_type: 10, ..TensorProto::default() };
        assert!(read(&proto).unwrap_err().contains("FLOAT16 is not supported: export with FLOAT"));
    }
}
