//! Operators about the shape of a tensor: `Transpose`, `Squeeze`, `Unsqueeze`, `Shape`, `Expand` and their like.

use super::arithmetic::copies;
use super::broadcast::{Reading, common_shape};
use super::elements::{as_i64, axis_index, count, map_data};
use super::execute::{Inputs, Operator, Produced};
use super::node::{Built, Checked, Node, ValueType};
use crate::tensor::{Data, ElementType, Tensor};

struct Transpose {
    /// `None`: all axes in reverse.
    axes: Option<Vec<usize>>,
}

impl Transpose {
    fn order(&self, rank: usize) -> Checked<Vec<usize>> {
        let Some(axes) = &self.axes else { return Ok((0..rank).rev().collect()) };
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        if sorted.iter().copied().eq(0..rank) {
            Ok(axes.clone())
        } else {
            Err(format!("'perm' {axes:?} of a tensor with {rank} dimensions"))
        }
    }
}

pub(super) fn transpose(node: &Node<'_>) -> Checked<Built> {
    let value = node.value(0)?;
    let axes = node
        .integers("perm")?
        .iter()
        .map(|&axis| usize::try_from(axis).map_err(|_| format!("axis {axis} in 'perm'")))
        .collect::<Checked<Vec<usize>>>()?;
    let transpose = Transpose { axes: node.has("perm").then_some(axes) };
    let shape = value
        .shape
        .as_ref()
        .map(|shape| -> Checked<_> { Ok(transpose.order(shape.len())?.into_iter().map(|axis| shape[axis]).collect()) });
    let output = ValueType::new(value.element, shape.transpose()?);
    Ok(Built::one(transpose, output))
}

/// Elements in the order of `shape`, whose dimensions lie `strides` apart.
fn strided<T: Clone>(values: &[T], shape: &[usize], strides: &[usize]) -> Vec<T> {
    let total = shape.iter().product();
    let mut moved = Vec::with_capacity(total);
    let mut position = vec![0_usize; shape.len()];
    let mut offset = 0;
    for _ in 0..total {
        moved.push(values[offset].clone());
        for axis in (0..shape.len()).rev() {
            position[axis] += 1;
            offset += strides[axis];
            if position[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis];
            position[axis] = 0;
        }
    }
    moved
}

/// How far apart neighbours of each axis lie.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

impl Operator for Transpose {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let tensor = inputs.get(0)?;
        let order = self.order(tensor.shape.len())?;
        let from = strides(&tensor.shape);
        let shape: Vec<usize> = order.iter().map(|&axis| tensor.shape[axis]).collect();
        let steps: Vec<usize> = order.iter().map(|&axis| from[axis]).collect();
        let data = map_data!(&tensor.data, values => strided(values, &shape, &steps));
        Ok(Tensor { shape, data }.into())
    }
}

/// `Squeeze` and `Unsqueeze`; the axes are an attribute up to opset 12, an input since.
struct Axes {
    axes: Vec<i64>,
    insert: bool,
}

impl Axes {
    fn apply<T: Copy + PartialEq>(&self, shape: &[T], one: T, is_one: impl Fn(T) -> bool) -> Checked<Vec<T>> {
        let rank = shape.len() + if self.insert { self.axes.len() } else { 0 };
        let mut chosen = vec![false; rank];
        for &axis in &self.axes {
            let axis = axis_index(axis, rank)?;
            if std::mem::replace(&mut chosen[axis], true) {
                return Err(format!("axis {axis} twice in {:?}", self.axes));
            }
        }
        if self.insert {
            let mut rest = shape.iter().copied();
            return Ok(chosen.into_iter().map(|new| if new { one } else { rest.next().unwrap_or(one) }).collect());
        }
        if self.axes.is_empty() {
            return Ok(shape.iter().copied().filter(|&dim| !is_one(dim)).collect());
        }
        let kept = shape.iter().zip(&chosen).filter(|(_, gone)| !**gone).map(|(&dim, _)| dim).collect();
        match shape.iter().zip(&chosen).position(|(&dim, &gone)| gone && !is_one(dim)) {
            Some(axis) => Err(format!("axis {axis} is not 1 long")),
            None => Ok(kept),
        }
    }
}

