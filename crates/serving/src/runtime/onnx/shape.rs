//! Operators that move elements without changing them: `Reshape`, `Concat`, `Gather` and their like.

use super::arithmetic::Variant;
use super::elements::{as_f32, as_i64, axis_index, count, map_data, rows_and_columns, split_at};
use super::execute::{Inputs, Operator, Produced};
use super::node::{Built, Checked, Node, ValueType};
use crate::tensor::{Data, ElementType, Tensor};

struct Identity;

pub(super) fn identity(node: &Node<'_>) -> Checked<Built> {
    Ok(Built::one(Identity, node.value(0)?.clone()))
}

impl Operator for Identity {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        Ok(inputs.take(0)?.into())
    }
}

struct Reshape {
    /// 0 in the wanted shape is a length, not "as in the input".
    allow_zero: bool,
}

pub(super) fn reshape(node: &Node<'_>) -> Checked<Built> {
    let value = node.value(0)?;
    let wanted = node.argument(1)?;
    let allow_zero = node.flag("allowzero", false)?;
    let shape = match wanted.constant {
        Some(tensor) => Some(known_reshape(as_i64(tensor)?, value, allow_zero)),
        None if wanted.value.is_integer() => None,
        None => return Err("the wanted shape must be integers".into()),
    };
    Ok(Built::one(Reshape { allow_zero }, ValueType::new(value.element, shape)))
}

/// What is known of the new shape before a run. A constant shape that speaks of one row only
/// still holds for that batch size only, as ONNX demands.
fn known_reshape(wanted: &[i64], value: &ValueType, allow_zero: bool) -> Vec<Option<usize>> {
    let old = |index: usize| value.shape.as_ref().and_then(|shape| shape.get(index).copied().flatten());
    let dimension = |(index, &dim): (usize, &i64)| match dim {
        -1 => None,
        0 if !allow_zero => old(index),
        dim => usize::try_from(dim).ok(),
    };
    wanted.iter().enumerate().map(dimension).collect()
}

fn resolve_shape(wanted: &[i64], old: &[usize], allow_zero: bool) -> Checked<Vec<usize>> {
    let mut free = None;
    let mut shape = Vec::with_capacity(wanted.len());
    for (index, &dim) in wanted.iter().enumerate() {
        shape.push(match dim {
            -1 if free.is_none() => {
                free = Some(index);
                1
            }
            0 if !allow_zero => *old.get(index).ok_or_else(|| format!("no dimension {index} in {old:?}"))?,
            dim => usize::try_from(dim).map_err(|_| format!("dimension {dim} in shape {wanted:?}"))?,
        });
    }
    let (total, known) = (count(old)?, count(&shape)?);
    if let Some(index) = free {
        shape[index] = total.checked_div(known).unwrap_or(0);
    }
    if count(&shape)? == total { Ok(shape) } else { Err(format!("shape {old:?} does not become {wanted:?}")) }
}

impl Operator for Reshape {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let tensor = inputs.take(0)?;
        let shape = resolve_shape(as_i64(inputs.get(1)?)?, &tensor.shape, self.allow_zero)?;
        Ok(Tensor { shape, data: tensor.data }.into())
    }
}

struct Flatten {
    axis: i64,
}

pub(super) fn flatten(node: &Node<'_>) -> Checked<Built> {
    let value = node.value(0)?;
    let axis = node.integer("axis", 1)?;
    Ok(Built::one(Flatten { axis }, ValueType::new(value.element, Some(vec![None, None]))))
}

impl Operator for Flatten {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let tensor = inputs.take(0)?;
        let rank = tensor.shape.len();
        // The axis may also lie behind the last dimension.
        let axis = if i64::try_from(rank) == Ok(self.axis) { rank } else { axis_index(self.axis, rank)? };
        let (rows, columns) = tensor.shape.split_at(axis);
        let shape = vec![rows.iter().product(), columns.iter().product()];
        Ok(Tensor { shape, data: tensor.data }.into())
    }
}

struct Concat {
    axis: i64,
}

pub(super) fn concat(node: &Node<'_>) -> Checked<Built> {
    let first = node.value(0)?;
    let axis = node.integer("axis", 1)?;
    let mut shape = first.shape.clone();
    for index in 1..node.inputs.len() {
        let value = node.value(index)?;
        if value.element != first.element {
            return Err(format!("{:?} and {:?} together: add a Cast", first.element, value.element));
        }
        shape = join_known(shape, value, axis)?;
    }
    Ok(Built::one(Concat { axis }, ValueType::new(first.element, shape)))
}

