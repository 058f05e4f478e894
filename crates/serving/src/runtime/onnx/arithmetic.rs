//! Operators on two or more tensors of one shape, or broadcast to one: arithmetic, comparisons,
//! logic, `Where`, `Sum`, `Max`, `Min`.

use super::broadcast::{Reading, common_shape, known_shape, zip_with};
use super::elements::{count, map_data};
use super::execute::{Inputs, Operator, Produced};
use super::node::{Built, Checked, Node, ValueType};
use crate::tensor::{Data, ElementType, Tensor};

const TYPES_DIFFER: &str = "the inputs' types are not what the graph declared";

#[derive(Clone, Copy)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
}

struct Binary {
    operation: Arithmetic,
    /// Results wrap at 32 bits.
    narrow: bool,
}

pub(super) fn arithmetic(node: &Node<'_>) -> Checked<Built> {
    let operation = match node.operator {
        "Add" => Arithmetic::Add,
        "Sub" => Arithmetic::Sub,
        "Mul" => Arithmetic::Mul,
        "Div" => Arithmetic::Div,
        "Pow" => Arithmetic::Pow,
        other => return Err(format!("'{other}' is no arithmetic")),
    };
    let (a, b) = (node.number(0)?, node.number(1)?);
    same_type(a, b)?;
    if matches!(operation, Arithmetic::Pow) && !a.is_float() {
        return Err("Pow is supported for floats: add a Cast".into());
    }
    let output = ValueType::new(a.element, known_shape(a, b));
    Ok(Built::one(Binary { operation, narrow: a.element == ElementType::I32 }, output))
}

fn same_type(a: &ValueType, b: &ValueType) -> Checked<()> {
    if a.element == b.element {
        Ok(())
    } else {
        Err(format!("inputs of different types, {:?} and {:?}: add a Cast", a.element, b.element))
    }
}

macro_rules! float_arithmetic {
    ($operation:expr, $a:expr, $b:expr) => {
        match $operation {
            Arithmetic::Add => zip_with($a, $b, |a, b| a + b),
            Arithmetic::Sub => zip_with($a, $b, |a, b| a - b),
            Arithmetic::Mul => zip_with($a, $b, |a, b| a * b),
            Arithmetic::Div => zip_with($a, $b, |a, b| a / b),
            Arithmetic::Pow => zip_with($a, $b, |a, b| a.powf(*b)),
        }
    };
}

impl Operator for Binary {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let (shape, data) = match (&a.data, &b.data) {
            (Data::F32(left), Data::F32(right)) => {
                let (shape, values) = float_arithmetic!(self.operation, (left, &a.shape), (right, &b.shape))?;
                (shape, Data::F32(values))
            }
            (Data::F64(left), Data::F64(right)) => {
                let (shape, values) = float_arithmetic!(self.operation, (left, &a.shape), (right, &b.shape))?;
                (shape, Data::F64(values))
            }
            (Data::I64(left), Data::I64(right)) => {
                let (shape, mut values) = self.integers((left, &a.shape), (right, &b.shape))?;
                if self.narrow {
                    for value in &mut values {
                        *value = i64::from(*value as i32);
                    }
                }
                (shape, Data::I64(values))
            }
            _ => return Err(TYPES_DIFFER.into()),
        };
        Ok(Tensor { shape, data }.into())
    }
}

impl Binary {
    fn integers(&self, a: (&[i64], &[usize]), b: (&[i64], &[usize])) -> Checked<(Vec<usize>, Vec<i64>)> {
        match self.operation {
            Arithmetic::Add => zip_with(a, b, |a, b| a.wrapping_add(*b)),
            Arithmetic::Sub => zip_with(a, b, |a, b| a.wrapping_sub(*b)),
            Arithmetic::Mul => zip_with(a, b, |a, b| a.wrapping_mul(*b)),
            Arithmetic::Div if b.0.contains(&0) => Err("division of an integer by zero".into()),
            Arithmetic::Div => zip_with(a, b, |a, b| a.wrapping_div(*b)),
            Arithmetic::Pow => Err("Pow is supported for floats".into()),
        }
    }
}

