//! Operators about the order of elements along an axis: `TopK`, `CumSum`, `GatherElements`.

use std::cmp::Ordering;

use super::arithmetic::Variant;
use super::elements::{as_i64, axis_index, count, map_data, split_at};
use super::execute::{Inputs, Operator, Produced};
use super::node::{Built, Checked, Node, ValueType};
use crate::tensor::{Data, ElementType, Tensor};

const TYPE_DIFFERS: &str = "the input's type is not what the graph declared";

struct TopK {
    axis: i64,
    largest: bool,
}

pub(super) fn top_k(node: &Node<'_>) -> Checked<Built> {
    let value = node.number(0)?;
    let wanted = node.argument(1)?;
    if !wanted.value.is_integer() {
        return Err("K must be an integer".into());
    }
    let axis = node.integer("axis", -1)?;
    let largest = node.flag("largest", true)?;
    let k = wanted.constant.and_then(|tensor| as_i64(tensor).ok()?.first().copied());
    let shape = value.shape.as_ref().map(|shape| -> Checked<_> {
        let mut shape = shape.clone();
        let axis = axis_index(axis, shape.len())?;
        shape[axis] = k.and_then(|k| usize::try_from(k).ok());
        Ok(shape)
    });
    let shape = shape.transpose()?;
    let outputs = vec![ValueType::new(value.element, shape.clone()), ValueType::new(ElementType::I64, shape)];
    Ok(Built { operator: Box::new(TopK { axis, largest }), outputs, class_labels: None })
}

/// Positions of the first `k` in order; among equals the first one comes first, a NaN last.
fn first_positions<T: PartialOrd + Copy>(values: &[T], k: usize, largest: bool) -> Vec<usize> {
    let compare = |&a: &usize, &b: &usize| {
        let (x, y) = (values[a], values[b]);
        let order = x.partial_cmp(&y).unwrap_or_else(|| {
            let nan = |value: T| value.partial_cmp(&value).is_none();
            let order = nan(x).cmp(&nan(y));
            if largest { order.reverse() } else { order }
        });
        let order = if largest { order.reverse() } else { order };
        if order == Ordering::Equal { a.cmp(&b) } else { order }
    };
    let mut positions: Vec<usize> = (0..values.len()).collect();
    if k > 0 && k < positions.len() {
        positions.select_nth_unstable_by(k - 1, compare);
    }
    positions.truncate(k);
    positions.sort_unstable_by(compare);
    positions
}

/// Values and positions of the first `k` along the middle of three axes.
fn top<T: PartialOrd + Copy>(
    values: &[T],
    (outer, length, inner): (usize, usize, usize),
    k: usize,
    largest: bool,
) -> (Vec<T>, Vec<usize>) {
    let total = outer * k * inner;
    let Some(&any) = values.first() else { return (Vec::new(), Vec::new()) };
    let (mut found, mut places) = (vec![any; total], vec![0; total]);
    let mut line = Vec::with_capacity(length);
    for block in 0..outer {
        for offset in 0..inner {
            line.clear();
            line.extend((0..length).map(|at| values[(block * length + at) * inner + offset]));
            for (rank, position) in first_positions(&line, k, largest).into_iter().enumerate() {
                let at = (block * k + rank) * inner + offset;
                found[at] = line[position];
                places[at] = position;
            }
        }
    }
    (found, places)
}

impl Operator for TopK {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let (tensor, wanted) = (inputs.get(0)?, inputs.get(1)?);
        let axis = axis_index(self.axis, tensor.shape.len())?;
        let parts = split_at(&tensor.shape, axis);
        let k = match as_i64(wanted)? {
            &[k] => usize::try_from(k).ok().filter(|&k| k <= parts.1),
            _ => None,
        };
        let k = k.ok_or_else(|| format!("the first {:?} of {} elements", wanted.data, parts.1))?;
        let mut shape = tensor.shape.clone();
        shape[axis] = k;
        count(&shape)?;
        let (data, places) = match &tensor.data {
            Data::F32(values) => {
                let (found, places) = top(values, parts, k, self.largest);
                (Data::F32(found), places)
            }
            Data::F64(values) => {
                let (found, places) = top(values, parts, k, self.largest);
                (Data::F64(found), places)
            }
            Data::I64(values) => {
                let (found, places) = top(values, parts, k, self.largest);
                (Data::I64(found), places)
            }
            Data::Bool(_) | Data::Text(_) => return Err(TYPE_DIFFERS.into()),
        };
        let places = places.into_iter().map(|place| place as i64).collect();
        Ok(Produced::Two(Tensor { shape: shape.clone(), data }, Tensor { shape, data: Data::I64(places) }))
    }
}

struct CumSum {
    exclusive: bool,
    reverse: bool,
}

pub(super) fn cum_sum(node: &Node<'_>) -> Checked<Built> {
    let value = node.number(0)?.clone();
    if !node.value(1)?.is_integer() {
        return Err("the axis must be an integer".into());
    }
    let cum_sum = CumSum { exclusive: node.flag("exclusive", false)?, reverse: node.flag("reverse", false)? };
    Ok(Built::one(cum_sum, value))
}

