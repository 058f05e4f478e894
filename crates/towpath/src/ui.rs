//! The only file that prints. Results go to stdout, everything else to stderr; progress only to a
//! terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use towpath_core::Timestamp;
use towpath_data::progress::{Event, Progress, Work};

use crate::error::Error;

/// A result as people read it: one text, lines separated, tables aligned.
pub trait Human {
    fn human(&self) -> String;
}

/// How a command talks.
#[derive(Debug)]
pub struct Ui {
    json: bool,
    quiet: bool,
    /// stderr is a terminal, and somebody wants to see progress on it.
    progress: bool,
}

impl Ui {
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet, progress: !quiet && io::stderr().is_terminal() }
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a result: as JSON with `--json`, for people otherwise.
    pub fn show(&self, result: &(impl Human + Serialize)) -> Result<(), Error> {
        self.show_as(result, || result.human())
    }

    /// [`Ui::show`] for a value whose text is made beside it.
    pub fn show_as(&self, json: &impl Serialize, human: impl FnOnce() -> String) -> Result<(), Error> {
        if self.json {
            let text = serde_json::to_string_pretty(json)
                .map_err(|e| Error::new(towpath_core::Kind::Internal, format!("write the result as JSON: {e}")))?;
            out(&text);
        } else {
            self.say(human());
        }
        Ok(())
    }

    /// One of many results that come one after the other: a line of JSON with `--json`.
    pub fn event(&self, json: &impl Serialize, human: &str) -> Result<(), Error> {
        if self.json {
            let text = serde_json::to_string(json)
                .map_err(|e| Error::new(towpath_core::Kind::Internal, format!("write the result as JSON: {e}")))?;
            out(&text);
        } else {
            self.say(human);
        }
        Ok(())
    }

    /// A line of the result; nothing with `--json` or `--quiet`.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.json && !self.quiet {
            out(text.as_ref());
        }
    }

    /// A line that is no result.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            err(text.as_ref());
        }
    }

    /// Asks a person; without one the answer is no.
    pub fn confirm(&self, question: &str) -> bool {
        if self.quiet || !io::stdin().is_terminal() {
            self.note("hint: nobody is here to ask; do it without asking with --force");
            return false;
        }
        let mut answer = String::new();
        let _ = write!(io::stderr().lock(), "{question} [y/n] ");
        let _ = io::stdin().read_line(&mut answer);
        matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
    }

    pub fn error(error: &Error) {
        let mut text = format!("error: {}", error.message);
        for cause in &error.causes {
            let _ = write!(text, "\n  because: {cause}");
        }
        for hint in &error.hints {
            let _ = write!(text, "\nhint: {hint}");
        }
        err(&text);
    }

    /// Says what is being waited for, until it is dropped.
    pub fn waiting(&self, for_what: &str) -> Waiting {
        let bar = self.progress.then(|| {
            let bar = ProgressBar::new_spinner().with_message(for_what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if bar.is_none() {
            self.note(for_what);
        }
        Waiting { bar, quiet: self.quiet, said: for_what.to_owned() }
    }

    /// Counts bytes that are moved, until it is dropped.
    pub fn bytes_progress(&self, what: &'static str) -> BytesProgress {
        let bar = self.progress.then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {bytes} ({bytes_per_sec})");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner().with_style(style).with_message(what);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        BytesProgress(bar)
    }

    /// Bars for data that is hashed or moved.
    pub fn data_progress(&self) -> DataProgress {
        DataProgress { shown: self.progress, bar: Mutex::new(None) }
    }
}

fn out(text: &str) {
    // A reader that has gone (`| head`) is no error of ours.
    let _ = writeln!(io::stdout().lock(), "{}", text.trim_end_matches('\n'));
}

fn err(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end_matches('\n'));
}

/// See [`Ui::waiting`]. Without a terminal each new text is a line.
pub struct Waiting {
    bar: Option<ProgressBar>,
    quiet: bool,
    said: String,
}

impl Waiting {
    pub fn now_for(&mut self, what: String) {
        if self.said == what {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(what.clone()),
            None if self.quiet => {}
            None => err(&what),
        }
        self.said = what;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// See [`Ui::bytes_progress`].
pub struct BytesProgress(Option<ProgressBar>);

impl BytesProgress {
    pub fn moved(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }
}

impl Drop for BytesProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A bar for each kind of work, one at a time.
pub struct DataProgress {
    shown: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress for DataProgress {
    fn event(&self, event: Event) {
        if !self.shown {
            return;
        }
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { work, items } => {
                let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}");
                let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
                *bar = Some(ProgressBar::new(items).with_style(style).with_message(word(work)));
            }
            Event::Found { items, .. } => {
                if let Some(bar) = bar.as_ref() {
                    bar.inc_length(items);
                }
            }
            Event::Done { .. } => {
                if let Some(bar) = bar.as_ref() {
                    bar.inc(1);
                }
            }
            Event::Retrying { work, attempt } => {
                if let Some(bar) = bar.as_ref() {
                    bar.set_message(format!("{} (attempt {attempt})", word(work)));
                }
            }
            Event::Finished { .. } => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
            }
        }
    }
}

fn word(work: Work) -> &'static str {
    match work {
        Work::Adding => "Adding",
        Work::Querying => "Looking at the remote",
        Work::Pushing => "Pushing",
        Work::Pulling => "Pulling",
        Work::CheckingOut => "Checking out",
    }
}

/// A table that fits the terminal.
pub fn table<const N: usize>(headers: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headers);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Names and values below each other, the values aligned; empty ones left out.
pub fn fields<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in fields {
        let _ = writeln!(text, "{name:width$}  {value}");
    }
    text
}

/// `2026-01-31 14:05:09 UTC`.
pub fn time(at: Timestamp) -> String {
    let text = at.to_string();
    match text.get(..19) {
        Some(seconds) => format!("{} UTC", seconds.replace('T', " ")),
        None => text,
    }
}

/// `430 ms`, `2.4 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let whole = duration.as_secs();
    match whole {
        _ if seconds < 1.0 => format!("{} ms", duration.as_millis()),
        _ if seconds < 60.0 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `812 B`, `1.2 kB`, `34.5 MB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "";
    for next in UNITS {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `1 file`, `3 files`.
pub fn count(number: u64, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(999_990), "1.0 MB");
        assert_eq!(bytes(34_500_000), "34.5 MB");
        assert_eq!(duration(Duration::from_millis(430)), "430 ms");
        assert_eq!(duration(Duration::from_millis(2_400)), "2.4 s");
        assert_eq!(duration(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(duration(Duration::from_mins(125)), "2 h 5 min");
        assert_eq!(time(Timestamp(1_767_225_600_123)), "2026-01-01 00:00:00 UTC");
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let text = table(["NAME", "SIZE"], [["a".to_owned(), "1 B".to_owned()], ["bb".to_owned(), "22 B".to_owned()]]);
        assert_eq!(text, "NAME  SIZE\na     1 B\nbb    22 B");
        assert_eq!(
            fields([("a", "1".to_owned()), ("long", "2".to_owned()), ("empty", String::new())]),
            "a     1\nlong  2\n"
        );
    }
}
