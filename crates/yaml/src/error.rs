//! What is wrong in a file, and where.

use std::fmt::Write as _;

use towpath_core::{Classify, Kind};

/// An error at a place in a YAML file. Displays as compilers do: place and message, the source line,
/// a caret under what is meant, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.render())]
pub struct YamlError {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
    pub(crate) source_line: String,
    /// How many characters are meant, at least 1.
    pub(crate) width: usize,
    pub help: Option<String>,
}

impl YamlError {
    /// Place and message on one line, for lists and logs.
    pub fn headline(&self) -> String {
        format!("{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }

    /// Adds what would be right.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn render(&self) -> String {
        let mut out = self.headline();
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        if !self.source_line.is_empty() {
            // A long line is shown from a little before the place that is meant.
            let skip = if self.column > 100 { self.column - 40 } else { 0 };
            let shown: String = self.source_line.chars().skip(skip).take(160).collect();
            let before = " ".repeat(self.column - 1 - skip.min(self.column - 1));
            let carets = "^".repeat(self.width.clamp(1, 80));
            let _ = write!(out, "\n{margin} |\n{number} | {shown}\n{margin} | {before}{carets}");
        }
        if let Some(help) = &self.help {
            let _ = write!(out, "\n{margin} = help: {help}");
        }
        out
    }
}

impl Classify for YamlError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }

    fn hints(&self) -> Vec<String> {
        self.help.clone().into_iter().collect()
    }
}
