//! One pass over a batch: what the expectations and statistics need, in bounded memory.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Read};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use towpath_core::Digest;

use crate::error::Error;
use crate::suite::{ColumnExpectation, ColumnType, Suite};

/// Bytes of one row. A stray quote would otherwise take the rest of the file into memory.
const MAX_ROW_BYTES: u64 = 8 << 20;
/// Columns of one file.
const MAX_COLUMNS: usize = 10_000;
/// Rows of one batch whose uniqueness is checked.
const MAX_UNIQUE_ROWS: usize = 2_000_000;

/// What one batch looks like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BatchProfile {
    pub rows: u64,
    /// In the order of the file.
    pub columns: Vec<ColumnProfile>,
    /// The first row that is no CSV of this header; rows from there on are not counted.
    pub malformed: Option<Place>,
    /// Rows equal to an earlier one in the columns of `unique`.
    pub duplicates: Found,
    /// The batch has more rows than uniqueness is checked for.
    pub unique_unchecked: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnProfile {
    pub name: String,
    pub nulls: u64,
    /// Numbers seen, and their mean, variance (n - 1), least and greatest.
    pub numbers: u64,
    pub mean: f64,
    pub variance: f64,
    pub min: f64,
    pub max: f64,
    /// Values that are not of the type.
    pub wrong_type: Found,
    /// Numbers outside `between`, and the one farthest out.
    pub outside: Found,
    pub not_in_set: Found,
}

impl ColumnProfile {
    pub fn sd(&self) -> f64 {
        self.variance.sqrt()
    }
}

/// How often something was found, and where first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub count: u64,
    pub first: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Line of the file, from 1.
    pub line: u64,
    /// The value (shortened), or what is wrong.
    pub text: String,
}

impl Found {
    fn add(&mut self, line: u64, text: &str) {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some(Place { line, text: text.chars().take(80).collect() });
        }
    }
}

/// Reads a CSV file with a header. Bad rows are part of the profile; an error means that the bytes
/// could not be read.
pub fn profile_csv(reader: impl Read, suite: &Suite) -> Result<BatchProfile, Error> {
    let since_row = Rc::new(Cell::new(0));
    let bounded = Bounded { reader, since_row: Rc::clone(&since_row) };
    let mut rows = csv::ReaderBuilder::new().flexible(false).from_reader(bounded);
    let mut profile = BatchProfile::default();

    let header = match rows.headers() {
        Ok(header) => header.clone(),
        Err(error) => return malformed(profile, error),
    };
    if header.len() > MAX_COLUMNS {
        profile.malformed = Some(Place { line: 1, text: format!("more than {MAX_COLUMNS} columns") });
        return Ok(profile);
    }
    let mut columns: Vec<Column<'_>> =
        header.iter().map(|name| Column::new(name.trim().trim_start_matches('\u{feff}'), suite)).collect();
    let key: Vec<usize> =
        suite.unique.iter().filter_map(|name| columns.iter().position(|c| c.profile.name == *name)).collect();
    let mut keys = HashSet::new();

    let mut record = csv::StringRecord::new();
    loop {
        since_row.set(0);
        match rows.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                profile.columns = columns.into_iter().map(Column::finish).collect();
                return malformed(profile, error);
            }
        }
        profile.rows += 1;
        let line = record.position().map_or(0, csv::Position::line);
        for (column, cell) in columns.iter_mut().zip(&record) {
            column.add(cell, line, &suite.null_values);
        }
        if !key.is_empty() && !profile.unique_unchecked {
            let cells: Vec<&str> = key.iter().map(|&at| record.get(at).unwrap_or_default()).collect();
            // Half of a SHA-256: as good as the text, and of one size.
            let digest = Digest::of(cells.join("\u{1f}").as_bytes());
            let short = u128::from_str_radix(&digest.as_str()[..32], 16).unwrap_or_default();
            if !keys.insert(short) {
                profile.duplicates.add(line, &cells.join(", "));
            }
            profile.unique_unchecked = keys.len() >= MAX_UNIQUE_ROWS;
        }
    }
    profile.columns = columns.into_iter().map(Column::finish).collect();
    Ok(profile)
}

/// A row that is no CSV ends the profile; a failing reader is an error.
fn malformed(mut profile: BatchProfile, error: csv::Error) -> Result<BatchProfile, Error> {
    let line = error.position().map_or(profile.rows + 2, csv::Position::line);
    let text = match error.into_kind() {
        csv::ErrorKind::Io(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error.into()),
        csv::ErrorKind::Io(error) => error.to_string(),
        csv::ErrorKind::Utf8 { err, .. } => format!("not UTF-8: {err}"),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!("{len} cells instead of {expected_len}"),
        _ => "not CSV".into(),
    };
    profile.malformed = Some(Place { line, text });
    Ok(profile)
}

/// Refuses to hand out more bytes than a row may have before the next row was complete.
struct Bounded<R> {
    reader: R,
    since_row: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let total = self.since_row.get() + read as u64;
        self.since_row.set(total);
        if total > MAX_ROW_BYTES {
            let message = format!("a row of more than {} MiB", MAX_ROW_BYTES >> 20);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(read)
    }
}

/// A column while it is read.
struct Column<'s> {
    profile: ColumnProfile,
    expectation: Option<&'s ColumnExpectation>,
    numeric: bool,
    /// Sum of squared deviations from the mean (Welford's recurrence).
    squares: f64,
    /// Numbers of `in_set`, and its texts.
    set_numbers: Vec<f64>,
    set_texts: HashSet<&'s str>,
}

