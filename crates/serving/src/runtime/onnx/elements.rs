//! Elements of a tensor: counting them under a limit, seeing them as another number type.

use std::borrow::Cow;

use crate::tensor::{Data, Tensor};

/// No tensor of a run may hold more elements: a small graph can multiply its input without end.
pub(super) const MAX_ELEMENTS: usize = 1 << 26;

/// Gives every variant of [`Data`] the same treatment and keeps the variant.
macro_rules! map_data {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::tensor::Data::F32($values) => $crate::tensor::Data::F32($body),
            $crate::tensor::Data::F64($values) => $crate::tensor::Data::F64($body),
            $crate::tensor::Data::I64($values) => $crate::tensor::Data::I64($body),
            $crate::tensor::Data::Bool($values) => $crate::tensor::Data::Bool($body),
            $crate::tensor::Data::Text($values) => $crate::tensor::Data::Text($body),
        }
    };
}
pub(super) use map_data;

/// The number of elements of `shape`, refused above [`MAX_ELEMENTS`].
pub(super) fn count(shape: &[usize]) -> Result<usize, String> {
    shape
        .iter()
        .try_fold(1_usize, |product, &dim| product.checked_mul(dim))
        .filter(|&product| product <= MAX_ELEMENTS)
        .ok_or_else(|| format!("shape {shape:?} has more than {MAX_ELEMENTS} elements: send smaller batches"))
}

/// Rows and columns as the ai.onnx.ml operators see them: `[C]` is one row, `[N, C]` is N rows.
pub(super) fn rows_and_columns(shape: &[usize]) -> Result<(usize, usize), String> {
    match *shape {
        [columns] => Ok((1, columns)),
        [rows, columns] => Ok((rows, columns)),
        _ => Err(format!("shape {shape:?} where [rows, features] is needed")),
    }
}

/// Numbers as `f32`; text is an error.
pub(super) fn as_f32(tensor: &Tensor) -> Result<Cow<'_, [f32]>, String> {
    match &tensor.data {
        Data::F32(values) => Ok(Cow::Borrowed(values)),
        Data::F64(values) => Ok(values.iter().map(|&value| value as f32).collect()),
        Data::I64(values) => Ok(values.iter().map(|&value| value as f32).collect()),
        Data::Bool(values) => Ok(values.iter().map(|&value| f32::from(u8::from(value))).collect()),
        Data::Text(_) => Err("text where numbers are needed".into()),
    }
}

/// Numbers as `f64`; text is an error.
pub(super) fn as_f64(tensor: &Tensor) -> Result<Cow<'_, [f64]>, String> {
    match &tensor.data {
        Data::F64(values) => Ok(Cow::Borrowed(values)),
        Data::F32(values) => Ok(values.iter().map(|&value| f64::from(value)).collect()),
        Data::I64(values) => Ok(values.iter().map(|&value| value as f64).collect()),
        Data::Bool(values) => Ok(values.iter().map(|&value| f64::from(u8::from(value))).collect()),
        Data::Text(_) => Err("text where numbers are needed".into()),
    }
}

/// Integers (shapes, axes, indices); anything else is an error.
pub(super) fn as_i64(tensor: &Tensor) -> Result<&[i64], String> {
    match &tensor.data {
        Data::I64(values) => Ok(values),
        other => Err(format!("{:?} where integers are needed", other.element_type())),
    }
}

/// Float to integer as x86-64 does it: towards zero, NaN and what does not fit become `i64::MIN`.
pub(super) fn truncate(value: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) { value as i64 } else { i64::MIN }
}

/// `axis` of a tensor with `rank` dimensions, negative ones counted from the end.
pub(super) fn axis_index(axis: i64, rank: usize) -> Result<usize, String> {
    let rank_signed = i64::try_from(rank).map_err(|_| "rank too large".to_owned())?;
    let index = if axis < 0 { axis.saturating_add(rank_signed) } else { axis };
    usize::try_from(index)
        .ok()
        .filter(|&index| index < rank)
        .ok_or_else(|| format!("axis {axis} of a tensor with {rank} dimensions"))
}

/// The shape cut at `axis`: how many blocks, how long the axis, how many elements behind it.
pub(super) fn split_at(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    let outer = shape[..axis].iter().product();
    let inner = shape[axis + 1..].iter().product();
    (outer, shape[axis], inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_that_overflows_is_refused() {
        assert_eq!(count(&[3, 0, 5]), Ok(0));
        assert!(count(&[usize::MAX, 2]).is_err());
        assert!(count(&[1_000_000_000]).is_err());
    }

    #[test]
    fn truncation_follows_the_processor() {
        assert_eq!(truncate(-2.9), -2);
        assert_eq!(truncate(f64::NAN), i64::MIN);
        assert_eq!(truncate(1e30), i64::MIN);
    }
}
