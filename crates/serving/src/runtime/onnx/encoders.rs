//! Categories to numbers and back: `OneHotEncoder`, `LabelEncoder`, `ZipMap`.

use super::elements::{count, map_data, truncate};
use super::execute::{Inputs, Operator, Produced};
use super::node::{Built, Checked, Node, ValueType};
use super::scores::Labels;
use crate::tensor::{Data, ElementType, Tensor};

/// Keys sorted for binary search, each with its position in the list it came from. Sorted keys
/// need no hash function that a request could attack.
struct Dictionary<K> {
    sorted: Vec<(K, usize)>,
}

impl<K: Ord + Clone> Dictionary<K> {
    /// Of equal keys the first counts.
    fn new(keys: impl IntoIterator<Item = K>) -> Self {
        let mut sorted: Vec<(K, usize)> = keys.into_iter().zip(0..).collect();
        sorted.sort();
        sorted.dedup_by(|later, earlier| later.0 == earlier.0);
        Self { sorted }
    }

    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: std::borrow::Borrow<Q>,
    {
        let found = self.sorted.binary_search_by(|(known, _)| known.borrow().cmp(key)).ok()?;
        Some(self.sorted[found].1)
    }
}

/// Floats as keys: all NaN are one key, and so are the two zeros.
fn float_key(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    }
}

/// The keys of an encoder, by the type of its input.
enum Keys {
    Integers(Dictionary<i64>),
    Texts(Dictionary<String>),
    Floats(Dictionary<u64>),
}

impl Keys {
    fn new(data: Data) -> Checked<Self> {
        Ok(match data {
            Data::I64(keys) => Self::Integers(Dictionary::new(keys)),
            Data::Text(keys) => Self::Texts(Dictionary::new(keys)),
            Data::F32(keys) => Self::Floats(Dictionary::new(keys.into_iter().map(|key| float_key(key.into())))),
            Data::F64(keys) => Self::Floats(Dictionary::new(keys.into_iter().map(float_key))),
            Data::Bool(_) => return Err("keys of type BOOL are not supported".into()),
        })
    }

    fn accepts(&self, element: ElementType) -> bool {
        match self {
            Self::Integers(_) => matches!(element, ElementType::I64 | ElementType::I32),
            Self::Texts(_) => element == ElementType::Text,
            Self::Floats(_) => matches!(element, ElementType::F32 | ElementType::F64),
        }
    }

    /// The position of every element's key.
    fn positions(&self, input: &Tensor) -> Checked<Vec<Option<usize>>> {
        Ok(match (self, &input.data) {
            (Self::Integers(keys), Data::I64(values)) => values.iter().map(|value| keys.find(value)).collect(),
            (Self::Texts(keys), Data::Text(values)) => values.iter().map(|value| keys.find(value.as_str())).collect(),
            (Self::Floats(keys), Data::F32(values)) => {
                values.iter().map(|&value| keys.find(&float_key(value.into()))).collect()
            }
            (Self::Floats(keys), Data::F64(values)) => {
                values.iter().map(|&value| keys.find(&float_key(value))).collect()
            }
            _ => return Err("the input's type is not what the graph declared".into()),
        })
    }
}

struct OneHotEncoder {
    keys: Keys,
    categories: usize,
    /// An unknown category is a row of zeros; otherwise an error.
    zeros: bool,
}

pub(super) fn one_hot(node: &Node<'_>) -> Checked<Built> {
    let input = node.value(0)?;
    let texts = node.texts("cats_strings")?;
    let integers = node.integers("cats_int64s")?;
    if texts.is_empty() == integers.is_empty() {
        return Err("one of 'cats_int64s' and 'cats_strings' must be given".into());
    }
    let categories = texts.len().max(integers.len());
    let keys = if texts.is_empty() { Data::I64(integers.to_vec()) } else { Data::Text(texts) };
    let keys = Keys::new(keys)?;
    // Floats are looked up as the integers they are truncated to.
    let fits = match keys {
        Keys::Integers(_) => input.is_number(),
        Keys::Texts(_) | Keys::Floats(_) => input.element == ElementType::Text,
    };
    if !fits {
        return Err(format!("the input is {:?}, the categories are not: add a Cast", input.element));
    }
    let shape = input.shape.clone().map(|mut shape| {
        shape.push(Some(categories));
        shape
    });
    let zeros = node.flag("zeros", true)?;
    let output = ValueType::new(ElementType::F32, shape);
    Ok(Built::one(OneHotEncoder { keys, categories, zeros }, output))
}

impl Operator for OneHotEncoder {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let input = inputs.get(0)?;
        let positions = match (&self.keys, &input.data) {
            (Keys::Integers(keys), Data::F32(values)) => {
                values.iter().map(|&value| keys.find(&truncate(value.into()))).collect()
            }
            (Keys::Integers(keys), Data::F64(values)) => {
                values.iter().map(|&value| keys.find(&truncate(value))).collect()
            }
            _ => self.keys.positions(input)?,
        };
        let mut shape = input.shape.clone();
        shape.push(self.categories);
        let mut encoded = vec![0.0; count(&shape)?];
        for (row, position) in encoded.chunks_exact_mut(self.categories).zip(&positions) {
            match position {
                Some(position) => row[*position] = 1.0,
                None if self.zeros => {}
                None => return Err("an unknown category, and the model was exported with zeros=0".into()),
            }
        }
        Ok(Tensor { shape, data: Data::F32(encoded) }.into())
    }
}

