//! What is printed, and how the process ends.

use std::cell::Cell;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;
use twinfer::{Error, ErrorCode, Result};

/// Prints results for people or as JSON for programs.
pub struct Output {
    json: bool,
    done: Cell<u8>,
}

/// The exit code of a batch that is done, with rows that could not be answered.
pub const BAD_ROWS: u8 = 6;

impl Output {
    pub fn new(json: bool) -> Self {
        Self {
            json,
            done: Cell::new(0),
        }
    }

    /// Whether results are for programs.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a result: this value as JSON, or this text.
    ///
    /// # Errors
    /// `storage` when standard output cannot be written; not when its reader has gone
    /// (`twinfer ls | head`), which is no failure.
    pub fn print<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<()> {
        let text = match self.json {
            true => serde_json::to_string_pretty(value)
                .map_err(|e| twinfer::err!(Internal, "JSON: {e}"))?,
            false => text(),
        };
        self.text(&text)
    }

    /// Prints a text as it is.
    ///
    /// # Errors
    /// Those of [`Output::print`].
    pub fn text(&self, text: &str) -> Result<()> {
        match writeln!(io::stdout().lock(), "{}", text.trim_end()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                Err(twinfer::err!(Storage, "standard output: {e}"))
            }
            _ => Ok(()),
        }
    }

    /// What the process ends with when nothing fails.
    pub fn end_with(&self, code: u8) {
        self.done.set(code);
    }

    /// The exit code when nothing failed.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.done.get())
    }

    /// Says something beside the result, where errors go.
    pub fn note(&self, text: &str) {
        // Nothing more can be done when standard error is closed.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Prints an error and gives the exit code.
    pub fn fail(&self, error: &Error) -> ExitCode {
        let code = error.code();
        let text = match self.json {
            true => json!({"error": error.message(), "code": code.as_str()}).to_string(),
            false => format!("error[{code}]: {error}"),
        };
        // Nothing more can be done when standard error is closed.
        let _ = writeln!(io::stderr().lock(), "{text}");
        ExitCode::from(exit_code(code))
    }
}

/// The exit codes of `twinfer --help`.
fn exit_code(code: ErrorCode) -> u8 {
    use ErrorCode::*;
    match code {
        SelfTestFailed | DigestMismatch | SizeMismatch | MissingBlob | UnsignedPackage
        | InvalidSignature | UntrustedKey | RevokedPackage | VersionTooOld | UnsignedIndex
        | IndexExpired | IndexReplayed => 3,
        Storage | OutOfSpace | Network | Unauthorized | Aborted | Closed | Timeout | Overloaded
        | OutOfMemory => 4,
        Internal => 5,
        _ => 1,
    }
}

/// Facts for people, a line for each.
pub fn fact_table(facts: Vec<(&'static str, String)>) -> String {
    let rows = facts
        .into_iter()
        .map(|(key, value)| vec![key.into(), value]);
    table(&rows.collect::<Vec<_>>())
}

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut unit = 0;
    let mut value = count as f64;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// Rows as a table with aligned columns.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_an_exit_code_of_the_help() {
        for &code in ErrorCode::ALL {
            assert!((1..=5).contains(&exit_code(code)), "{code}");
        }
        assert_eq!(exit_code(ErrorCode::SelfTestFailed), 3);
        assert_eq!(exit_code(ErrorCode::OutOfSpace), 4);
    }

    #[test]
    fn sizes_and_tables_are_readable() {
        assert_eq!(
            [0, 999, 1000, 1_270_727, 5_000_000_000_000].map(bytes),
            ["0 B", "999 B", "1.0 kB", "1.3 MB", "5000.0 GB"]
        );
        let rows = [
            vec!["a".to_owned(), "b".to_owned()],
            vec!["ccc".to_owned(), String::new()],
        ];
        assert_eq!(table(&rows), "a    b\nccc");
    }
}
