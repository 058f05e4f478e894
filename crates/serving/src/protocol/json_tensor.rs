//! Arrays in JSON: read straight into typed vectors, written straight from them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq as _, Serializer};

use crate::tensor::{Data, ElementType};

/// Reads `json`, a flat or nested array of scalars. Gives the lengths of the nesting levels and the
/// elements in row-major order.
///
/// Errors say what stands where another thing was expected, as `serde_json` words it.
pub(super) fn read(json: &str, element_type: ElementType) -> serde_json::Result<(Vec<usize>, Data)> {
    if let (ElementType::F32 | ElementType::F64 | ElementType::Half(_), Some(numbers)) =
        (element_type, plain_decimals(json))
    {
        let shape = vec![numbers.len()];
        let data = match element_type {
            ElementType::F64 => Data::F64(numbers),
            _ => Data::F32(numbers.iter().map(|number| *number as f32).collect()),
        };
        return Ok((shape, data));
    }
    Ok(match element_type {
        ElementType::F32 | ElementType::Half(_) => wrap(read_array(json)?, Data::F32),
        ElementType::F64 => wrap(read_array(json)?, Data::F64),
        ElementType::I64 | ElementType::I32 | ElementType::Integer(_) => wrap(read_array(json)?, Data::I64),
        ElementType::Bool => wrap(read_array(json)?, Data::Bool),
        ElementType::Text => wrap(read_array(json)?, Data::Text),
    })
}

/// Digits that an `f64` holds exactly, whatever they are.
const EXACT_DIGITS: usize = 15;

/// The elements of a flat array of plain decimals, `[0.0, 5, -13.25]`: what most requests are, read
/// several times faster than JSON in general. `None` for everything else, be it right or wrong.
///
/// Both the digits and the power of ten are exact, so that one division rounds as it should.
fn plain_decimals(json: &str) -> Option<Vec<f64>> {
    let mut bytes = json.strip_prefix('[')?.bytes().peekable();
    let mut numbers = Vec::with_capacity(json.len() / 4);
    loop {
        while bytes.next_if_eq(&b' ').is_some() {}
        let sign = if bytes.next_if_eq(&b'-').is_some() { -1.0 } else { 1.0 };
        let (mut digits, mut count, mut scale) = (0_u64, 0, 1.0);
        let mut digit = |bytes: &mut std::iter::Peekable<std::str::Bytes<'_>>| {
            // A digit too many is left where it is, and is then neither a comma nor the end.
            let digit = bytes.next_if(|byte| byte.is_ascii_digit() && count < EXACT_DIGITS)?;
            count += 1;
            digits = 10 * digits + u64::from(digit - b'0');
            Some(digit)
        };
        // JSON knows no other zero in front.
        let zero = digit(&mut bytes)? == b'0';
        while digit(&mut bytes).is_some() {
            if zero {
                return None;
            }
        }
        if bytes.next_if_eq(&b'.').is_some() {
            digit(&mut bytes)?;
            scale = 10.0;
            while digit(&mut bytes).is_some() {
                scale *= 10.0;
            }
        }
        numbers.push(sign * (digits as f64 / scale));
        while bytes.next_if_eq(&b' ').is_some() {}
        match bytes.next()? {
            b',' => {}
            b']' => return bytes.next().is_none().then_some(numbers),
            _ => return None,
        }
    }
}

fn wrap<T>((shape, elements): (Vec<usize>, Vec<T>), data: impl FnOnce(Vec<T>) -> Data) -> (Vec<usize>, Data) {
    (shape, data(elements))
}

