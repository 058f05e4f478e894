//! A node as an operator's constructor sees it: its attributes, and what is known of its inputs.

use super::execute::Operator;
use super::graph::Opsets;
use super::initializer;
use super::proto::{AttributeProto, GraphProto};
use crate::tensor::{Data, ElementType, Tensor};

/// What is known of a value before any run.
#[derive(Clone, Debug)]
pub(super) struct ValueType {
    pub(super) element: ElementType,
    /// `None`: not even the rank is known. A dimension `None`: any length.
    pub(super) shape: Option<Vec<Option<usize>>>,
}

impl ValueType {
    pub(super) fn new(element: ElementType, shape: Option<Vec<Option<usize>>>) -> Self {
        Self { element, shape }
    }

    /// The batch dimension, if this is a batch of rows.
    pub(super) fn rows(&self) -> Option<usize> {
        match self.shape.as_deref() {
            Some([rows, _]) => *rows,
            Some([_]) => Some(1),
            _ => None,
        }
    }

    /// Features per row, where known.
    pub(super) fn columns(&self) -> Option<usize> {
        self.shape.as_ref()?.last().copied().flatten()
    }

    pub(super) fn is_number(&self) -> bool {
        !matches!(self.element, ElementType::Text | ElementType::Bool)
    }

    pub(super) fn is_float(&self) -> bool {
        matches!(self.element, ElementType::F32 | ElementType::F64)
    }

    pub(super) fn is_integer(&self) -> bool {
        matches!(self.element, ElementType::I64 | ElementType::I32)
    }
}

/// An input of a node.
pub(super) struct Argument<'a> {
    pub(super) value: ValueType,
    /// Its content, if the graph carries it.
    pub(super) constant: Option<&'a Tensor>,
}

/// A node being checked.
pub(super) struct Node<'a> {
    pub(super) operator: &'a str,
    /// The version of the node's domain that the model imports.
    pub(super) opset: i64,
    /// All that the model imports: what a body of the node may use.
    pub(super) opsets: &'a Opsets<'a>,
    pub(super) attributes: &'a [AttributeProto],
    /// `None`: an optional input that was left out.
    pub(super) inputs: Vec<Option<Argument<'a>>>,
}

/// A checked node.
pub(super) struct Built {
    pub(super) operator: Box<dyn Operator>,
    pub(super) outputs: Vec<ValueType>,
    /// What a classifier or ZipMap calls its classes.
    pub(super) class_labels: Option<Vec<String>>,
}

impl Built {
    pub(super) fn one(operator: impl Operator + 'static, output: ValueType) -> Self {
        Self { operator: Box::new(operator), outputs: vec![output], class_labels: None }
    }
}

/// Why a node cannot be run.
pub(super) type Checked<T> = Result<T, String>;

impl<'a> Node<'a> {
    pub(super) fn argument(&self, index: usize) -> Checked<&Argument<'a>> {
        self.optional(index).ok_or_else(|| format!("input {index} is missing"))
    }

    pub(super) fn optional(&self, index: usize) -> Option<&Argument<'a>> {
        self.inputs.get(index)?.as_ref()
    }

    pub(super) fn value(&self, index: usize) -> Checked<&ValueType> {
        Ok(&self.argument(index)?.value)
    }

    /// The value of an input of numbers.
    pub(super) fn number(&self, index: usize) -> Checked<&ValueType> {
        let value = self.value(index)?;
        if value.is_number() {
            Ok(value)
        } else {
            Err(format!("input {index} is {:?}, numbers are needed: add a Cast", value.element))
        }
    }

    /// The value of an input of 32- or 64-bit floats.
    pub(super) fn float(&self, index: usize) -> Checked<&ValueType> {
        let value = self.value(index)?;
        if value.is_float() {
            Ok(value)
        } else {
            Err(format!("input {index} is {:?}, floats are needed: add a Cast", value.element))
        }
    }

    /// The content of an input that must be known at load (axes, shapes).
    pub(super) fn constant_integers(&self, index: usize) -> Checked<Option<Vec<i64>>> {
        let Some(argument) = self.optional(index) else { return Ok(None) };
        let Some(tensor) = argument.constant else {
            return Err(format!("input {index} must be an initialiser, not a computed value"));
        };
        match &tensor.data {
            Data::I64(values) => Ok(Some(values.clone())),
            other => Err(format!("input {index} is {:?}, integers are needed", other.element_type())),
        }
    }

    fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// An attribute whose declared kind (0 in old files: undeclared) must be `kind`.
    fn typed(&self, name: &str, kind: i32, wanted: &str) -> Checked<Option<&'a AttributeProto>> {
        let Some(attribute) = self.attribute(name) else { return Ok(None) };
        if attribute.kind == kind || attribute.kind == 0 {
            Ok(Some(attribute))
        } else {
            Err(format!("attribute '{name}' has type {}, {wanted} is needed", attribute.kind))
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(super) fn integer(&self, name: &str, default: i64) -> Checked<i64> {
        let attribute = self.typed(name, 2, "INT (2)")?;
        Ok(attribute.map_or(default, |attribute| attribute.i.unwrap_or(0)))
    }

    /// An attribute that is true when it is not 0.
    pub(super) fn flag(&self, name: &str, default: bool) -> Checked<bool> {
        Ok(self.integer(name, i64::from(default))? != 0)
    }

    pub(super) fn real(&self, name: &str, default: f32) -> Checked<f32> {
        let attribute = self.typed(name, 1, "FLOAT (1)")?;
        Ok(attribute.map_or(default, |attribute| attribute.f.unwrap_or(0.0)))
    }

    pub(super) fn text(&self, name: &str, default: &str) -> Checked<String> {
        match self.typed(name, 3, "STRING (3)")? {
            None => Ok(default.to_owned()),
            Some(attribute) => utf8(name, attribute.s.clone().unwrap_or_default()),
        }
    }

    pub(super) fn reals(&self, name: &str) -> Checked<&'a [f32]> {
        Ok(self.typed(name, 6, "FLOATS (6)")?.map_or(&[], |attribute| &attribute.floats))
    }

    pub(super) fn integers(&self, name: &str) -> Checked<&'a [i64]> {
        Ok(self.typed(name, 7, "INTS (7)")?.map_or(&[], |attribute| &attribute.ints))
    }

    pub(super) fn texts(&self, name: &str) -> Checked<Vec<String>> {
        let Some(attribute) = self.typed(name, 8, "STRINGS (8)")? else { return Ok(Vec::new()) };
        attribute.strings.iter().map(|bytes| utf8(name, bytes.clone())).collect()
    }

    pub(super) fn graph(&self, name: &str) -> Checked<Option<&'a GraphProto>> {
        Ok(self.typed(name, 5, "GRAPH (5)")?.and_then(|attribute| attribute.g.as_deref()))
    }

    pub(super) fn tensor(&self, name: &str) -> Checked<Option<Tensor>> {
        let Some(attribute) = self.typed(name, 4, "TENSOR (4)")? else { return Ok(None) };
        let Some(proto) = &attribute.t else { return Ok(None) };
        let (tensor, _) = initializer::read(proto).map_err(|detail| format!("attribute '{name}': {detail}"))?;
        Ok(Some(tensor))
    }
}

fn utf8(name: &str, bytes: Vec<u8>) -> Checked<String> {
    String::from_utf8(bytes).map_err(|_| format!("attribute '{name}' is not UTF-8 text"))
}
