//! Settings that are read again: which of them changed, and which of these can take effect.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, FromArgMatches};

use super::{SERVE, command, matches, settings};
use crate::args::{Args, Command};
use crate::serve::ServeArgs;

/// Those that take effect while the server runs. `docs/operations.md` has the list, with how; all
/// others count from the next start.
const RELOADED: [&str; 30] = [
    "access",
    "batch-window",
    "cancel-grace",
    "cors",
    "default-model",
    "handshake-timeout",
    "health-route",
    "idle-timeout",
    "instances",
    "log-format",
    "log-level",
    "max-batch",
    "max-body",
    "max-connections",
    "max-connections-per-address",
    "memory",
    "no-page",
    "open",
    "outbound",
    "page",
    "poll",
    "predict-route",
    "prediction-cache",
    "queue",
    "queue-timeout",
    "read-timeout",
    "repository",
    "timeout",
    "trust",
    "write-timeout",
];

/// A setting that has another value than before.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// Whether it takes effect now, and not from the next start on.
    pub reloaded: bool,
}

/// Settings that were read again.
pub struct Change {
    /// All of them.
    pub serve: ServeArgs,
    /// The policy file, which is of all commands.
    pub trust: Option<std::path::PathBuf>,
    /// What they were read from, for the next time.
    pub given: ArgMatches,
}

impl Change {
    /// Reads the command line, the variables and the file again. Of these only the file can have
    /// changed. `None` where there is no file.
    ///
    /// # Errors
    /// What is wrong with the file, in one line.
    pub fn read(before: &ArgMatches, arguments: Vec<OsString>) -> Result<Option<Self>, String> {
        let serve = before.subcommand_matches(SERVE);
        let path = serve.and_then(|serve| serve.get_one::<std::path::PathBuf>("config"));
        let Some(path) = path else { return Ok(None) };
        // A pipe has nothing more to say, which is not the same as a file with nothing in it.
        if !path.is_file() {
            return Err(format!("{} is no file", path.display()));
        }
        let one_line = |error: clap::Error| {
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let given = matches(arguments).map_err(one_line)?;
        let args = Args::from_arg_matches(&given).map_err(one_line)?;
        let Command::Serve(serve) = args.command else {
            return Ok(None);
        };
        Ok(Some(Self {
            serve: *serve,
            trust: args.trust,
            given,
        }))
    }
}

/// The file of the trust policy, which is a setting of all commands.
pub fn policy_file(given: &ArgMatches) -> Option<std::path::PathBuf> {
    let serve = given.subcommand_matches(SERVE)?;
    serve.get_one::<std::path::PathBuf>("trust").cloned()
}

/// The settings that have other values than before.
pub fn changed(before: &ArgMatches, after: &ArgMatches) -> Vec<Changed> {
    let mut built = command();
    built.build();
    let (Some(before), Some(after)) = (
        before.subcommand_matches(SERVE),
        after.subcommand_matches(SERVE),
    ) else {
        return Vec::new();
    };
    let names = settings(&built)
        .filter(|arg| value(arg, before) != value(arg, after))
        .filter_map(Arg::get_long);
    names
        .map(|name| Changed {
            name: name.to_owned(),
            reloaded: RELOADED.contains(&name),
        })
        .collect()
}

/// What is said of a setting. A flag that is not set has no text, and one that is has `true`.
fn value(arg: &Arg, matches: &ArgMatches) -> Vec<OsString> {
    let id = arg.get_id().as_str();
    if !arg.get_action().takes_values() {
        return vec![matches.get_flag(id).to_string().into()];
    }
    let raw = matches.get_raw(id).into_iter().flatten();
    raw.map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file with this text, and these flags, say.
    fn given(folder: &std::path::Path, file: &str, flags: &[&str]) -> (ArgMatches, Vec<OsString>) {
        let path = folder.join("twinfer.toml");
        std::fs::write(&path, file).unwrap();
        let mut all: Vec<OsString> = ["twinfer", "serve", "--config"].map(Into::into).to_vec();
        all.push(path.into());
        all.extend(flags.iter().map(Into::into));
        (matches(all.clone()).unwrap(), all)
    }

    fn names(all: &[Changed], reloaded: bool) -> Vec<&str> {
        let all = all.iter().filter(|one| one.reloaded == reloaded);
        all.map(|one| one.name.as_str()).collect()
    }

    #[test]
    fn what_changed_is_told_from_what_has_to_wait() {
        let folder = tempfile::tempdir().unwrap();
        let (before, arguments) = given(
            folder.path(),
            "queue = 7\nno-page = true\n",
            &["--timeout", "3"],
        );
        // The flag stays before the file.
        let other =
            "queue = 8\ntimeout = 9\nlisten = '127.0.0.1:1'\ncors = ['https://a.example']\n";
        std::fs::write(folder.path().join("twinfer.toml"), other).unwrap();
        let read = Change::read(&before, arguments).unwrap().unwrap();
        let all = changed(&before, &read.given);
        assert_eq!(names(&all, true), ["no-page", "cors", "queue"]);
        assert_eq!(names(&all, false), ["listen"]);
        assert!(changed(&read.given, &read.given).is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let (before, arguments) = given(folder.path(), "queue = 7\n", &[]);
        let path = folder.path().join("twinfer.toml");
        for (text, part) in [
            ("queue = ", "TOML"),
            ("queue = 'many'", "queue"),
            ("quue = 1", "no setting `quue`"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Change::read(&before, arguments.clone()).err().unwrap();
            assert!(
                error.contains("twinfer.toml") && error.contains(part),
                "{error}"
            );
            assert!(!error.contains('\n'), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = Change::read(&before, arguments).err().unwrap();
        assert!(error.contains("is no file"), "{error}");
    }

    #[test]
    fn without_a_file_nothing_is_read() {
        let arguments: Vec<OsString> = ["twinfer", "serve"].map(Into::into).to_vec();
        let before = matches(arguments.clone()).unwrap();
        assert!(Change::read(&before, arguments).unwrap().is_none());
    }

    /// The table in the documentation says of every setting whether it is taken again.
    #[test]
    fn the_documentation_has_every_setting() {
        let text = include_str!("../../../../docs/operations.md");
        let mut built = command();
        built.build();
        let all: Vec<&str> = settings(&built).filter_map(Arg::get_long).collect();
        assert!(RELOADED.iter().all(|name| all.contains(name)));
        for name in all {
            let word = if RELOADED.contains(&name) {
                "yes"
            } else {
                "no"
            };
            let row = |line: &&str| line.starts_with('|') && line.contains(&format!("`{name}`"));
            let rows: Vec<&str> = text.lines().filter(row).collect();
            let said = rows.iter().any(|line| {
                line.split('|')
                    .nth(2)
                    .is_some_and(|cell| cell.trim().starts_with(word))
            });
            assert!(
                said,
                "docs/operations.md does not say `{name}` | {word}: {rows:?}"
            );
        }
    }
}