impl CumSum {
    fn sums<T: Copy + Default>(
        &self,
        values: &mut [T],
        (outer, length, inner): (usize, usize, usize),
        add: impl Fn(T, T) -> T,
    ) {
        for block in 0..outer {
            for offset in 0..inner {
                let mut sum = T::default();
                for step in 0..length {
                    let at = if self.reverse { length - 1 - step } else { step };
                    let value = &mut values[(block * length + at) * inner + offset];
                    let before = sum;
                    sum = add(sum, *value);
                    *value = if self.exclusive { before } else { sum };
                }
            }
        }
    }
}

impl Operator for CumSum {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let &[axis] = as_i64(inputs.get(1)?)? else { return Err("the axis must be one integer".into()) };
        let mut tensor = inputs.take(0)?;
        let parts = split_at(&tensor.shape, axis_index(axis, tensor.shape.len())?);
        match &mut tensor.data {
            Data::F32(values) => self.sums(values, parts, |a, b| a + b),
            Data::F64(values) => self.sums(values, parts, |a, b| a + b),
            Data::I64(values) => self.sums(values, parts, i64::wrapping_add),
            Data::Bool(_) | Data::Text(_) => return Err(TYPE_DIFFERS.into()),
        }
        Ok(tensor.into())
    }
}

struct GatherElements {
    axis: i64,
}

pub(super) fn gather_elements(node: &Node<'_>) -> Checked<Built> {
    let (value, indices) = (node.value(0)?, node.value(1)?);
    if !indices.is_integer() {
        return Err(format!("the indices are {:?}, integers are needed", indices.element));
    }
    let axis = node.integer("axis", 0)?;
    Ok(Built::one(GatherElements { axis }, ValueType::new(value.element, indices.shape.clone())))
}

/// The element of `values` at each place.
fn at<T: Variant>(values: &[T], places: &[usize]) -> Checked<Vec<T>> {
    let element = |&place: &usize| values.get(place).cloned().ok_or_else(|| "an index out of range".to_owned());
    places.iter().map(element).collect()
}

impl Operator for GatherElements {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let (tensor, indices) = (inputs.get(0)?, inputs.get(1)?);
        let axis = axis_index(self.axis, tensor.shape.len())?;
        let fits = tensor.shape.len() == indices.shape.len()
            && tensor.shape.iter().zip(&indices.shape).enumerate().all(|(at, (a, b))| at == axis || a == b);
        if !fits {
            return Err(format!("indices of shape {:?} into {:?}", indices.shape, tensor.shape));
        }
        let (_, picked, inner) = split_at(&indices.shape, axis);
        let length = tensor.shape[axis];
        let mut places = Vec::with_capacity(indices.data.len());
        for (position, &index) in as_i64(indices)?.iter().enumerate() {
            let index = axis_index(index, length).map_err(|_| format!("index {index} of {length} elements"))?;
            let (block, offset) = (position / (picked * inner), position % inner);
            places.push((block * length + index) * inner + offset);
        }
        let data = map_data!(&tensor.data, values => at(values, &places)?);
        Ok(Tensor { shape: indices.shape.clone(), data }.into())
    }
}

/// Distances between the rows of two tables: `CDist` of ONNX Runtime's own domain.
struct Distances {
    squared: bool,
}

pub(super) fn distances(node: &Node<'_>) -> Checked<Built> {
    let (a, b) = (node.float(0)?, node.float(1)?);
    if a.element != b.element {
        return Err(format!("inputs of different types, {:?} and {:?}: add a Cast", a.element, b.element));
    }
    let squared = match node.text("metric", "sqeuclidean")?.as_str() {
        "sqeuclidean" => true,
        "euclidean" => false,
        other => return Err(format!("metric '{other}' is not one of euclidean, sqeuclidean")),
    };
    let output = ValueType::new(a.element, Some(vec![a.rows(), b.rows()]));
    Ok(Built::one(Distances { squared }, output))
}

macro_rules! distances {
    ($a:expr, $b:expr, $columns:expr, $squared:expr, $type:ty) => {{
        let width = $columns.max(1);
        let mut all: Vec<$type> = Vec::with_capacity($a.len() / width * ($b.len() / width));
        for x in $a.chunks_exact(width) {
            for y in $b.chunks_exact(width) {
                let sum = x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<$type>();
                all.push(if $squared { sum } else { sum.sqrt() });
            }
        }
        all
    }};
}

impl Operator for Distances {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let (&[rows, columns], &[others, width]) = (a.shape.as_slice(), b.shape.as_slice()) else {
            return Err(format!("shapes {:?} and {:?} where two tables are needed", a.shape, b.shape));
        };
        if columns != width || columns == 0 {
            return Err(format!("rows of {columns} and of {width} features"));
        }
        let shape = vec![rows, others];
        count(&shape)?;
        let data = match (&a.data, &b.data) {
            (Data::F32(a), Data::F32(b)) => Data::F32(distances!(a, b, columns, self.squared, f32)),
            (Data::F64(a), Data::F64(b)) => Data::F64(distances!(a, b, columns, self.squared, f64)),
            _ => return Err(TYPE_DIFFERS.into()),
        };
        Ok(Tensor { shape, data }.into())
    }
}
