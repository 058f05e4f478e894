//! Operators that look along axes: reductions, `ArgMax`, `Softmax`.

use super::elements::{axis_index, split_at};
use super::execute::{Inputs, Operator, Produced};
use super::node::{Built, Checked, Node, ValueType};
use crate::tensor::{Data, ElementType, Tensor};

const TYPE_DIFFERS: &str = "the input's type is not what the graph declared";

#[derive(Clone, Copy)]
enum Reduction {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    LogSumExp,
    SumSquare,
    L1,
    L2,
}

struct Reduce {
    reduction: Reduction,
    /// `None`: all axes.
    axes: Option<Vec<i64>>,
    keep: bool,
}

pub(super) fn reduce(node: &Node<'_>) -> Checked<Built> {
    let reduction = match node.operator {
        "ReduceSum" => Reduction::Sum,
        "ReduceMean" => Reduction::Mean,
        "ReduceMax" => Reduction::Max,
        "ReduceMin" => Reduction::Min,
        "ReduceProd" => Reduction::Prod,
        "ReduceLogSumExp" => Reduction::LogSumExp,
        "ReduceSumSquare" => Reduction::SumSquare,
        "ReduceL1" => Reduction::L1,
        "ReduceL2" => Reduction::L2,
        other => return Err(format!("'{other}' is no reduction")),
    };
    let value = node.number(0)?;
    if value.is_integer() && matches!(reduction, Reduction::Mean | Reduction::LogSumExp | Reduction::L2) {
        return Err("integers have no such reduction: add a Cast".into());
    }
    // Axes are an attribute up to opset 12 (ReduceSum) or 17 (the others), an input since.
    let axes = match node.constant_integers(1)? {
        Some(axes) => axes,
        None => node.integers("axes")?.to_vec(),
    };
    let keep = node.flag("keepdims", true)?;
    if axes.is_empty() && node.flag("noop_with_empty_axes", false)? {
        return Err("noop_with_empty_axes is supported with axes only".into());
    }
    let axes = Some(axes).filter(|axes| !axes.is_empty());
    let shape = value.shape.as_ref().map(|shape| -> Checked<_> {
        let reduced = reduced_axes(axes.as_deref(), shape.len())?;
        Ok(remaining(shape, &reduced, keep, Some(1)))
    });
    let output = ValueType::new(value.element, shape.transpose()?);
    Ok(Built::one(Reduce { reduction, axes, keep }, output))
}

/// Whether each axis is reduced.
fn reduced_axes(axes: Option<&[i64]>, rank: usize) -> Checked<Vec<bool>> {
    let Some(axes) = axes else { return Ok(vec![true; rank]) };
    let mut reduced = vec![false; rank];
    for &axis in axes {
        reduced[axis_index(axis, rank)?] = true;
    }
    Ok(reduced)
}

fn remaining<T: Copy>(shape: &[T], reduced: &[bool], keep: bool, one: T) -> Vec<T> {
    let axes = shape.iter().zip(reduced);
    if keep {
        axes.map(|(&dim, &reduced)| if reduced { one } else { dim }).collect()
    } else {
        axes.filter(|(_, reduced)| !**reduced).map(|(&dim, _)| dim).collect()
    }
}

/// Collects the elements of each group (same position on the axes that stay) and folds them.
fn fold_groups<T: Copy + Default, R>(
    values: &[T],
    shape: &[usize],
    reduced: &[bool],
    fold: impl Fn(&[T]) -> R,
) -> Vec<R> {
    let size: usize = shape.iter().zip(reduced).map(|(&dim, &reduced)| if reduced { dim } else { 1 }).product();
    let groups: usize = shape.iter().zip(reduced).map(|(&dim, &reduced)| if reduced { 1 } else { dim }).product();
    let first_reduced = reduced.iter().position(|&reduced| reduced).unwrap_or(reduced.len());
    if size > 0 && reduced[first_reduced..].iter().all(|&reduced| reduced) {
        // The last axes: groups lie side by side.
        return values.chunks_exact(size).map(fold).collect();
    }
    let mut gathered = vec![T::default(); values.len()];
    let mut filled = vec![0_usize; groups];
    for (index, &value) in values.iter().enumerate() {
        let (mut rest, mut group, mut stride) = (index, 0, 1);
        for (&dim, &reduced) in shape.iter().zip(reduced).rev() {
            if !reduced {
                group += rest % dim * stride;
                stride *= dim;
            }
            rest /= dim;
        }
        gathered[group * size + filled[group]] = value;
        filled[group] += 1;
    }
    (0..groups).map(|group| fold(&gathered[group * size..(group + 1) * size])).collect()
}