fn read_array<T: Scalar>(json: &str) -> serde_json::Result<(Vec<usize>, Vec<T>)> {
    let mut array = Array { shape: Vec::new(), leaf: None, elements: Vec::new() };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    Level { array: &mut array, depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((array.shape, array.elements))
}

/// An element type that JSON has a word for.
pub(super) trait Scalar: Sized {
    const EXPECTED: &'static str;

    fn float(_: f64) -> Option<Self> {
        None
    }

    fn integer(_: i64) -> Option<Self> {
        None
    }

    fn truth(_: bool) -> Option<Self> {
        None
    }

    fn text(_: &str) -> Option<Self> {
        None
    }

    /// `null` stands for NaN, which JSON cannot write.
    fn null() -> Option<Self> {
        None
    }
}

impl Scalar for f32 {
    const EXPECTED: &'static str = "a number";

    fn float(value: f64) -> Option<Self> {
        Some(value as Self)
    }

    fn integer(value: i64) -> Option<Self> {
        Some(value as Self)
    }

    fn null() -> Option<Self> {
        Some(Self::NAN)
    }
}

impl Scalar for f64 {
    const EXPECTED: &'static str = "a number";

    fn float(value: f64) -> Option<Self> {
        Some(value)
    }

    fn integer(value: i64) -> Option<Self> {
        Some(value as Self)
    }

    fn null() -> Option<Self> {
        Some(Self::NAN)
    }
}

impl Scalar for i64 {
    const EXPECTED: &'static str = "an integer";

    fn integer(value: i64) -> Option<Self> {
        Some(value)
    }

    fn float(value: f64) -> Option<Self> {
        // Some clients write every number with a point.
        (value.fract() == 0.0 && value.abs() < 9.0e15).then_some(value as Self)
    }
}

impl Scalar for bool {
    const EXPECTED: &'static str = "true or false";

    fn truth(value: bool) -> Option<Self> {
        Some(value)
    }
}

impl Scalar for String {
    const EXPECTED: &'static str = "a string";

    fn text(value: &str) -> Option<Self> {
        Some(value.to_owned())
    }
}

struct Array<T> {
    shape: Vec<usize>,
    /// The depth at which elements stand.
    leaf: Option<usize>,
    elements: Vec<T>,
}

impl<T> Array<T> {
    fn push<E: serde::de::Error>(&mut self, depth: usize, element: Option<T>, found: &str) -> Result<(), E>
    where
        T: Scalar,
    {
        let Some(element) = element else {
            return Err(E::custom(format_args!("expected {}, found {found}", T::EXPECTED)));
        };
        match self.leaf {
            Some(leaf) if leaf != depth => return Err(E::custom("the rows are nested to different depths")),
            Some(_) => {}
            None if depth == 0 => return Err(E::custom("expected an array")),
            None => self.leaf = Some(depth),
        }
        self.elements.push(element);
        Ok(())
    }

    fn close<E: serde::de::Error>(&mut self, depth: usize, length: usize) -> Result<(), E> {
        if self.leaf.is_some_and(|leaf| depth >= leaf) {
            return Err(E::custom("the rows are nested to different depths"));
        }
        if self.shape.len() <= depth {
            self.shape.resize(depth + 1, usize::MAX);
        }
        match self.shape[depth] {
            usize::MAX => self.shape[depth] = length,
            other if other != length => {
                return Err(E::custom(format_args!("the rows differ in length: {other} and {length}")));
            }
            _ => {}
        }
        Ok(())
    }
}

/// What stands inside `depth` brackets.
struct Level<'a, T> {
    array: &'a mut Array<T>,
    depth: usize,
}

impl<'de, T: Scalar> DeserializeSeed<'de> for Level<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Scalar> Visitor<'de> for Level<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or an array of it", T::EXPECTED)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let mut length = 0;
        while sequence.next_element_seed(Level { array: &mut *self.array, depth: self.depth + 1 })?.is_some() {
            length += 1;
        }
        self.array.close(self.depth, length)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.array.push(self.depth, T::float(value), "a number")
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.array.push(self.depth, T::integer(value), "an integer")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        let element = i64::try_from(value).map_or_else(|_| T::float(value as f64), T::integer);
        self.array.push(self.depth, element, "an integer")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.array.push(self.depth, T::truth(value), "true or false")
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.array.push(self.depth, T::text(value), "a string")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.array.push(self.depth, T::null(), "null")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(format_args!("expected {}, found an object", T::EXPECTED)))
    }
}

/// Writes elements flat; NaN and infinities as `null`.
pub(super) struct Flat<'a>(pub(super) &'a Data);

impl Serialize for Flat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Data::F32(values) => values.serialize(serializer),
            Data::F64(values) => values.serialize(serializer),
            Data::I64(values) => values.serialize(serializer),
            Data::Bool(values) => values.serialize(serializer),
            Data::Text(values) => values.serialize(serializer),
        }
    }
}

