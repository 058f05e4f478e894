//! Protobuf messages field by field, without their descriptions.

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'b> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    /// A text, a message or packed numbers.
    Bytes(&'b [u8]),
}

impl<'b> Value<'b> {
    pub fn bytes(self) -> &'b [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { &[] }
    }

    pub fn text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    pub fn int(self) -> i64 {
        if let Self::Varint(number) = self { number.cast_signed() } else { 0 }
    }
}

/// The fields of a protobuf message in their order; what follows a damaged one is left out.
pub fn fields(message: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut rest)?),
            1 => Value::Fixed64(take(&mut rest)?),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(take(&mut rest)?),
            _ => return None,
        };
        Some((tag >> 3, value))
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*bytes)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take(rest)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_end_where_a_message_is_damaged() {
        let message = [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f, 0x22, 0x7f, 1];
        let found: Vec<_> = fields(&message).collect();
        assert_eq!(found[0], (1, Value::Varint(150)));
        assert_eq!((found[1].0, found[1].1.text()), (2, "hi".to_owned()));
        assert_eq!(found[2], (3, Value::Fixed32(1.0_f32.to_le_bytes())));
        assert_eq!(found.len(), 3, "the last one claims more bytes than there are");
    }
}