impl<'s> Column<'s> {
    fn new(name: &str, suite: &'s Suite) -> Self {
        let expectation = suite.expectation(name);
        let set: &[String] = expectation.and_then(|e| e.in_set.as_deref()).unwrap_or_default();
        Self {
            profile: ColumnProfile { name: name.to_owned(), ..ColumnProfile::default() },
            expectation,
            numeric: suite.is_numeric(name),
            squares: 0.0,
            set_numbers: set.iter().filter_map(|value| value.parse().ok()).collect(),
            set_texts: set.iter().map(String::as_str).collect(),
        }
    }

    fn add(&mut self, cell: &str, line: u64, null_values: &[String]) {
        let cell = cell.trim();
        if cell.is_empty() || null_values.iter().any(|null| null == cell) {
            self.profile.nulls += 1;
            return;
        }
        let number = cell.parse::<f64>().ok().filter(|n| n.is_finite());
        if self.numeric {
            match number {
                Some(number) => self.number(number, cell, line),
                None => self.profile.wrong_type.add(line, cell),
            }
        }
        let Some(expectation) = self.expectation else { return };
        let of_type = match expectation.kind {
            Some(ColumnType::Integer) => number.is_none_or(|n| n.fract() == 0.0),
            Some(ColumnType::Boolean) => ["true", "false", "1", "0"].contains(&cell.to_ascii_lowercase().as_str()),
            _ => true,
        };
        if !of_type {
            self.profile.wrong_type.add(line, cell);
        }
        if expectation.in_set.is_some() {
            let by_value = number.is_some_and(|n| self.set_numbers.contains(&n));
            if !by_value && !self.set_texts.contains(cell) {
                self.profile.not_in_set.add(line, cell);
            }
        }
    }

    fn number(&mut self, number: f64, cell: &str, line: u64) {
        let profile = &mut self.profile;
        profile.numbers += 1;
        let before = number - profile.mean;
        profile.mean += before / profile.numbers as f64;
        self.squares += before * (number - profile.mean);
        if profile.numbers == 1 {
            (profile.min, profile.max) = (number, number);
        }
        profile.min = profile.min.min(number);
        profile.max = profile.max.max(number);
        if let Some((low, high)) = self.expectation.and_then(|e| e.between)
            && !(low..=high).contains(&number)
        {
            profile.outside.add(line, cell);
        }
    }

    fn finish(self) -> ColumnProfile {
        let mut profile = self.profile;
        if profile.numbers > 1 {
            profile.variance = (self.squares / (profile.numbers - 1) as f64).max(0.0);
        }
        profile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite() -> Suite {
        let text = "format: csv\ncolumns:\n  x: {type: number, between: [0, 10]}\n  kind: {in_set: [a, 1]}\nunique: [kind]\nnull_values: [NA]\n";
        Suite::read("s.yaml", text).unwrap()
    }

    #[test]
    fn a_batch_is_measured_in_one_pass() {
        let profile = profile_csv("x,kind\n1,a\n3,1.0\nNA,b\n11,a\nten,\n".as_bytes(), &suite()).unwrap();
        let x = &profile.columns[0];
        assert_eq!((profile.rows, x.nulls, x.numbers), (5, 1, 3));
        assert!((x.mean - 5.0).abs() < 1e-12 && (x.variance - 28.0).abs() < 1e-12);
        assert_eq!(x.wrong_type, Found { count: 1, first: Some(Place { line: 6, text: "ten".into() }) });
        assert_eq!(x.outside, Found { count: 1, first: Some(Place { line: 5, text: "11".into() }) });
        assert_eq!(profile.columns[1].not_in_set, Found { count: 1, first: Some(Place { line: 4, text: "b".into() }) });
        assert_eq!(profile.duplicates, Found { count: 1, first: Some(Place { line: 5, text: "a".into() }) });
    }

    #[test]
    fn a_malformed_row_is_named_by_its_line() {
        let profile = profile_csv("x,kind\n1,a\n2\n".as_bytes(), &suite()).unwrap();
        assert_eq!(profile.malformed, Some(Place { line: 3, text: "1 cells instead of 2".into() }));
        assert_eq!(profile.rows, 1);
        let profile = profile_csv(&b"x,kind\n1,\xff\n"[..], &suite()).unwrap();
        assert!(profile.malformed.unwrap().text.starts_with("not UTF-8"));
    }

    #[test]
    fn a_stray_quote_does_not_take_the_file_into_memory() {
        let endless = "x,kind\n\"".as_bytes().chain(io::repeat(b'a'));
        let profile = profile_csv(endless, &suite()).unwrap();
        assert_eq!(profile.malformed.unwrap().text, "a row of more than 8 MiB");
    }

    proptest::proptest! {
        #[test]
        fn mean_and_variance_equal_the_two_pass_formulas(values in proptest::collection::vec(-1e6f64..1e6, 2..50)) {
            let text: String = std::iter::once("x,kind\n".to_owned()).chain(values.iter().map(|v| format!("{v},a\n"))).collect();
            let profile = profile_csv(text.as_bytes(), &suite()).unwrap();
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
            proptest::prop_assert!((profile.columns[0].mean - mean).abs() <= 1e-6);
            proptest::prop_assert!((profile.columns[0].variance - variance).abs() <= 1e-9 * variance.max(1.0));
        }
    }
}
