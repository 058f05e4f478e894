//! The binary tensor data extension of the Open Inference Protocol: tensors behind the JSON,
//! little-endian, row-major, without padding; `BYTES` elements with their length (u32) in front.

use crate::tensor::{Data, ElementType, Half, Integer};

/// A datatype of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Fp32,
    Fp64,
    Bf16,
    Bytes,
}

impl Datatype {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "BOOL" => Self::Bool,
            "UINT8" => Self::Uint8,
            "UINT16" => Self::Uint16,
            "UINT32" => Self::Uint32,
            "UINT64" => Self::Uint64,
            "INT8" => Self::Int8,
            "INT16" => Self::Int16,
            "INT32" => Self::Int32,
            "INT64" => Self::Int64,
            "FP16" => Self::Fp16,
            "FP32" => Self::Fp32,
            "FP64" => Self::Fp64,
            "BF16" => Self::Bf16,
            "BYTES" => Self::Bytes,
            _ => return None,
        })
    }
}

/// Elements of `bytes`, widened as [`Data`] has them; the error says what does not fit.
pub(super) fn decode(datatype: Datatype, bytes: &[u8]) -> Result<Data, String> {
    Ok(match datatype {
        Datatype::Bool => Data::Bool(bytes.iter().map(|byte| *byte != 0).collect()),
        Datatype::Uint8 => Data::I64(bytes.iter().map(|byte| i64::from(*byte)).collect()),
        Datatype::Int8 => Data::I64(bytes.iter().map(|byte| i64::from(byte.cast_signed())).collect()),
        Datatype::Uint16 => Data::I64(each(bytes, |b| i64::from(u16::from_le_bytes(b)))?),
        Datatype::Int16 => Data::I64(each(bytes, |b| i64::from(i16::from_le_bytes(b)))?),
        Datatype::Uint32 => Data::I64(each(bytes, |b| i64::from(u32::from_le_bytes(b)))?),
        Datatype::Int32 => Data::I64(each(bytes, |b| i64::from(i32::from_le_bytes(b)))?),
        Datatype::Int64 => Data::I64(each(bytes, i64::from_le_bytes)?),
        Datatype::Uint64 => {
            let wide = each(bytes, |b| i64::try_from(u64::from_le_bytes(b)))?;
            Data::I64(wide.into_iter().collect::<Result<_, _>>().map_err(|_| "a value above 2^63 - 1".to_owned())?)
        }
        Datatype::Fp16 => Data::F32(each(bytes, |b| half::f16::from_le_bytes(b).to_f32())?),
        Datatype::Bf16 => Data::F32(each(bytes, |b| half::bf16::from_le_bytes(b).to_f32())?),
        Datatype::Fp32 => Data::F32(each(bytes, f32::from_le_bytes)?),
        Datatype::Fp64 => Data::F64(each(bytes, f64::from_le_bytes)?),
        Datatype::Bytes => Data::Text(texts(bytes)?),
    })
}

fn each<const N: usize, T>(bytes: &[u8], element: impl Fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    let (chunks, rest) = bytes.as_chunks::<N>();
    if rest.is_empty() {
        Ok(chunks.iter().map(|chunk| element(*chunk)).collect())
    } else {
        Err(format!("{} bytes are not a multiple of {N}", bytes.len()))
    }
}

fn texts(mut bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((text, rest)) = rest.split_at_checked(length) else {
            return Err(format!("element {} has {length} bytes, {} are left", texts.len(), rest.len()));
        };
        let text = std::str::from_utf8(text).map_err(|_| format!("element {} is not UTF-8", texts.len()))?;
        texts.push(text.to_owned());
        bytes = rest;
    }
    if bytes.is_empty() { Ok(texts) } else { Err(format!("{} bytes are left over", bytes.len())) }
}

