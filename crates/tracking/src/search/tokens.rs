//! The words of a filter string.

use crate::TrackingError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// An identifier with its quotes: `metrics.a`, ``params.`a b` ``, or a keyword.
    Word(String),
    /// A string in its quotes.
    Text(String),
    Number(String),
    Operator(String),
    Open,
    Close,
    Comma,
    Other(char),
}

impl Token {
    pub(super) fn is_word(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Word(t) | Self::Text(t) | Self::Number(t) | Self::Operator(t) => t.clone(),
            Self::Open => "(".into(),
            Self::Close => ")".into(),
            Self::Comma => ",".into(),
            Self::Other(c) => c.to_string(),
        }
    }
}

pub(super) fn split(text: &str) -> Result<Vec<Token>, TrackingError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let start = at;
        let slice = |from: usize, to: usize| chars[from..to].iter().collect::<String>();
        match c {
            _ if c.is_whitespace() => at += 1,
            '(' | ')' | ',' => {
                at += 1;
                tokens.push(match c {
                    '(' => Token::Open,
                    ')' => Token::Close,
                    _ => Token::Comma,
                });
            }
            '=' | '<' | '>' | '!' => {
                while matches!(chars.get(at), Some('=' | '<' | '>' | '!')) {
                    at += 1;
                }
                tokens.push(Token::Operator(slice(start, at)));
            }
            '\'' | '"' => {
                at = quoted(&chars, at, text)?;
                // `"a b".c` and `"name" = ...` are identifiers; elsewhere it is a value.
                tokens.push(Token::Text(slice(start, at)));
            }
            '0'..='9' => {
                at = number(&chars, at);
                tokens.push(Token::Number(slice(start, at)));
            }
            '-' | '+' | '.' if chars.get(at + 1).is_some_and(|d| d.is_ascii_digit() || *d == '.') => {
                at = number(&chars, at + 1);
                tokens.push(Token::Number(slice(start, at)));
            }
            '`' | '_' | 'a'..='z' | 'A'..='Z' => {
                at = identifier(&chars, at, text)?;
                tokens.push(Token::Word(slice(start, at)));
            }
            _ if c.is_alphabetic() => {
                at = identifier(&chars, at, text)?;
                tokens.push(Token::Word(slice(start, at)));
            }
            _ => {
                at += 1;
                tokens.push(Token::Other(c));
            }
        }
    }
    Ok(tokens)
}

/// The end of a string; a doubled quote belongs to it.
fn quoted(chars: &[char], start: usize, text: &str) -> Result<usize, TrackingError> {
    let quote = chars[start];
    let mut at = start + 1;
    while let Some(&c) = chars.get(at) {
        at += 1;
        if c == quote {
            if quote != '`' && chars.get(at) == Some(&quote) {
                at += 1;
            } else {
                return Ok(at);
            }
        }
    }
    Err(TrackingError::Filter(format!("Invalid filter '{text}': a quote ({quote}) is not closed.")))
}

fn number(chars: &[char], mut at: usize) -> usize {
    while let Some(&c) = chars.get(at) {
        let exponent_sign = matches!(c, '+' | '-') && matches!(chars.get(at - 1), Some('e' | 'E'));
        if c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || exponent_sign {
            at += 1;
        } else {
            break;
        }
    }
    at
}

/// Word characters and dots, with quoted parts after a dot.
fn identifier(chars: &[char], mut at: usize, text: &str) -> Result<usize, TrackingError> {
    while let Some(&c) = chars.get(at) {
        let after_dot = at > 0 && chars[at - 1] == '.';
        if c == '`' || (c == '"' && after_dot) {
            at = quoted(chars, at, text)?;
        } else if c.is_alphanumeric() || c == '_' || c == '.' {
            at += 1;
        } else {
            break;
        }
    }
    Ok(at)
}
