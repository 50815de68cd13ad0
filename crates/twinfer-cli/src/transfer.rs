//! What push, pull, copy and mirror have in common: running a copy and telling about it.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use twinfer::Result;
use twinfer_package::Reference;
use twinfer_registry::{Copied, CopyOptions, Progress, Stage, copy};

use crate::output::{Output, bytes};
use crate::registry::Registry;

/// Copies packages, and prints what was done.
///
/// # Errors
/// Those of [`copy`].
pub fn run(
    from: &Registry,
    to: &Registry,
    references: &[Reference],
    force: bool,
    output: &Output,
) -> Result<()> {
    let dest = to.writable()?;
    let mut bar = Bar::new(output);
    let options = CopyOptions { force };
    let copied = copy(from.store()?, &*dest, references, &options, &mut |p| {
        bar.show(p);
    });
    bar.clear();
    let copied = copied?;
    let value: Vec<Json> = copied
        .iter()
        .map(|c| {
            let mut value = json!(c);
            value["from"] = json!(from.to_string());
            value["to"] = json!(to.to_string());
            value
        })
        .collect();
    output.print(&json!({"packages": value}), || {
        let lines = copied.iter().map(|c| line(c, to));
        lines.collect::<Vec<_>>().join("\n")
    })
}

fn line(copied: &Copied, to: &Registry) -> String {
    let mut parts = match copied.unchanged {
        true => vec!["nothing to do".to_owned()],
        false => vec![format!("{} sent", bytes(copied.bytes_sent))],
    };
    for (count, what) in [
        (copied.bytes_skipped, "there before"),
        (copied.bytes_mounted, "taken over"),
    ] {
        if count > 0 && !copied.unchanged {
            parts.push(format!("{} {what}", bytes(count)));
        }
    }
    if copied.attached > 0 {
        parts.push(format!("{} attached", copied.attached));
    }
    if copied.signed_tags {
        parts.push("signed tags".into());
    }
    format!(
        "{}@{}  {to}  {}",
        copied.reference,
        copied.digest,
        parts.join(", ")
    )
}

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
        const OFTEN: Duration = Duration::from_millis(100);
        let soon = self.shown.is_some_and(|shown| shown.elapsed() < OFTEN);
        if !self.on || soon {
            return;
        }
        self.shown = Some(Instant::now());
        let what: String = what.chars().filter(|c| !c.is_control()).take(200).collect();
        let text = format!("{what}  {} of {}", bytes(done), bytes(of));
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