/// Appends the elements in the width that the model declares.
pub(super) fn encode(out: &mut Vec<u8>, data: &Data, element_type: ElementType) {
    match data {
        Data::F32(values) if element_type == ElementType::Half(Half::F16) => {
            out.extend(values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()));
        }
        Data::F32(values) if element_type == ElementType::Half(Half::Bf16) => {
            out.extend(values.iter().flat_map(|value| half::bf16::from_f32(*value).to_le_bytes()));
        }
        Data::F32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Data::F64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Data::I64(values) => match element_type {
            ElementType::Integer(Integer::I8 | Integer::U8) => out.extend(values.iter().map(|value| *value as u8)),
            ElementType::Integer(Integer::I16 | Integer::U16) => {
                out.extend(values.iter().flat_map(|value| (*value as u16).to_le_bytes()));
            }
            ElementType::I32 | ElementType::Integer(Integer::U32) => {
                out.extend(values.iter().flat_map(|value| (*value as u32).to_le_bytes()));
            }
            _ => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        },
        Data::Bool(values) => out.extend(values.iter().map(|value| u8::from(*value))),
        Data::Text(values) => {
            for value in values {
                out.extend_from_slice(&(value.len() as u32).to_le_bytes());
                out.extend_from_slice(value.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_little_endian_and_widened() {
        assert_eq!(decode(Datatype::Int16, &[0xff, 0xff, 2, 0]).unwrap(), Data::I64(vec![-1, 2]));
        assert_eq!(decode(Datatype::Uint8, &[255]).unwrap(), Data::I64(vec![255]));
        assert_eq!(decode(Datatype::Fp16, &[0x00, 0x3e, 0x00, 0xc0]).unwrap(), Data::F32(vec![1.5, -2.0]));
        assert_eq!(decode(Datatype::Bf16, &[0xc0, 0x3f]).unwrap(), Data::F32(vec![1.5]));
        assert_eq!(
            decode(Datatype::Bytes, b"\x02\0\0\0hi\0\0\0\0").unwrap(),
            Data::Text(vec!["hi".into(), String::new()])
        );
    }

    #[test]
    fn bytes_that_do_not_fit_are_refused_in_words() {
        assert_eq!(decode(Datatype::Fp32, &[0; 5]).unwrap_err(), "5 bytes are not a multiple of 4");
        assert_eq!(decode(Datatype::Bytes, b"\x05\0\0\0hi").unwrap_err(), "element 0 has 5 bytes, 2 are left");
        assert_eq!(decode(Datatype::Bytes, b"\x05\0").unwrap_err(), "2 bytes are left over");
        assert_eq!(decode(Datatype::Uint64, &[255; 8]).unwrap_err(), "a value above 2^63 - 1");
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        use ElementType as Type;
        for (datatype, element_type, data) in [
            (Datatype::Fp32, Type::F32, Data::F32(vec![1.5, -0.0, f32::MAX])),
            (Datatype::Fp16, Type::Half(Half::F16), Data::F32(vec![1.5, -0.0, f32::INFINITY])),
            (Datatype::Bf16, Type::Half(Half::Bf16), Data::F32(vec![1.5, -0.0])),
            (Datatype::Fp64, Type::F64, Data::F64(vec![1.1])),
            (Datatype::Int64, Type::I64, Data::I64(vec![i64::MIN, 7])),
            (Datatype::Int32, Type::I32, Data::I64(vec![i64::from(i32::MIN), 7])),
            (Datatype::Int16, Type::Integer(Integer::I16), Data::I64(vec![-32_768, 7])),
            (Datatype::Int8, Type::Integer(Integer::I8), Data::I64(vec![-128, 7])),
            (Datatype::Uint8, Type::Integer(Integer::U8), Data::I64(vec![255, 7])),
            (Datatype::Uint16, Type::Integer(Integer::U16), Data::I64(vec![65_535])),
            (Datatype::Uint32, Type::Integer(Integer::U32), Data::I64(vec![4_294_967_295])),
            (Datatype::Uint64, Type::Integer(Integer::U64), Data::I64(vec![i64::MAX])),
            (Datatype::Bool, Type::Bool, Data::Bool(vec![true, false])),
            (Datatype::Bytes, Type::Text, Data::Text(vec!["ä".into(), String::new()])),
        ] {
            let mut bytes = Vec::new();
            encode(&mut bytes, &data, element_type);
            assert_eq!(decode(datatype, &bytes).unwrap(), data);
        }
    }
}