pub(super) fn axes(node: &Node<'_>) -> Checked<Built> {
    let value = node.value(0)?;
    let axes = match node.constant_integers(1)? {
        Some(axes) => axes,
        None => node.integers("axes")?.to_vec(),
    };
    let axes = Axes { axes, insert: node.operator == "Unsqueeze" };
    if axes.insert && axes.axes.is_empty() {
        return Err("axes are missing".into());
    }
    let shape = match &value.shape {
        // Without axes, an unknown length may be 1 and vanish.
        Some(shape) if !axes.axes.is_empty() => {
            Some(axes.apply(shape, Some(1), |dim| dim.is_none_or(|length| length == 1))?)
        }
        _ => None,
    };
    let output = ValueType::new(value.element, shape);
    Ok(Built::one(axes, output))
}

impl Operator for Axes {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let tensor = inputs.take(0)?;
        let shape = self.apply(&tensor.shape, 1, |dim| dim == 1)?;
        Ok(Tensor { shape, data: tensor.data }.into())
    }
}

/// The shape itself, from `start` to `end`.
struct Shape {
    start: i64,
    end: Option<i64>,
}

pub(super) fn shape(node: &Node<'_>) -> Checked<Built> {
    node.value(0)?;
    let end = if node.has("end") { Some(node.integer("end", 0)?) } else { None };
    let shape = Shape { start: node.integer("start", 0)?, end };
    Ok(Built::one(shape, ValueType::new(ElementType::I64, Some(vec![None]))))
}

/// `index` within `0..=rank`, counted from the end when it is negative.
fn bounded(index: i64, rank: usize) -> usize {
    let rank_signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let index = if index < 0 { index.saturating_add(rank_signed) } else { index };
    usize::try_from(index.clamp(0, rank_signed)).unwrap_or(rank)
}

fn lengths(shape: &[usize]) -> Checked<Vec<i64>> {
    shape.iter().map(|&dim| i64::try_from(dim).map_err(|_| format!("dimension {dim}"))).collect()
}

impl Operator for Shape {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let shape = &inputs.get(0)?.shape;
        let end = self.end.map_or(shape.len(), |end| bounded(end, shape.len()));
        let dims = lengths(shape.get(bounded(self.start, shape.len())..end).unwrap_or(&[]))?;
        Ok(Tensor { shape: vec![dims.len()], data: Data::I64(dims) }.into())
    }
}

/// Copies of one value in a computed shape.
struct ConstantOfShape {
    value: Tensor,
}

pub(super) fn constant_of_shape(node: &Node<'_>) -> Checked<Built> {
    let wanted = node.argument(0)?;
    if !wanted.value.is_integer() {
        return Err("the wanted shape must be integers".into());
    }
    let value = node.tensor("value")?.unwrap_or(Tensor { shape: vec![1], data: Data::F32(vec![0.0]) });
    if value.data.len() != 1 {
        return Err(format!("'value' has {} elements, 1 is needed", value.data.len()));
    }
    let output = ValueType::new(value.data.element_type(), None);
    Ok(Built::one(ConstantOfShape { value }, output))
}

fn wanted_shape(tensor: &Tensor) -> Checked<Vec<usize>> {
    let dims = as_i64(tensor)?.iter().map(|&dim| usize::try_from(dim).map_err(|_| format!("dimension {dim}")));
    let shape = dims.collect::<Checked<Vec<usize>>>()?;
    count(&shape)?;
    Ok(shape)
}

impl Operator for ConstantOfShape {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let shape = wanted_shape(inputs.get(0)?)?;
        let total = count(&shape)?;
        let data = map_data!(&self.value.data, values => copies(total, |_| &values[0]));
        Ok(Tensor { shape, data }.into())
    }
}

/// Broadcasts to a computed shape.
struct Expand;