fn join_known(shape: Option<Vec<Option<usize>>>, value: &ValueType, axis: i64) -> Checked<Option<Vec<Option<usize>>>> {
    let (Some(mut shape), Some(other)) = (shape, value.shape.as_ref()) else { return Ok(None) };
    if shape.len() != other.len() {
        return Err(format!("{} and {} dimensions together", shape.len(), other.len()));
    }
    let axis = axis_index(axis, shape.len())?;
    for (index, (dim, &other)) in shape.iter_mut().zip(other).enumerate() {
        *dim = if index == axis { dim.zip(other).and_then(|(a, b)| a.checked_add(b)) } else { dim.or(other) };
    }
    Ok(Some(shape))
}

/// Copies the parts block by block: block `n` of every part before block `n + 1` of the first.
fn join<T: Variant>(_like: &[T], parts: &[(&Tensor, usize)], outer: usize, total: usize) -> Checked<Vec<T>> {
    let parts = parts
        .iter()
        .map(|(tensor, length)| {
            let values = T::of(&tensor.data).ok_or("inputs of different types")?;
            Ok((values, *length))
        })
        .collect::<Checked<Vec<_>>>()?;
    let mut joined = Vec::with_capacity(total);
    for block in 0..outer {
        for (values, length) in &parts {
            joined.extend_from_slice(&values[block * length..(block + 1) * length]);
        }
    }
    Ok(joined)
}

/// Tensors of one shape as the rows of a new first axis.
pub(super) fn stack(rows: &[Tensor]) -> Checked<Tensor> {
    let first = rows.first().ok_or("no rows")?;
    if let Some(other) = rows.iter().find(|row| row.shape != first.shape) {
        return Err(format!("rows of shape {:?} and {:?}", first.shape, other.shape));
    }
    let shape = [&[rows.len()], first.shape.as_slice()].concat();
    let total = count(&shape)?;
    let parts: Vec<(&Tensor, usize)> = rows.iter().map(|row| (row, row.data.len())).collect();
    let data = map_data!(&first.data, values => join(values, &parts, 1, total)?);
    Ok(Tensor { shape, data })
}

impl Operator for Concat {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let first = inputs.get(0)?;
        let axis = axis_index(self.axis, first.shape.len())?;
        let mut shape = first.shape.clone();
        shape[axis] = 0;
        let mut parts = Vec::with_capacity(inputs.len());
        for index in 0..inputs.len() {
            let part = inputs.get(index)?;
            let fits = part.shape.len() == shape.len()
                && part.shape.iter().zip(&shape).enumerate().all(|(at, (a, b))| at == axis || a == b);
            if !fits {
                return Err(format!("shapes {:?} and {:?} along axis {axis}", first.shape, part.shape));
            }
            shape[axis] += part.shape[axis];
            let (_, length, inner) = split_at(&part.shape, axis);
            parts.push((part, length * inner));
        }
        let (total, outer) = (count(&shape)?, split_at(&shape, axis).0);
        let data = map_data!(&first.data, values => join(values, &parts, outer, total)?);
        Ok(Tensor { shape, data }.into())
    }
}

struct Gather {
    axis: i64,
}

pub(super) fn gather(node: &Node<'_>) -> Checked<Built> {
    let (value, indices) = (node.value(0)?, node.value(1)?);
    if !indices.is_integer() {
        return Err(format!("the indices are {:?}, integers are needed", indices.element));
    }
    let axis = node.integer("axis", 0)?;
    let shape = value.shape.as_ref().zip(indices.shape.as_ref()).map(|(shape, indices)| -> Checked<_> {
        let axis = axis_index(axis, shape.len())?;
        Ok([&shape[..axis], indices, &shape[axis + 1..]].concat())
    });
    Ok(Built::one(Gather { axis }, ValueType::new(value.element, shape.transpose()?)))
}

/// Positions within an axis of `length`, negative ones counted from the end.
fn positions(indices: &[i64], length: usize) -> Checked<Vec<usize>> {
    indices
        .iter()
        .map(|&index| axis_index(index, length).map_err(|_| format!("index {index} of {length} elements")))
        .collect()
}

impl Operator for Gather {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let (tensor, indices) = (inputs.get(0)?, inputs.get(1)?);
        let axis = axis_index(self.axis, tensor.shape.len())?;
        let picked = positions(as_i64(indices)?, tensor.shape[axis])?;
        Ok(pick(tensor, axis, &picked, &indices.shape)?.into())
    }
}

