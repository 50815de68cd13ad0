//! Progress on the terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use twinfer_registry::{Progress, Stage};

use crate::output::{Output, bytes};

/// A line on the terminal that says what is being sent.
pub struct Bar {
    on: bool,
    shown: Option<Instant>,
    width: usize,
}

impl Bar {
    pub fn new(output: &Output) -> Self {
        Self {
            on: !output.is_json() && io::stderr().is_terminal(),
            shown: None,
            width: 0,
        }
    }

    pub fn show(&mut self, progress: &Progress<'_>) {
        if progress.stage == Stage::Sending {
            let descriptor = progress.descriptor;
            let name = descriptor.file_name().unwrap_or(&descriptor.media_type);
            let name: String = name.chars().take(40).collect();
            let what = format!("{}  {name}", progress.reference);
            self.line(&what, progress.done, descriptor.size);
        }
    }

    /// Says that so much of something is there, if that was not said a moment ago.
    pub fn line(&mut self, what: &str, done: u64, of: u64) {
        let what: String = what.chars().filter(|c| !c.is_control()).take(200).collect();
        self.text(|| format!("{what}  {} of {}", bytes(done), bytes(of)));
    }

    /// Whether there is somebody who looks.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Shows a text, if nothing was shown a moment ago.
    pub fn text(&mut self, text: impl FnOnce() -> String) {
        const OFTEN: Duration = Duration::from_millis(100);
        let soon = self.shown.is_some_and(|shown| shown.elapsed() < OFTEN);
        if !self.on || soon {
            return;
        }
        self.shown = Some(Instant::now());
        let text = text();
        let width = self.width;
        self.width = text.chars().count();
        self.write(&format!("\r{text:<width$}"));
    }

    pub fn clear(&mut self) {
        if self.width > 0 {
            self.write(&format!("\r{:1$}\r", "", self.width));
            self.width = 0;
        }
    }

    fn write(&self, text: &str) {
        // Only for people who look; a result does not depend on it.
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
    }
}