/// Writes elements nested as `shape` says.
pub(crate) struct Nested<'a> {
    pub(crate) shape: &'a [usize],
    pub(crate) data: &'a Data,
    /// First element of this part.
    pub(crate) from: usize,
}

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some((length, inner)) = self.shape.split_first() else {
            return match self.data {
                Data::F32(values) => values[self.from].serialize(serializer),
                Data::F64(values) => values[self.from].serialize(serializer),
                Data::I64(values) => values[self.from].serialize(serializer),
                Data::Bool(values) => values[self.from].serialize(serializer),
                Data::Text(values) => values[self.from].serialize(serializer),
            };
        };
        let stride: usize = inner.iter().product();
        let mut sequence = serializer.serialize_seq(Some(*length))?;
        for part in 0..*length {
            let from = self.from + part * stride;
            sequence.serialize_element(&Nested { shape: inner, data: self.data, from })?;
        }
        sequence.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn flat_and_nested_arrays_give_the_same_elements() {
        let elements = Data::F32(vec![1.0, 2.5, 3.0, -4.0]);
        assert_eq!(read("[1, 2.5, 3, -4e0]", ElementType::F32).unwrap(), (vec![4], elements.clone()));
        assert_eq!(read("[[1, 2.5], [3, -4]]", ElementType::F32).unwrap(), (vec![2, 2], elements));
        assert_eq!(read("[]", ElementType::I64).unwrap(), (vec![0], Data::I64(vec![])));
        let text = Data::Text(vec!["a".into(), "ä".into()]);
        assert_eq!(read(r#"["a", "\u00e4"]"#, ElementType::Text).unwrap(), (vec![2], text));
    }

    #[test]
    fn what_is_no_array_of_the_type_is_refused_in_words() {
        for (json, element_type, expected) in [
            ("[[1, 2], [3]]", ElementType::F32, "differ in length: 2 and 1"),
            ("[[1], 2]", ElementType::F32, "nested to different depths"),
            ("[1, [2]]", ElementType::F32, "nested to different depths"),
            ("[\"a\"]", ElementType::F32, "expected a number, found a string"),
            ("[1.5]", ElementType::I64, "expected an integer, found a number"),
            ("[1]", ElementType::Bool, "expected true or false, found an integer"),
            ("3", ElementType::F32, "expected an array"),
            ("[{}]", ElementType::F32, "found an object"),
            ("[1,]", ElementType::F32, "trailing comma"),
        ] {
            let error = read(json, element_type).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }

    #[test]
    fn only_plain_decimals_take_the_short_way() {
        assert_eq!(plain_decimals("[1, 2.50 ,-3.25,0]"), Some(vec![1.0, 2.5, -3.25, 0.0]));
        assert_eq!(plain_decimals("[999999999999999]"), Some(vec![999_999_999_999_999.0]));
        for other in [
            "[]",
            "[1",
            "[1]]",
            "[1,]",
            "[01]",
            "[1.]",
            "[.5]",
            "[+1]",
            "[1e3]",
            "[null]",
            "[[1]]",
            "[1 2]",
            "1",
            "[--1]",
            "[1.000000000000001]",
            "[1000000000000000]",
        ] {
            assert_eq!(plain_decimals(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_reads_what_the_long_way_reads(
            decimals in prop::collection::vec("-?(0|[1-9][0-9]{0,7})([.][0-9]{1,7})?", 1..20),
        ) {
            let json = format!("[{}]", decimals.join(", "));
            let short = plain_decimals(&json).map(|numbers| numbers.into_iter().map(f64::to_bits).collect());
            let expected: Vec<u64> = decimals.iter().map(|decimal| decimal.parse::<f64>().unwrap().to_bits()).collect();
            prop_assert_eq!(short, Some(expected));
            let (_, long) = read_array::<f32>(&json).unwrap();
            prop_assert_eq!(read(&json, ElementType::F32).unwrap(), (vec![decimals.len()], Data::F32(long)));
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_stack_overflow() {
        let json = "[".repeat(100_000);
        assert!(read(&json, ElementType::F32).unwrap_err().to_string().contains("recursion limit"));
    }

    #[test]
    fn a_tensor_is_written_flat_or_nested() {
        let data = Data::F64(vec![1.0, f64::NAN, 3.0, 4.5]);
        assert_eq!(serde_json::to_string(&Flat(&data)).unwrap(), "[1.0,null,3.0,4.5]");
        let nested = Nested { shape: &[2, 2], data: &data, from: 0 };
        assert_eq!(serde_json::to_string(&nested).unwrap(), "[[1.0,null],[3.0,4.5]]");
    }
}
