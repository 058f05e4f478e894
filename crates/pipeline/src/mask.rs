//! Secrets in what a stage prints, whatever shape they have there: as they are, line by line, in
//! Base64 at any offset, in URLs, in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

const MASK: &str = "***";

/// Shorter secrets are masked as they are only: their other shapes would be everywhere.
const SHORTEST_DERIVED: usize = 6;

/// Replaces secrets by `***`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masks {
    /// The longest first: one may hold another.
    shapes: Vec<String>,
}

impl Masks {
    pub(crate) fn of(secrets: &[String]) -> Self {
        let mut shapes: Vec<String> = secrets.iter().flat_map(|secret| shapes_of(secret)).collect();
        shapes.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        shapes.dedup();
        Self { shapes }
    }

    /// `cut` says that the text goes on: then the beginning of a secret at its end is masked too.
    pub(crate) fn apply(&self, mut text: String, cut: bool) -> String {
        for shape in &self.shapes {
            if text.contains(shape.as_str()) {
                text = text.replace(shape.as_str(), MASK);
            }
        }
        if cut && let Some(at) = self.shapes.iter().filter_map(|shape| begins_at_end(&text, shape)).min() {
            text.truncate(at);
            text.push_str(MASK);
        }
        text
    }
}

/// Where the end of the text is the beginning of the shape.
fn begins_at_end(text: &str, shape: &str) -> Option<usize> {
    let longest = shape.len().min(text.len());
    (4..longest)
        .rev()
        .filter(|length| shape.is_char_boundary(*length))
        .find(|length| text.ends_with(&shape[..*length]))
        .map(|length| text.len() - length)
}

fn shapes_of(secret: &str) -> Vec<String> {
    let mut shapes: Vec<String> = Vec::new();
    // A log is written line by line.
    let lines = secret.lines().map(str::trim).filter(|line| line.len() >= 4 || *line == secret);
    for text in lines.chain([secret.trim()]) {
        shapes.push(text.to_owned());
        if text.len() < SHORTEST_DERIVED {
            continue;
        }
        shapes.extend(in_base64(text.as_bytes()));
        shapes.push(percent_encoded(text, true));
        shapes.push(percent_encoded(text, false));
        shapes.extend([true, false].map(|ascii| in_json(text, ascii)));
    }
    if secret.len() >= SHORTEST_DERIVED {
        shapes.extend(in_base64(secret.as_bytes()));
        shapes.push(in_json(secret, false));
    }
    shapes.retain(|shape| !shape.is_empty() && !shape.contains(['\n', '\r']));
    shapes
}

/// Base64 of something that holds the bytes, at each of the three offsets: the characters that depend
/// on nothing else.
fn in_base64(bytes: &[u8]) -> Vec<String> {
    let mut shapes = Vec::new();
    for before in 0..3 {
        let mut padded = vec![0; before];
        padded.extend_from_slice(bytes);
        let whole = padded.len() / 3 * 4;
        let from = [0, 2, 3][before];
        for encoded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            shapes.extend(encoded.get(from..whole).filter(|shape| shape.len() >= SHORTEST_DERIVED).map(str::to_owned));
        }
    }
    shapes
}

fn percent_encoded(text: &str, upper: bool) -> String {
    let encoded = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ if upper => format!("%{byte:02X}"),
        _ => format!("%{byte:02x}"),
    };
    text.bytes().map(encoded).collect()
}

/// As JSON writes it, without the quotes; `ascii` as Python's `json.dumps` does by default.
fn in_json(text: &str, ascii: bool) -> String {
    let mut quoted = String::new();
    if ascii {
        towpath_yaml::write_python_string(text, &mut quoted);
    } else {
        quoted = serde_json::Value::from(text).to_string();
    }
    quoted.trim_start_matches('"').trim_end_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const SECRET: &str = "p\"ss wörd/+ 1234";

    fn masked(text: &str) -> String {
        Masks::of(&[SECRET.to_owned()]).apply(text.to_owned(), false)
    }

    #[test]
    fn every_shape_of_a_secret_is_masked() {
        assert_eq!(masked(&format!("a {SECRET} b")), "a *** b");
        assert_eq!(masked("u=p%22ss%20w%C3%B6rd%2F%2B%201234"), "u=***");
        assert_eq!(masked("u=p%22ss%20w%c3%b6rd%2f%2b%201234"), "u=***");
        assert_eq!(masked(&serde_json::json!({"k": SECRET}).to_string()), "{\"k\":\"***\"}");
        assert_eq!(masked(r#"{"k": "p\"ss w\u00f6rd/+ 1234"}"#), r#"{"k": "***"}"#);
        for before in ["", "u", "us", "user:"] {
            let encoded = STANDARD.encode(format!("{before}{SECRET}"));
            let shown = masked(&encoded);
            assert!(shown.contains("***") && shown.len() < encoded.len() - 12, "{before}: {encoded} -> {shown}");
        }
    }

    #[test]
    fn each_line_of_a_key_is_masked_and_words_that_are_too_short_are_not() {
        let key = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\nab\n-----END KEY-----\n";
        let masks = Masks::of(&[key.to_owned()]);
        assert_eq!(masks.apply("MIIEpAIBAAKCAQEA".into(), false), "***");
        assert_eq!(masks.apply("about".into(), false), "about");
    }

    #[test]
    fn a_secret_that_a_cut_goes_through_is_masked() {
        let masks = Masks::of(&["0123456789abcdef".to_owned()]);
        assert_eq!(masks.apply("token 0123456789".into(), true), "token ***");
        assert_eq!(masks.apply("token 0123456789".into(), false), "token 0123456789");
    }
}