pub(super) fn expand(node: &Node<'_>) -> Checked<Built> {
    let value = node.value(0)?;
    if !node.value(1)?.is_integer() {
        return Err("the wanted shape must be integers".into());
    }
    Ok(Built::one(Expand, ValueType::new(value.element, None)))
}

impl Operator for Expand {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let tensor = inputs.get(0)?;
        let shape = common_shape(&tensor.shape, &wanted_shape(inputs.get(1)?)?)?;
        let reading = Reading::new(&tensor.shape, &shape);
        let total = count(&shape)?;
        let data = map_data!(&tensor.data, values => copies(total, |at| &values[reading.at(at)]));
        Ok(Tensor { shape, data }.into())
    }
}

/// What is left of an axis.
#[derive(Clone, Copy)]
struct Cut {
    start: i64,
    end: i64,
    /// `None`: the axis of this place.
    axis: Option<i64>,
    step: i64,
}

struct Slice {
    /// Before opset 10; inputs since.
    attributes: Option<Vec<Cut>>,
}

pub(super) fn slice(node: &Node<'_>) -> Checked<Built> {
    let value = node.value(0)?;
    let attributes = if node.opset < 10 {
        Some(cuts(node.integers("starts")?, node.integers("ends")?, Some(node.integers("axes")?), None)?)
    } else {
        for index in 1..node.inputs.len() {
            if node.optional(index).is_some_and(|argument| !argument.value.is_integer()) {
                return Err(format!("input {index} must be integers"));
            }
        }
        None
    };
    let shape = value.shape.as_ref().map(|shape| vec![None; shape.len()]);
    Ok(Built::one(Slice { attributes }, ValueType::new(value.element, shape)))
}

fn cuts(starts: &[i64], ends: &[i64], axes: Option<&[i64]>, steps: Option<&[i64]>) -> Checked<Vec<Cut>> {
    let axes = axes.filter(|axes| !axes.is_empty());
    let fits = |list: Option<&[i64]>| list.is_none_or(|list| list.len() == starts.len());
    if ends.len() != starts.len() || !fits(axes) || !fits(steps) {
        return Err("starts, ends, axes and steps of different lengths".into());
    }
    let at = |index: usize| Cut {
        start: starts[index],
        end: ends[index],
        axis: axes.map(|axes| axes[index]),
        step: steps.map_or(1, |steps| steps[index]),
    };
    Ok((0..starts.len()).map(at).collect())
}

/// The positions from `start` to `end` of an axis, as Python slices have them.
fn sliced(start: i64, end: i64, step: i64, length: usize) -> Checked<Vec<usize>> {
    let length = i64::try_from(length).map_err(|_| "axis too long")?;
    let absolute = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let (mut at, end) = (absolute(start).clamp(low, high), absolute(end).clamp(low, high));
    let mut positions = Vec::new();
    while if step > 0 { at < end } else { at > end } {
        positions.push(usize::try_from(at).map_err(|_| format!("position {at}"))?);
        at = at.saturating_add(step);
    }
    Ok(positions)
}

impl Operator for Slice {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let cuts = if let Some(cuts) = &self.attributes {
            cuts.clone()
        } else {
            let list = |index: usize| inputs.optional(index).map(as_i64).transpose();
            cuts(as_i64(inputs.get(1)?)?, as_i64(inputs.get(2)?)?, list(3)?, list(4)?)?
        };
        let mut tensor = inputs.take(0)?;
        for (index, Cut { start, end, axis, step }) in cuts.into_iter().enumerate() {
            let axis = match axis {
                Some(axis) => axis_index(axis, tensor.shape.len())?,
                None if index < tensor.shape.len() => index,
                None => return Err(format!("{} dimensions are fewer than the cuts", tensor.shape.len())),
            };
            if step == 0 {
                return Err("a step of 0".into());
            }
            let picked = sliced(start, end, step, tensor.shape[axis])?;
            tensor = super::shape::pick(&tensor, axis, &picked, &[picked.len()])?;
        }
        Ok(tensor.into())
    }
}
