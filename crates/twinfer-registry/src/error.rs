//! Texts of errors that come from far away.

use std::error::Error as StdError;
use std::io;

use twinfer::{Error, err};
use twinfer_package::Descriptor;

/// Foreign text for a message: short, on one line.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut short: String = text
        .trim()
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.trim().chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

/// An error with its causes, without what they repeat.
pub(crate) fn causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    shorten(&text)
}

/// How messages call some content.
pub(crate) fn label(descriptor: &Descriptor) -> String {
    match descriptor.file_name() {
        Some(name) => format!("layer `{}` ({})", shorten(name), descriptor.digest),
        None => format!(
            "{} ({})",
            shorten(&descriptor.media_type),
            descriptor.digest
        ),
    }
}

/// What reading a stream failed with: one of our errors inside keeps its code.
pub(crate) fn from_io(what: &str, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => err!(Storage, "cannot read {what}: {error}"),
    }
}
