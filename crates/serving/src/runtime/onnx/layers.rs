//! Dense layers: `MatMul`, `Gemm`, `BatchNormalization`.

use super::broadcast::zip_with;
use super::elements::{as_f64, count};
use super::execute::{Inputs, Operator, Produced};
use super::node::{Built, Checked, Node, ValueType};
use crate::tensor::{Data, Tensor};

const TYPES_DIFFER: &str = "the inputs' types are not what the graph declared";

/// `a` [rows, inner] times `b` [inner, columns], all row-major. Rows of `b` are scaled and added,
/// so that the innermost loop runs over independent sums.
macro_rules! multiply {
    ($name:ident, $type:ty) => {
        fn $name(a: &[$type], b: &[$type], inner: usize, columns: usize, out: &mut [$type]) {
            if inner == 0 || columns == 0 {
                return;
            }
            for (row, sums) in a.chunks_exact(inner).zip(out.chunks_exact_mut(columns)) {
                for (&scale, weights) in row.iter().zip(b.chunks_exact(columns)) {
                    for (sum, &weight) in sums.iter_mut().zip(weights) {
                        *sum += scale * weight;
                    }
                }
            }
        }
    };
}
multiply!(multiply_f32, f32);
multiply!(multiply_f64, f64);

fn same_float(node: &Node<'_>, index: usize) -> Checked<()> {
    let (first, other) = (node.float(0)?, node.float(index)?);
    if first.element == other.element {
        Ok(())
    } else {
        Err(format!("inputs of types {:?} and {:?}: add a Cast", first.element, other.element))
    }
}

struct MatMul;

pub(super) fn mat_mul(node: &Node<'_>) -> Checked<Built> {
    same_float(node, 1)?;
    let (a, b) = (node.float(0)?, node.float(1)?);
    let b_rank = b.shape.as_ref().map(Vec::len);
    if b_rank.is_some_and(|rank| rank == 0 || rank > 2) {
        return Err("the second input of MatMul must have one or two dimensions".into());
    }
    let shape = a.shape.as_ref().zip(b.shape.as_ref()).and_then(|(a, b)| {
        let (_, leading) = a.split_last()?;
        let mut shape = leading.to_vec();
        shape.extend(b.get(1));
        Some(shape)
    });
    Ok(Built::one(MatMul, ValueType::new(a.element, shape)))
}

impl Operator for MatMul {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let (inner, columns) = match *b.shape.as_slice() {
            [inner] => (inner, 1),
            [inner, columns] => (inner, columns),
            _ => return Err(format!("second input of shape {:?}", b.shape)),
        };
        let (last, leading) = a.shape.split_last().ok_or("the first input is a scalar")?;
        if *last != inner {
            return Err(format!("shapes {:?} and {:?} do not multiply", a.shape, b.shape));
        }
        let mut shape = leading.to_vec();
        let size = count(&[count(leading)?, columns])?;
        if b.shape.len() == 2 {
            shape.push(columns);
        }
        let data = match (&a.data, &b.data) {
            (Data::F32(a), Data::F32(b)) => {
                let mut out = vec![0.0; size];
                multiply_f32(a, b, inner, columns, &mut out);
                Data::F32(out)
            }
            (Data::F64(a), Data::F64(b)) => {
                let mut out = vec![0.0; size];
                multiply_f64(a, b, inner, columns, &mut out);
                Data::F64(out)
            }
            _ => return Err(TYPES_DIFFER.into()),
        };
        Ok(Tensor { shape, data }.into())
    }
}

/// alpha · A' · B' + beta · C
struct Gemm {
    alpha: f32,
    beta: f32,
    transpose_a: bool,
    transpose_b: bool,
}

pub(super) fn gemm(node: &Node<'_>) -> Checked<Built> {
    same_float(node, 1)?;
    if node.optional(2).is_some() {
        same_float(node, 2)?;
    }
    let gemm = Gemm {
        alpha: node.real("alpha", 1.0)?,
        beta: node.real("beta", 1.0)?,
        transpose_a: node.flag("transA", false)?,
        transpose_b: node.flag("transB", false)?,
    };
    let (a, b) = (node.float(0)?, node.float(1)?);
    let shape = match (a.shape.as_deref(), b.shape.as_deref()) {
        (Some(&[a0, a1]), Some(&[b0, b1])) => {
            Some(vec![if gemm.transpose_a { a1 } else { a0 }, if gemm.transpose_b { b0 } else { b1 }])
        }
        (None, _) | (_, None) => None,
        _ => return Err("Gemm multiplies matrices: both inputs need two dimensions".into()),
    };
    Ok(Built::one(gemm, ValueType::new(a.element, shape)))
}

/// A matrix, turned if asked: `(rows, columns, values)`.
fn matrix<T: Copy>(values: &[T], shape: &[usize], turn: bool) -> Checked<(usize, usize, Vec<T>)> {
    let &[rows, columns] = shape else { return Err(format!("a matrix is needed, not {shape:?}")) };
    if !turn {
        return Ok((rows, columns, values.to_vec()));
    }
    let turned = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
    Ok((columns, rows, turned.map(|index| values[index]).collect()))
}

