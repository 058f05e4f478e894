//! `Cast` between element types.

use super::elements::truncate;
use super::execute::{Inputs, Operator, Produced};
use super::initializer;
use super::node::{Built, Checked, Node, ValueType};
use crate::tensor::{Data, ElementType, Tensor};

struct Cast {
    to: ElementType,
}

pub(super) fn cast(node: &Node<'_>) -> Checked<Built> {
    let input = node.value(0)?;
    let to = i32::try_from(node.integer("to", 0)?).map_err(|_| "'to' is no data type".to_owned())?;
    let to = initializer::element_type(to)?;
    if to == ElementType::Text && (input.is_float() || input.element == ElementType::Bool) {
        return Err(format!("Cast of {:?} to text is not supported: cast to INT64 first", input.element));
    }
    if to == ElementType::Bool && input.element == ElementType::Text {
        return Err("Cast of text to BOOL is not supported: compare with Equal".into());
    }
    Ok(Built::one(Cast { to }, ValueType::new(to, input.shape.clone())))
}

impl Operator for Cast {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let Tensor { shape, data } = inputs.take(0)?;
        let data = match self.to {
            ElementType::F32 | ElementType::Half(_) => Data::F32(to_f32(data)?),
            ElementType::F64 => Data::F64(to_f64(data)?),
            ElementType::I64 | ElementType::Integer(_) => Data::I64(to_i64(data)?),
            ElementType::I32 => Data::I64(to_i64(data)?.into_iter().map(|value| i64::from(value as i32)).collect()),
            ElementType::Bool => Data::Bool(to_bool(data)?),
            ElementType::Text => Data::Text(to_text(data)?),
        };
        Ok(Tensor { shape, data }.into())
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> Checked<T> {
    text.trim().parse().map_err(|_| format!("'{}' is no number", text.chars().take(40).collect::<String>()))
}

fn to_f32(data: Data) -> Checked<Vec<f32>> {
    Ok(match data {
        Data::F32(values) => values,
        Data::F64(values) => values.into_iter().map(|value| value as f32).collect(),
        Data::I64(values) => values.into_iter().map(|value| value as f32).collect(),
        Data::Bool(values) => values.into_iter().map(|value| f32::from(u8::from(value))).collect(),
        Data::Text(values) => values.iter().map(|text| parse(text)).collect::<Checked<_>>()?,
    })
}

fn to_f64(data: Data) -> Checked<Vec<f64>> {
    Ok(match data {
        Data::F64(values) => values,
        Data::F32(values) => values.into_iter().map(f64::from).collect(),
        Data::I64(values) => values.into_iter().map(|value| value as f64).collect(),
        Data::Bool(values) => values.into_iter().map(|value| f64::from(u8::from(value))).collect(),
        Data::Text(values) => values.iter().map(|text| parse(text)).collect::<Checked<_>>()?,
    })
}

fn to_i64(data: Data) -> Checked<Vec<i64>> {
    Ok(match data {
        Data::I64(values) => values,
        Data::F32(values) => values.into_iter().map(|value| truncate(value.into())).collect(),
        Data::F64(values) => values.into_iter().map(truncate).collect(),
        Data::Bool(values) => values.into_iter().map(i64::from).collect(),
        Data::Text(values) => values.iter().map(|text| parse(text)).collect::<Checked<_>>()?,
    })
}

fn to_bool(data: Data) -> Checked<Vec<bool>> {
    Ok(match data {
        Data::Bool(values) => values,
        Data::F32(values) => values.into_iter().map(|value| value != 0.0).collect(),
        Data::F64(values) => values.into_iter().map(|value| value != 0.0).collect(),
        Data::I64(values) => values.into_iter().map(|value| value != 0).collect(),
        Data::Text(_) => return Err("text is not cast to BOOL".into()),
    })
}

fn to_text(data: Data) -> Checked<Vec<String>> {
    match data {
        Data::Text(values) => Ok(values),
        Data::I64(values) => Ok(values.iter().map(ToString::to_string).collect()),
        other => Err(format!("{:?} is not cast to text", other.element_type())),
    }
}
