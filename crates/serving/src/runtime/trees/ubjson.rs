//! UBJSON as XGBoost writes it (Draft 12; `src/common/json.cc` of XGBoost): big-endian numbers, typed arrays
//! `[$d#L`, objects without sizes.

use serde_json::{Map, Value};

/// Deeper documents are refused.
const DEEPEST: usize = 64;

pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { bytes, at: 0 };
    let marker = reader.byte()?;
    reader.value(marker, 0)
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("the file ends at byte {} in the middle of a value", self.bytes.len()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn unknown(&self, marker: u8) -> String {
        format!("unknown type {:?} at byte {}", char::from(marker), self.at.saturating_sub(1))
    }

    fn integer(&mut self, marker: u8) -> Result<i64, String> {
        Ok(match marker {
            b'i' => i64::from(self.byte()?.cast_signed()),
            b'U' => i64::from(self.byte()?),
            b'I' => i64::from(i16::from_be_bytes(self.array()?)),
            b'l' => i64::from(i32::from_be_bytes(self.array()?)),
            b'L' => i64::from_be_bytes(self.array()?),
            other => return Err(self.unknown(other)),
        })
    }

    fn length(&mut self) -> Result<usize, String> {
        let marker = self.byte()?;
        let length = self.integer(marker)?;
        usize::try_from(length).map_err(|_| format!("a length of {length} at byte {}", self.at))
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.length()?;
        let at = self.at;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| format!("text at byte {at} is not UTF-8"))?;
        Ok(text.to_owned())
    }

    fn value(&mut self, marker: u8, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(format!("values are nested deeper than {DEEPEST}"));
        }
        Ok(match marker {
            b'Z' => Value::Null,
            b'T' => true.into(),
            b'F' => false.into(),
            b'd' => f32::from_be_bytes(self.array()?).into(),
            b'D' => f64::from_be_bytes(self.array()?).into(),
            b'C' => char::from(self.byte()?).to_string().into(),
            b'S' | b'H' => self.text()?.into(),
            b'[' => self.list(depth)?,
            b'{' => self.object(depth)?,
            other => self.integer(other)?.into(),
        })
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        let mut marker = self.byte()?;
        if marker == b'$' {
            let kind = self.byte()?;
            if self.byte()? != b'#' {
                return Err(format!("a typed array without a length at byte {}", self.at));
            }
            // Nothing would stand for their items, so that any length could be claimed.
            if b"ZTF".contains(&kind) {
                return Err(self.unknown(kind));
            }
            let length = self.length()?;
            // Of every type an item has a byte at least: a length that lies allocates nothing.
            items.reserve(length.min(self.bytes.len() - self.at));
            for _ in 0..length {
                items.push(self.value(kind, depth + 1)?);
            }
        } else if marker == b'#' {
            for _ in 0..self.length()? {
                marker = self.byte()?;
                items.push(self.value(marker, depth + 1)?);
            }
        } else {
            while marker != b']' {
                items.push(self.value(marker, depth + 1)?);
                marker = self.byte()?;
            }
        }
        Ok(Value::Array(items))
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        let mut entries = Map::new();
        loop {
            if self.bytes.get(self.at) == Some(&b'}') {
                self.at += 1;
                return Ok(Value::Object(entries));
            }
            let key = self.text()?;
            let marker = self.byte()?;
            let value = self.value(marker, depth + 1)?;
            entries.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_texts_and_typed_arrays_are_read() {
        let bytes = b"{L\0\0\0\0\0\0\0\x01aSL\0\0\0\0\0\0\0\x02hiL\0\0\0\0\0\0\0\x01b[$d#L\0\0\0\0\0\0\0\x02\x3f\x80\0\0\xc0\0\0\0L\0\0\0\0\0\0\0\x01c[TFi\xff]}";
        assert_eq!(read(bytes).unwrap(), json!({ "a": "hi", "b": [1.0, -2.0], "c": [true, false, -1] }));
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_typed_array_whose_items_take_no_bytes_is_refused() {
        for kind in ["Z", "T", "F"] {
            let bytes = [b"[$", kind.as_bytes(), b"#L\x7f\xff\xff\xff\xff\xff\xff\xff"].concat();
            assert!(read(&bytes).unwrap_err().contains("unknown type"), "{kind}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
