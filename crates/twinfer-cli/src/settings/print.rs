//! `twinfer serve --print-config`: the settings in effect, as a file of settings.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use super::{SERVE, command, is_path, settings};

/// The settings in effect, with where each is from. What is in an address before its `@` is left
/// out: it may be a password.
pub fn print(matches: &ArgMatches) -> String {
    let mut built = command();
    built.build();
    let mut text = String::from(
        "# The settings of `twinfer serve` that are in effect. Flags count before variables, these before the\n# file of --config, and that before the defaults.\n",
    );
    let Some((SERVE, serve)) = matches.subcommand() else {
        return text;
    };
    for arg in settings(&built) {
        text += &line(arg, serve);
    }
    text
}

fn line(arg: &Arg, matches: &ArgMatches) -> String {
    let (name, id) = (arg.get_long().unwrap_or_default(), arg.get_id().as_str());
    let variable = arg.get_env().unwrap_or_default().to_string_lossy();
    let from = match matches.value_source(id) {
        Some(ValueSource::CommandLine) => "flag or file",
        Some(ValueSource::EnvVariable) => "environment",
        _ => "default",
    };
    if !arg.get_action().takes_values() {
        let on = matches.get_flag(id);
        return format!("{name} = {on} # {from} ({variable})\n");
    }
    let raw = matches.get_raw(id).into_iter().flatten();
    let shown = |text: &std::ffi::OsStr| {
        let text = text.to_string_lossy();
        // Paths in a file are relative to that file, wherever this text is put.
        match std::path::absolute(&*text) {
            Ok(path) if is_path(arg, &text) => quoted(&path.to_string_lossy()),
            _ => quoted(&text),
        }
    };
    let values: Vec<String> = raw.map(shown).collect();
    match (&values[..], arg.get_action()) {
        ([], _) => format!("# {name} is not set ({variable})\n"),
        (values, ArgAction::Append) => {
            format!("{name} = [{}] # {from} ({variable})\n", values.join(", "))
        }
        (values, _) => format!("{name} = {} # {from} ({variable})\n", values.join(", ")),
    }
}

fn quoted(text: &str) -> String {
    if text.parse::<i64>().is_ok() {
        return text.to_owned();
    }
    toml::Value::String(without_password(text)).to_string()
}

/// `scheme://user:password@host` without what is before the `@`.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://…{}", &rest[at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_and_says_the_same() {
        let arguments = [
            "twinfer",
            "serve",
            "--cors",
            "*",
            "--timeout",
            "2.5",
            "--no-page",
        ];
        let given = super::super::matches(arguments.map(Into::into).to_vec()).unwrap();
        let printed = print(&given);
        assert!(printed.contains("timeout = \"2.5\" # flag"), "{printed}");
        assert!(printed.contains("TWINFER_SERVE_MAX_BODY"), "{printed}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        std::fs::write(&path, &printed).unwrap();
        let arguments = [
            "twinfer".into(),
            "serve".into(),
            "--config".into(),
            path.into(),
        ];
        let again = super::super::matches(arguments.to_vec()).unwrap();
        let same = |text: &str| {
            let lines = text
                .lines()
                .map(|line| line.split(" # ").next().unwrap_or(""));
            lines
                .filter(|line| !line.starts_with('#'))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(same(&print(&again)), same(&printed));
    }

    #[test]
    fn passwords_are_left_out() {
        assert_eq!(
            without_password("redis://:secret@host:6379/0"),
            "redis://…@host:6379/0"
        );
        assert_eq!(without_password("https://host/a@b"), "https://host/a@b");
        assert_eq!(without_password("a@b"), "a@b");
    }
}