macro_rules! fold_floats {
    ($type:ty, $reduction:expr) => {
        |group: &[$type]| match $reduction {
            Reduction::Sum => group.iter().sum::<$type>(),
            Reduction::Mean => group.iter().sum::<$type>() / group.len() as $type,
            // A NaN in any place is the result.
            Reduction::Max => {
                group.iter().fold(<$type>::NEG_INFINITY, |best, &x| if x > best || x.is_nan() { x } else { best })
            }
            Reduction::Min => {
                group.iter().fold(<$type>::INFINITY, |best, &x| if x < best || x.is_nan() { x } else { best })
            }
            Reduction::Prod => group.iter().product(),
            Reduction::SumSquare => group.iter().map(|x| x * x).sum::<$type>(),
            Reduction::L1 => group.iter().map(|x| x.abs()).sum::<$type>(),
            Reduction::L2 => group.iter().map(|x| x * x).sum::<$type>().sqrt(),
            Reduction::LogSumExp => {
                let best = group.iter().fold(<$type>::NEG_INFINITY, |best, &x| best.max(x));
                let shift = if best.is_finite() { best } else { 0.0 };
                group.iter().map(|&x| (x - shift).exp()).sum::<$type>().ln() + shift
            }
        }
    };
}

impl Operator for Reduce {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let tensor = inputs.get(0)?;
        let shape = &tensor.shape;
        let reduced = reduced_axes(self.axes.as_deref(), shape.len())?;
        if matches!(self.reduction, Reduction::Max | Reduction::Min)
            && shape.iter().zip(&reduced).any(|(&dim, &reduced)| dim == 0 && reduced)
        {
            return Err("the largest or smallest of no elements".into());
        }
        let data = match &tensor.data {
            Data::F32(values) => Data::F32(fold_groups(values, shape, &reduced, fold_floats!(f32, self.reduction))),
            Data::F64(values) => Data::F64(fold_groups(values, shape, &reduced, fold_floats!(f64, self.reduction))),
            Data::I64(values) => Data::I64(fold_groups(values, shape, &reduced, |group: &[i64]| {
                let numbers = group.iter().copied();
                match self.reduction {
                    Reduction::Max => numbers.max().unwrap_or(0),
                    Reduction::Min => numbers.min().unwrap_or(0),
                    Reduction::Prod => numbers.fold(1, i64::wrapping_mul),
                    Reduction::SumSquare => numbers.fold(0_i64, |sum, x| sum.wrapping_add(x.wrapping_mul(x))),
                    Reduction::L1 => numbers.fold(0_i64, |sum, x| sum.wrapping_add(x.wrapping_abs())),
                    _ => numbers.fold(0, i64::wrapping_add),
                }
            })),
            Data::Bool(_) | Data::Text(_) => return Err(TYPE_DIFFERS.into()),
        };
        Ok(Tensor { shape: remaining(shape, &reduced, self.keep, 1), data }.into())
    }
}

/// The position of the largest or smallest.
struct ArgMax {
    smallest: bool,
    axis: i64,
    keep: bool,
    last: bool,
}

pub(super) fn arg_max(node: &Node<'_>) -> Checked<Built> {
    let value = node.number(0)?;
    let axis = node.integer("axis", 0)?;
    let keep = node.flag("keepdims", true)?;
    let last = node.flag("select_last_index", false)?;
    let shape = value.shape.as_ref().map(|shape| -> Checked<_> {
        let reduced = reduced_axes(Some(&[axis]), shape.len())?;
        Ok(remaining(shape, &reduced, keep, Some(1)))
    });
    let output = ValueType::new(ElementType::I64, shape.transpose()?);
    Ok(Built::one(ArgMax { smallest: node.operator == "ArgMin", axis, keep, last }, output))
}

