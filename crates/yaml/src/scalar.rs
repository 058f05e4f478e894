//! Which type a scalar has.

/// A scalar with its type resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A date or date and time, kept as written.
    Timestamp(String),
    String(String),
}

/// Resolves a plain (unquoted) scalar as DVC's YAML library does: the YAML 1.2 core schema, and
/// beyond it `_` between digits, `0b` binary, a float without digits behind the dot, and
/// timestamps. `yes`, `no`, `on`, `off` are strings; `010` is ten, `0o17` fifteen.
///
/// # Errors
/// An integer that does not fit 64 bits.
pub fn resolve_plain(text: &str) -> Result<Scalar, IntegerTooLarge> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "true" | "True" | "TRUE" => Scalar::Bool(true),
        "false" | "False" | "FALSE" => Scalar::Bool(false),
        _ => {
            if let Some(float) = float(text) {
                Scalar::Float(float)
            } else if let Some(int) = int(text)? {
                Scalar::Int(int)
            } else if is_timestamp(text) {
                Scalar::Timestamp(text.to_owned())
            } else {
                Scalar::String(text.to_owned())
            }
        }
    })
}

/// An integer beyond 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntegerTooLarge;

/// `1.5`, `1.`, `.5`, `1e-5`, `1_0.2`, `.inf`, `-.inf`, `.nan`.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        _ if matches!(text, ".nan" | ".NaN" | ".NAN") => return Some(f64::NAN),
        _ => {}
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits_or_underscores = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let exponent_ok = exponent.is_none_or(|e| {
        let digits = e.strip_prefix(['-', '+']).unwrap_or(e);
        // Without a digit before the dot the sign of the exponent is obligatory.
        let signed = digits.len() < e.len();
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && (signed || !whole.is_empty())
    });
    let mantissa_ok = if whole.is_empty() {
        fraction.is_some_and(|f| f.bytes().any(|b| b.is_ascii_digit()) && digits_or_underscores(f))
    } else {
        whole.as_bytes()[0].is_ascii_digit()
            && digits_or_underscores(whole)
            && fraction.is_none_or(digits_or_underscores)
            && (fraction.is_some() || exponent.is_some())
    };
    if !(exponent_ok && mantissa_ok) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// `12`, `-1_000`, `0b11`, `0o17`, `0x1F`.
fn int(text: &str) -> Result<Option<i64>, IntegerTooLarge> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (radix, digits) = match unsigned.get(..2) {
        Some("0b") => (2, &unsigned[2..]),
        Some("0o") => (8, &unsigned[2..]),
        Some("0x") => (16, &unsigned[2..]),
        _ => (10, unsigned),
    };
    let starts_like_a_number = unsigned.len() < text.len() || text.starts_with(|c: char| c.is_ascii_digit());
    let shape_ok = starts_like_a_number
        && digits.chars().any(|c| c != '_')
        && digits.chars().all(|c| c == '_' || c.is_digit(radix));
    if !shape_ok {
        return Ok(None);
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    let plain = format!("{sign}{}", digits.replace('_', ""));
    i64::from_str_radix(&plain, radix).map(Some).map_err(|_| IntegerTooLarge)
}

/// `2026-11-23`, or with a time behind `T` or blanks: `2026-1-2 3:04:05.6 +01:00`.
fn is_timestamp(text: &str) -> bool {
    let mut rest = text.as_bytes();
    let Some(year) = digits(&mut rest) else {
        return false;
    };
    if year != 4 || !literal(&mut rest, b'-') {
        return false;
    }
    let Some(month) = digits(&mut rest) else {
        return false;
    };
    if month > 2 || !literal(&mut rest, b'-') {
        return false;
    }
    let Some(day) = digits(&mut rest) else {
        return false;
    };
    if day > 2 {
        return false;
    }
    if rest.is_empty() {
        return month == 2 && day == 2;
    }
    if !literal(&mut rest, b'T') && !literal(&mut rest, b't') && blanks(&mut rest) == 0 {
        return false;
    }
    let clock_ok = digits(&mut rest).is_some_and(|hours| hours <= 2)
        && literal(&mut rest, b':')
        && digits(&mut rest) == Some(2)
        && literal(&mut rest, b':')
        && digits(&mut rest) == Some(2);
    if !clock_ok {
        return false;
    }
    if literal(&mut rest, b'.') {
        let _ = digits(&mut rest);
    }
    if rest.is_empty() {
        return true;
    }
    blanks(&mut rest);
    if literal(&mut rest, b'Z') {
        return rest.is_empty();
    }
    if !literal(&mut rest, b'+') && !literal(&mut rest, b'-') {
        return false;
    }
    if digits(&mut rest).is_none_or(|hours| hours > 2) {
        return false;
    }
    rest.is_empty() || (literal(&mut rest, b':') && digits(&mut rest) == Some(2) && rest.is_empty())
}

/// Takes a run of digits; its length, or nothing when there is none.
fn digits(rest: &mut &[u8]) -> Option<usize> {
    let length = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    *rest = &rest[length..];
    (length > 0).then_some(length)
}

fn literal(rest: &mut &[u8], byte: u8) -> bool {
    let found = rest.first() == Some(&byte);
    if found {
        *rest = &rest[1..];
    }
    found
}

fn blanks(rest: &mut &[u8]) -> usize {
    let length = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    *rest = &rest[length..];
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_resolve_as_in_yaml_1_2() {
        for (text, expected) in [
            ("12", Scalar::Int(12)),
            ("-1_000", Scalar::Int(-1000)),
            ("010", Scalar::Int(10)),
            ("0o17", Scalar::Int(15)),
            ("0x1F", Scalar::Int(31)),
            ("0b101", Scalar::Int(5)),
            ("1e-5", Scalar::Float(1e-5)),
            ("1.", Scalar::Float(1.0)),
            (".5", Scalar::Float(0.5)),
            ("-.inf", Scalar::Float(f64::NEG_INFINITY)),
            ("12345e7", Scalar::Float(123_450_000_000.0)),
        ] {
            assert_eq!(resolve_plain(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn words_of_yaml_1_1_are_strings() {
        for text in
            ["yes", "no", "on", "off", "y", "n", "1:30", "0o8", "e5", "1e", "_1", "-", "+", ".", "0x", "1h", "5%"]
        {
            assert_eq!(resolve_plain(text), Ok(Scalar::String(text.into())), "{text}");
        }
    }

    #[test]
    fn dates_are_recognised_and_kept_as_written() {
        for text in ["2026-11-23", "2026-11-23T10:00:00Z", "2026-1-2 3:04:05.6 +01:00"] {
            assert_eq!(resolve_plain(text), Ok(Scalar::Timestamp(text.into())), "{text}");
        }
        assert_eq!(resolve_plain("2026-1-2"), Ok(Scalar::String("2026-1-2".into())));
    }

    #[test]
    fn an_integer_beyond_64_bits_is_refused() {
        assert_eq!(resolve_plain("99999999999999999999"), Err(IntegerTooLarge));
    }
}
