//! SQL's LIKE: `%` is any text, `_` any one character.

/// True if the whole of `text` fits `pattern`. Linear space, at worst text times pattern steps.
pub(super) fn fits(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut t, mut p) = (0, 0);
    // Where the last `%` stood, and how much of the text it has swallowed.
    let mut wild: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                wild = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '_' || c == text[t] => {
                t += 1;
                p += 1;
            }
            _ => match wild {
                Some((star, swallowed)) => {
                    wild = Some((star, swallowed + 1));
                    t = swallowed + 1;
                    p = star + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '%')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn wildcards_fit_any_text_and_any_character() {
        for (text, pattern) in [
            ("abc", "abc"),
            ("abc", "a%"),
            ("abc", "%c"),
            ("abc", "a_c"),
            ("", "%"),
            ("aXbXc", "a%b%c"),
            ("a%c", "a%c"),
            ("äb", "_b"),
        ] {
            assert!(fits(text, pattern), "{text} LIKE {pattern}");
        }
        for (text, pattern) in [("abc", "ABC"), ("abc", "ab"), ("abc", "_"), ("", "_"), ("abcd", "a%c")] {
            assert!(!fits(text, pattern), "{text} LIKE {pattern}");
        }
    }
}
