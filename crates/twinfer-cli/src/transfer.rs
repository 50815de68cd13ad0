//! What push, pull, copy and mirror have in common: running a copy and telling about it.

use serde_json::{Value as Json, json};
use twinfer::Result;
use twinfer_package::Reference;
use twinfer_registry::{Copied, CopyOptions, copy};

use crate::bar::Bar;
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
    let options = CopyOptions {
        force,
        ..Default::default()
    };
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