pub(super) const LABEL_ENCODER_ATTRIBUTES: &[&str] = &[
    "classes_strings",
    "default_float",
    "default_int64",
    "default_string",
    "default_tensor",
    "keys_floats",
    "keys_int64s",
    "keys_strings",
    "keys_tensor",
    "values_floats",
    "values_int64s",
    "values_strings",
    "values_tensor",
];

struct LabelEncoder {
    keys: Keys,
    /// The value of each key; the default is the last one.
    values: Data,
}

pub(super) fn label_encoder(node: &Node<'_>) -> Checked<Built> {
    let input = node.value(0)?;
    let (keys, mut values) = if node.opset == 1 {
        classes_as_pairs(node, input.element)?
    } else {
        (column(node, "keys")?, column(node, "values")?)
    };
    if keys.len() != values.len() {
        return Err(format!("{} keys for {} values", keys.len(), values.len()));
    }
    let keys = Keys::new(keys)?;
    if !keys.accepts(input.element) {
        return Err(format!("the input is {:?}, the keys are not: add a Cast", input.element));
    }
    push_default(node, &mut values)?;
    let output = ValueType::new(values.element_type(), input.shape.clone());
    Ok(Built::one(LabelEncoder { keys, values }, output))
}

/// Opset 1: a list of classes, positions to names or names to positions.
fn classes_as_pairs(node: &Node<'_>, element: ElementType) -> Checked<(Data, Data)> {
    let classes = Data::Text(node.texts("classes_strings")?);
    let positions = Data::I64((0_i64..).take(classes.len()).collect());
    Ok(if element == ElementType::Text { (classes, positions) } else { (positions, classes) })
}

/// The one of `keys_*` or `values_*` that is given.
fn column(node: &Node<'_>, prefix: &str) -> Checked<Data> {
    let name = |suffix: &str| format!("{prefix}_{suffix}");
    let given = ["strings", "int64s", "floats", "tensor"].map(|suffix| node.has(&name(suffix)));
    if let Some(tensor) = node.tensor(&name("tensor"))? {
        return Ok(tensor.data);
    }
    match given {
        [true, false, false, _] => Ok(Data::Text(node.texts(&name("strings"))?)),
        [false, true, false, _] => Ok(Data::I64(node.integers(&name("int64s"))?.to_vec())),
        [false, false, true, _] => Ok(Data::F32(node.reals(&name("floats"))?.to_vec())),
        _ => Err(format!("one of '{prefix}_strings', '{prefix}_int64s', '{prefix}_floats' is needed")),
    }
}

/// Appends what an unknown key is mapped to.
fn push_default(node: &Node<'_>, values: &mut Data) -> Checked<()> {
    let given = node.tensor("default_tensor")?.map(|tensor| tensor.data);
    match (values, given) {
        (Data::Text(values), None) => values.push(node.text("default_string", "_Unused")?),
        (Data::I64(values), None) => values.push(node.integer("default_int64", -1)?),
        (Data::F32(values), None) => values.push(node.real("default_float", -0.0)?),
        (Data::F64(values), None) => values.push(node.real("default_float", -0.0)?.into()),
        (Data::Text(values), Some(Data::Text(given))) if given.len() == 1 => values.extend(given),
        (Data::I64(values), Some(Data::I64(given))) if given.len() == 1 => values.extend(given),
        (Data::F32(values), Some(Data::F32(given))) if given.len() == 1 => values.extend(given),
        (Data::F64(values), Some(Data::F64(given))) if given.len() == 1 => values.extend(given),
        _ => return Err("'default_tensor' must be one value of the type of the values".into()),
    }
    Ok(())
}

fn look_up<T: Clone>(values: &[T], positions: &[Option<usize>], default: usize) -> Vec<T> {
    positions.iter().map(|position| values[position.unwrap_or(default)].clone()).collect()
}

impl Operator for LabelEncoder {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let input = inputs.get(0)?;
        let positions = self.keys.positions(input)?;
        let default = self.values.len() - 1;
        let data = map_data!(&self.values, values => look_up(values, &positions, default));
        Ok(Tensor { shape: input.shape.clone(), data }.into())
    }
}

struct ZipMap {
    classes: usize,
}

/// `ZipMap` makes a dictionary of each row of scores; here the scores stay a tensor, and the
/// class labels are what the model reports beside its outputs.
pub(super) fn zip_map(node: &Node<'_>) -> Checked<Built> {
    let input = node.float(0)?;
    let labels = Labels::read(node, "classlabels_int64s", "classlabels_strings")?;
    if let Some(columns) = input.columns()
        && columns != labels.len()
    {
        return Err(format!("{columns} scores for {} class labels", labels.len()));
    }
    let operator = Box::new(ZipMap { classes: labels.len() });
    Ok(Built { operator, outputs: vec![input.clone()], class_labels: Some(labels.names()) })
}

impl Operator for ZipMap {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let scores = inputs.take(0)?;
        if scores.shape.last() != Some(&self.classes) {
            return Err(format!("scores of shape {:?} for {} classes", scores.shape, self.classes));
        }
        Ok(scores.into())
    }
}