macro_rules! gemm {
    ($self:expr, $a:expr, $b:expr, $inputs:expr, $multiply:ident, $variant:ident, $type:ty) => {{
        let ((a, a_shape), (b, b_shape)) = ($a, $b);
        let (rows, inner, a) = matrix(a, a_shape, $self.transpose_a)?;
        let (inner_b, columns, b) = matrix(b, b_shape, $self.transpose_b)?;
        if inner != inner_b {
            return Err(format!("shapes {a_shape:?} and {b_shape:?} do not multiply"));
        }
        let mut out = vec![0.0; count(&[rows, columns])?];
        $multiply(&a, &b, inner, columns, &mut out);
        let (alpha, beta) = (<$type>::from($self.alpha), <$type>::from($self.beta));
        for sum in out.iter_mut() {
            *sum *= alpha;
        }
        let shape = vec![rows, columns];
        match $inputs.optional(2) {
            None => Tensor { shape, data: Data::$variant(out) },
            Some(Tensor { shape: c_shape, data: Data::$variant(c) }) => {
                let (sum_shape, out) = zip_with((&out, &shape), (c, c_shape), |sum, c| sum + beta * c)?;
                if sum_shape != shape {
                    return Err(format!("C of shape {c_shape:?} does not fit {shape:?}"));
                }
                Tensor { shape, data: Data::$variant(out) }
            }
            Some(_) => return Err(TYPES_DIFFER.into()),
        }
    }};
}

impl Operator for Gemm {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let product = match (&a.data, &b.data) {
            (Data::F32(x), Data::F32(y)) => {
                gemm!(self, (x, &a.shape), (y, &b.shape), inputs, multiply_f32, F32, f32)
            }
            (Data::F64(x), Data::F64(y)) => {
                gemm!(self, (x, &a.shape), (y, &b.shape), inputs, multiply_f64, F64, f64)
            }
            _ => return Err(TYPES_DIFFER.into()),
        };
        Ok(product.into())
    }
}

/// Inference only: y = x · factor + shift per channel (the second dimension).
struct BatchNormalization {
    factor: Vec<f64>,
    shift: Vec<f64>,
}

pub(super) fn batch_normalization(node: &Node<'_>) -> Checked<Built> {
    let value = node.float(0)?.clone();
    if node.flag("training_mode", false)? {
        return Err("training_mode is not supported: export for inference".into());
    }
    let epsilon = f64::from(node.real("epsilon", 1e-5)?);
    let constant = |index: usize, name: &str| -> Checked<Vec<f64>> {
        let tensor = node.argument(index)?.constant;
        Ok(as_f64(tensor.ok_or_else(|| format!("'{name}' must be an initialiser"))?)?.into_owned())
    };
    let scale = constant(1, "scale")?;
    let [bias, mean, variance] = [constant(2, "B")?, constant(3, "mean")?, constant(4, "var")?];
    if [&bias, &mean, &variance].iter().any(|other| other.len() != scale.len()) {
        return Err("scale, B, mean and var have different lengths".into());
    }
    let factor: Vec<f64> =
        scale.iter().zip(&variance).map(|(scale, variance)| scale / (variance + epsilon).sqrt()).collect();
    let shift = bias.iter().zip(mean.iter().zip(&factor)).map(|(bias, (mean, factor))| bias - mean * factor).collect();
    Ok(Built::one(BatchNormalization { factor, shift }, value))
}

impl Operator for BatchNormalization {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let mut tensor = inputs.take(0)?;
        let channels = self.factor.len();
        if channels == 0 || tensor.shape.get(1) != Some(&channels) {
            return Err(format!("shape {:?} for {channels} channels", tensor.shape));
        }
        let inner: usize = tensor.shape[2..].iter().product::<usize>().max(1);
        let normalize = |index: usize, value: f64| {
            let channel = index / inner % channels;
            value * self.factor[channel] + self.shift[channel]
        };
        match &mut tensor.data {
            Data::F32(values) => {
                for (index, value) in values.iter_mut().enumerate() {
                    *value = normalize(index, f64::from(*value)) as f32;
                }
            }
            Data::F64(values) => {
                for (index, value) in values.iter_mut().enumerate() {
                    *value = normalize(index, *value);
                }
            }
            _ => return Err(TYPES_DIFFER.into()),
        }
        Ok(tensor.into())
    }
}

/// Without training, what it drops is nothing.
pub(super) fn dropout(node: &Node<'_>) -> Checked<Built> {
    let training = node.optional(2).and_then(|argument| argument.constant);
    match (node.optional(2), training.map(|tensor| &tensor.data)) {
        (None, _) => {}
        (Some(_), Some(Data::Bool(values))) if values.iter().all(|training| !training) => {}
        _ => return Err("Dropout is supported without training only".into()),
    }
    super::shape::identity(node)
}