/// The position of the largest or smallest; `last`: of the last one among equals.
fn position_of_best<T: PartialOrd>(values: impl Iterator<Item = T>, smallest: bool, last: bool) -> i64 {
    let mut best: Option<(i64, T)> = None;
    for (index, value) in (0_i64..).zip(values) {
        let better = best
            .as_ref()
            .is_none_or(|(_, best)| if smallest { value < *best } else { value > *best } || (last && value == *best));
        if better {
            best = Some((index, value));
        }
    }
    best.map_or(0, |(index, _)| index)
}

impl Operator for ArgMax {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let tensor = inputs.get(0)?;
        let axis = axis_index(self.axis, tensor.shape.len())?;
        let (outer, length, inner) = split_at(&tensor.shape, axis);
        if length == 0 {
            return Err("the largest or smallest of no elements".into());
        }
        let mut positions = Vec::with_capacity(outer.saturating_mul(inner));
        for block in 0..outer {
            for offset in 0..inner {
                let start = block * length * inner + offset;
                let indices = (0..length).map(|step| start + step * inner);
                positions.push(match &tensor.data {
                    Data::F32(values) => position_of_best(indices.map(|i| values[i]), self.smallest, self.last),
                    Data::F64(values) => position_of_best(indices.map(|i| values[i]), self.smallest, self.last),
                    Data::I64(values) => position_of_best(indices.map(|i| values[i]), self.smallest, self.last),
                    Data::Bool(_) | Data::Text(_) => return Err(TYPE_DIFFERS.into()),
                });
            }
        }
        let reduced: Vec<bool> = (0..tensor.shape.len()).map(|index| index == axis).collect();
        let shape = remaining(&tensor.shape, &reduced, self.keep, 1);
        Ok(Tensor { shape, data: Data::I64(positions) }.into())
    }
}

struct Softmax {
    axis: i64,
    /// Up to opset 12 all axes from `axis` on were one.
    flatten: bool,
    logarithm: bool,
}

pub(super) fn softmax(node: &Node<'_>) -> Checked<Built> {
    let value = node.float(0)?.clone();
    let flatten = node.opset < 13;
    let axis = node.integer("axis", if flatten { 1 } else { -1 })?;
    Ok(Built::one(Softmax { axis, flatten, logarithm: node.operator == "LogSoftmax" }, value))
}

macro_rules! softmax_along {
    ($values:expr, $length:expr, $inner:expr, $logarithm:expr, $type:ty) => {
        for block in $values.chunks_exact_mut(($length * $inner).max(1)) {
            for offset in 0..$inner {
                let mut largest = <$type>::MIN;
                for &value in block.iter().skip(offset).step_by($inner) {
                    largest = if value > largest { value } else { largest };
                }
                let mut sum: $type = 0.0;
                if $logarithm {
                    for &value in block.iter().skip(offset).step_by($inner) {
                        sum += (value - largest).exp();
                    }
                    for value in block.iter_mut().skip(offset).step_by($inner) {
                        *value -= largest + sum.ln();
                    }
                    continue;
                }
                for value in block.iter_mut().skip(offset).step_by($inner) {
                    *value = (*value - largest).exp();
                    sum += *value;
                }
                for value in block.iter_mut().skip(offset).step_by($inner) {
                    *value /= sum;
                }
            }
        }
    };
}

impl Operator for Softmax {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let mut tensor = inputs.take(0)?;
        let axis = axis_index(self.axis, tensor.shape.len())?;
        let (_, length, inner) = split_at(&tensor.shape, axis);
        let (length, inner) = if self.flatten { (length * inner, 1) } else { (length, inner) };
        match &mut tensor.data {
            Data::F32(values) => softmax_along!(values, length, inner, self.logarithm, f32),
            Data::F64(values) => softmax_along!(values, length, inner, self.logarithm, f64),
            _ => return Err(TYPE_DIFFERS.into()),
        }
        Ok(tensor.into())
    }
}