#[derive(Clone, Copy)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn holds<T: PartialOrd>(self, a: &T, b: &T) -> bool {
        match self {
            Self::Equal => a == b,
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
        }
    }
}

pub(super) fn compare(node: &Node<'_>) -> Checked<Built> {
    let comparison = match node.operator {
        "Equal" => Comparison::Equal,
        "Less" => Comparison::Less,
        "LessOrEqual" => Comparison::LessOrEqual,
        "Greater" => Comparison::Greater,
        "GreaterOrEqual" => Comparison::GreaterOrEqual,
        other => return Err(format!("'{other}' is no comparison")),
    };
    let (a, b) = if matches!(comparison, Comparison::Equal) {
        (node.value(0)?, node.value(1)?)
    } else {
        (node.number(0)?, node.number(1)?)
    };
    same_type(a, b)?;
    Ok(Built::one(comparison, ValueType::new(ElementType::Bool, known_shape(a, b))))
}

impl Operator for Comparison {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let (x, y) = (a.shape.as_slice(), b.shape.as_slice());
        let (shape, values) = match (&a.data, &b.data) {
            (Data::F32(a), Data::F32(b)) => zip_with((a, x), (b, y), |a, b| self.holds(a, b)),
            (Data::F64(a), Data::F64(b)) => zip_with((a, x), (b, y), |a, b| self.holds(a, b)),
            (Data::I64(a), Data::I64(b)) => zip_with((a, x), (b, y), |a, b| self.holds(a, b)),
            (Data::Bool(a), Data::Bool(b)) => zip_with((a, x), (b, y), |a, b| self.holds(a, b)),
            (Data::Text(a), Data::Text(b)) => zip_with((a, x), (b, y), |a, b| self.holds(a, b)),
            _ => return Err(TYPES_DIFFER.into()),
        }?;
        Ok(Tensor { shape, data: Data::Bool(values) }.into())
    }
}

enum Logic {
    And,
    Or,
}

pub(super) fn logic(node: &Node<'_>) -> Checked<Built> {
    let (a, b) = (node.value(0)?, node.value(1)?);
    if a.element != ElementType::Bool || b.element != ElementType::Bool {
        return Err(format!("inputs are {:?} and {:?}, BOOL is needed", a.element, b.element));
    }
    let logic = if node.operator == "And" { Logic::And } else { Logic::Or };
    Ok(Built::one(logic, ValueType::new(ElementType::Bool, known_shape(a, b))))
}

impl Operator for Logic {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let (Data::Bool(left), Data::Bool(right)) = (&a.data, &b.data) else {
            return Err(TYPES_DIFFER.into());
        };
        let (shape, values) = zip_with((left, &a.shape), (right, &b.shape), |a, b| match self {
            Self::And => *a && *b,
            Self::Or => *a || *b,
        })?;
        Ok(Tensor { shape, data: Data::Bool(values) }.into())
    }
}

struct Where;

pub(super) fn select(node: &Node<'_>) -> Checked<Built> {
    let (condition, a, b) = (node.value(0)?, node.value(1)?, node.value(2)?);
    if condition.element != ElementType::Bool {
        return Err(format!("the condition is {:?}, BOOL is needed", condition.element));
    }
    same_type(a, b)?;
    let values = ValueType::new(a.element, known_shape(a, b));
    let shape = known_shape(condition, &values);
    Ok(Built::one(Where, ValueType::new(a.element, shape)))
}

