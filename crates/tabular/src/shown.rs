//! Values and statistics as people read them, in Markdown and on a terminal.

use crate::statistics::Statistics;
use crate::table::Value;

/// Characters of a value that are shown.
const WIDTH: usize = 60;

/// The statistics of a column as texts; empty where there is nothing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub kind: &'static str,
    pub count: String,
    pub nulls: String,
    pub distinct: String,
    pub min: String,
    /// 25%, 50%, 75%.
    pub quantiles: [String; 3],
    pub max: String,
    pub mean: String,
}

impl Summary {
    pub fn of(statistics: &Statistics) -> Self {
        let extreme = |extreme: &Option<Value>| match extreme {
            Some(Value::Number(value)) => number(*value),
            Some(other) => value(other),
            None => String::new(),
        };
        Self {
            kind: statistics.kind,
            count: statistics.count.to_string(),
            nulls: statistics.nulls.to_string(),
            distinct: statistics.distinct.to_string(),
            min: extreme(&statistics.min),
            quantiles: statistics.quantiles.map(|quantiles| quantiles.map(number)).unwrap_or_default(),
            max: extreme(&statistics.max),
            mean: statistics.mean.map(number).unwrap_or_default(),
        }
    }
}

/// Six digits are enough to see a difference.
fn number(number: f64) -> String {
    let digits = if number == 0.0 { 0 } else { 5 - number.abs().log10().floor() as i32 };
    let text = format!("{number:.*}", digits.clamp(0, 12) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// On one line and not longer than 60 characters; what steers a terminal is a space.
pub fn value(value: &Value) -> String {
    line(&value.to_string())
}

/// [`value`] for a name, of a column for instance.
pub fn line(text: &str) -> String {
    let mut characters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = characters.by_ref().take(WIDTH).collect();
    if characters.next().is_some() {
        line.pop();
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_texts_are_one_line() {
        assert_eq!(
            ["12345678.9", "0.000123456789", "3", "2.50"].map(|n| number(n.parse().unwrap())),
            ["12345679", "0.000123457", "3", "2.5"]
        );
        assert_eq!(value(&Value::Text("a\nb\u{1b}[31m".into())), "a b [31m");
        let long = value(&Value::Text("x".repeat(61)));
        assert_eq!((long.chars().count(), long.ends_with('…')), (60, true));
    }
}