/// What lies at the positions of an axis; `shape` takes the place of the axis.
pub(super) fn pick(tensor: &Tensor, axis: usize, positions: &[usize], shape: &[usize]) -> Checked<Tensor> {
    let (outer, length, inner) = split_at(&tensor.shape, axis);
    let shape = [&tensor.shape[..axis], shape, &tensor.shape[axis + 1..]].concat();
    let total = count(&shape)?;
    let data = map_data!(&tensor.data, values => {
        let mut gathered = Vec::with_capacity(total);
        for block in 0..outer {
            for &position in positions {
                let start = (block * length + position) * inner;
                gathered.extend_from_slice(&values[start..start + inner]);
            }
        }
        gathered
    });
    Ok(Tensor { shape, data })
}

struct ArrayFeatureExtractor;

pub(super) fn array_feature_extractor(node: &Node<'_>) -> Checked<Built> {
    let (value, indices) = (node.value(0)?, node.argument(1)?);
    if !indices.value.is_integer() {
        return Err(format!("the indices are {:?}, integers are needed", indices.value.element));
    }
    let picked = indices.constant.map(|tensor| tensor.data.len());
    let shape = value.shape.as_ref().and_then(|shape| match shape.split_last()? {
        (_, []) => Some(vec![Some(1), picked]),
        (_, leading) => Some([leading, &[picked]].concat()),
    });
    Ok(Built::one(ArrayFeatureExtractor, ValueType::new(value.element, shape)))
}

fn pick_columns<T: Clone>(values: &[T], length: usize, picked: &[usize]) -> Vec<T> {
    let rows = values.chunks_exact(length.max(1));
    rows.flat_map(|row| picked.iter().map(|&at| row[at].clone())).collect()
}

impl Operator for ArrayFeatureExtractor {
    /// Picks elements of the last axis; a vector becomes one row.
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let (tensor, indices) = (inputs.get(0)?, inputs.get(1)?);
        let (&length, leading) = tensor.shape.split_last().ok_or("the input is a scalar")?;
        let indices = as_i64(indices)?;
        if let Some(index) = indices.iter().find(|&&index| index < 0) {
            return Err(format!("index {index} of {length} features"));
        }
        let picked = positions(indices, length)?;
        let rows = if leading.is_empty() { vec![1] } else { leading.to_vec() };
        let shape = [rows.as_slice(), &[picked.len()]].concat();
        count(&shape)?;
        let data = map_data!(&tensor.data, values => pick_columns(values, length, &picked));
        Ok(Tensor { shape, data }.into())
    }
}

/// Columns of several inputs side by side, as 32-bit floats.
struct FeatureVectorizer {
    columns: Vec<usize>,
}

pub(super) fn feature_vectorizer(node: &Node<'_>) -> Checked<Built> {
    let columns = node
        .integers("inputdimensions")?
        .iter()
        .map(|&dim| usize::try_from(dim).map_err(|_| format!("inputdimensions {dim}")))
        .collect::<Checked<Vec<usize>>>()?;
    if columns.len() != node.inputs.len() {
        return Err(format!("{} inputdimensions for {} inputs", columns.len(), node.inputs.len()));
    }
    for index in 0..node.inputs.len() {
        node.number(index)?;
    }
    let total = columns.iter().try_fold(0_usize, |sum, &columns| sum.checked_add(columns));
    let shape = vec![node.value(0)?.rows(), total];
    Ok(Built::one(FeatureVectorizer { columns }, ValueType::new(ElementType::F32, Some(shape))))
}

impl Operator for FeatureVectorizer {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let mut parts = Vec::with_capacity(self.columns.len());
        let mut rows = None;
        let mut total = 0;
        for (index, &wanted) in self.columns.iter().enumerate() {
            let part = inputs.get(index)?;
            let (part_rows, columns) = rows_and_columns(&part.shape)?;
            if columns != wanted || *rows.get_or_insert(part_rows) != part_rows {
                return Err(format!("input {index} of shape {:?}, {wanted} columns wanted", part.shape));
            }
            total += columns;
            parts.push((as_f32(part)?, columns));
        }
        let shape = vec![rows.unwrap_or(0), total];
        let mut joined = Vec::with_capacity(count(&shape)?);
        for row in 0..shape[0] {
            for (values, columns) in &parts {
                joined.extend_from_slice(&values[row * columns..(row + 1) * columns]);
            }
        }
        Ok(Tensor { shape, data: Data::F32(joined) }.into())
    }
}