impl Operator for Where {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let (condition, a, b) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        let Data::Bool(conditions) = &condition.data else { return Err(TYPES_DIFFER.into()) };
        let shape = common_shape(&condition.shape, &common_shape(&a.shape, &b.shape)?)?;
        let [at_condition, at_a, at_b] = [condition, a, b].map(|tensor| Reading::new(&tensor.shape, &shape));
        let total = count(&shape)?;
        let data = map_data!(&a.data, left => {
            let right = same_variant(left, &b.data)?;
            copies(total, |index| {
                if conditions[at_condition.at(index)] {
                    &left[at_a.at(index)]
                } else {
                    &right[at_b.at(index)]
                }
            })
        });
        Ok(Tensor { shape, data }.into())
    }
}

/// Copies of `total` elements.
pub(super) fn copies<'a, T: Clone + 'a>(total: usize, at: impl Fn(usize) -> &'a T) -> Vec<T> {
    (0..total).map(|index| at(index).clone()).collect()
}

/// The elements of `data` if they are of the same type as `_like`.
fn same_variant<'a, T: Variant>(_like: &[T], data: &'a Data) -> Checked<&'a [T]> {
    T::of(data).ok_or_else(|| TYPES_DIFFER.to_owned())
}

/// A Rust type of elements, found in [`Data`].
pub(super) trait Variant: Sized + Clone {
    fn of(data: &Data) -> Option<&[Self]>;
}

macro_rules! variant {
    ($type:ty, $name:ident) => {
        impl Variant for $type {
            fn of(data: &Data) -> Option<&[Self]> {
                match data {
                    Data::$name(values) => Some(values),
                    _ => None,
                }
            }
        }
    };
}
variant!(f32, F32);
variant!(f64, F64);
variant!(i64, I64);
variant!(bool, Bool);
variant!(String, Text);

/// `Sum`, `Max` and `Min` of any number of tensors.
#[derive(Clone, Copy)]
enum Fold {
    Sum,
    Max,
    Min,
}

pub(super) fn fold(node: &Node<'_>) -> Checked<Built> {
    let fold = match node.operator {
        "Sum" => Fold::Sum,
        "Max" => Fold::Max,
        "Min" => Fold::Min,
        other => return Err(format!("'{other}' is no fold")),
    };
    let mut output = node.number(0)?.clone();
    if matches!(fold, Fold::Sum) && !output.is_float() {
        return Err("Sum is supported for floats: add a Cast".into());
    }
    for index in 1..node.inputs.len() {
        let value = node.number(index)?;
        same_type(&output, value)?;
        output.shape = known_shape(&output, value);
    }
    Ok(Built::one(fold, output))
}

macro_rules! float_fold {
    ($fold:expr, $a:expr, $b:expr) => {
        match $fold {
            Fold::Sum => zip_with($a, $b, |a, b| a + b),
            // A NaN in either place is the result.
            Fold::Max => zip_with($a, $b, |a, b| if a > b || a.is_nan() { *a } else { *b }),
            Fold::Min => zip_with($a, $b, |a, b| if a < b || a.is_nan() { *a } else { *b }),
        }
    };
}

impl Operator for Fold {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let mut total = inputs.take(0)?;
        for index in 1..inputs.len() {
            let term = inputs.get(index)?;
            let (shape, data) = match (&total.data, &term.data) {
                (Data::F32(a), Data::F32(b)) => {
                    let (shape, values) = float_fold!(*self, (a, &total.shape), (b, &term.shape))?;
                    (shape, Data::F32(values))
                }
                (Data::F64(a), Data::F64(b)) => {
                    let (shape, values) = float_fold!(*self, (a, &total.shape), (b, &term.shape))?;
                    (shape, Data::F64(values))
                }
                (Data::I64(a), Data::I64(b)) => {
                    let (shape, values) = zip_with((a, &total.shape), (b, &term.shape), |&a, &b| match self {
                        Self::Sum => a.wrapping_add(b),
                        Self::Max => a.max(b),
                        Self::Min => a.min(b),
                    })?;
                    (shape, Data::I64(values))
                }
                _ => return Err(TYPES_DIFFER.into()),
            };
            total = Tensor { shape, data };
        }
        Ok(total.into())
    }
}
