//! Settings of `twinfer serve`: each is a flag, an environment variable and a line of a file.
//!
//! Of these the first that says something counts, then the default. There is one definition, the
//! flag: variable and line have its name (`--max-body`, `TWINFER_SERVE_MAX_BODY`, `max-body`).

mod change;
mod file;
mod print;

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, Error};

use crate::args::Args;
use file::Line;

pub use change::{Change, changed, policy_file};
pub use print::print;

/// The command whose flags are settings.
const SERVE: &str = "serve";
/// What is no setting: how the others are found, and what is done with them.
const NO_SETTINGS: [&str; 5] = ["config", "print_config", "json", "help", "version"];

/// The command line, with a variable for every setting.
pub fn command() -> Command {
    Args::command()
        .mut_args(|arg| with_variable(arg, "TWINFER_"))
        .mut_subcommand(SERVE, |serve| {
            serve.mut_args(|arg| with_variable(arg, "TWINFER_SERVE_"))
        })
}

fn with_variable(arg: Arg, prefix: &str) -> Arg {
    let Some(long) = arg.get_long().map(str::to_owned) else {
        return arg;
    };
    if !is_setting(&arg) || arg.get_env().is_some() {
        return arg;
    }
    let name = format!("{prefix}{}", long.to_uppercase().replace('-', "_"));
    let arg = arg.env(name);
    if matches!(arg.get_action(), ArgAction::Append) && arg.get_value_delimiter().is_none() {
        return arg.value_delimiter(',');
    }
    arg
}

fn is_setting(arg: &Arg) -> bool {
    !NO_SETTINGS.contains(&arg.get_id().as_str()) && !arg.is_positional()
}

/// What the command line says; for `serve` with what its file of settings says.
///
/// # Errors
/// Wrong usage; a file that cannot be read, is no TOML, or has a setting that is none, or a value
/// that its setting does not take.
pub fn matches(arguments: Vec<OsString>) -> Result<ArgMatches, Error> {
    let first = command().try_get_matches_from(&arguments)?;
    let Some((SERVE, serve)) = first.subcommand() else {
        return Ok(first);
    };
    let Some(path) = serve.get_one::<std::path::PathBuf>("config") else {
        return Ok(first);
    };
    let mut built = command();
    built.build();
    let mut arguments = arguments;
    for line in file::read(path).map_err(wrong)? {
        let Some(arg) = setting(&built, &line.name) else {
            return Err(wrong(unknown(&built, path, &line.name)));
        };
        if overridden(&built, serve, arg) {
            continue;
        }
        arguments.extend(flags(path, arg, &line).map_err(wrong)?);
    }
    // What the first reading took and this one does not is of the file.
    command().try_get_matches_from(arguments).map_err(|error| {
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        wrong(format!("{}: {text}", path.display()))
    })
}

fn wrong(message: String) -> Error {
    Error::raw(ErrorKind::ValueValidation, format!("{message}\n"))
}

/// The settings, those of `serve` first. `built` has the global ones among them.
fn settings(built: &Command) -> impl Iterator<Item = &Arg> {
    let serve = built.find_subcommand(SERVE);
    let all = serve.into_iter().flat_map(Command::get_arguments);
    all.filter(|arg| is_setting(arg) && arg.get_long().is_some())
}

fn setting<'a>(built: &'a Command, name: &str) -> Option<&'a Arg> {
    settings(built).find(|arg| arg.get_long() == Some(name))
}

fn unknown(built: &Command, path: &Path, name: &str) -> String {
    let names: Vec<&str> = settings(built).filter_map(Arg::get_long).collect();
    format!(
        "{}: there is no setting `{name}`; there are {}",
        path.display(),
        names.join(", ")
    )
}

/// Whether flag or variable say something about this setting, or about one that excludes it.
fn overridden(built: &Command, matches: &ArgMatches, arg: &Arg) -> bool {
    let said = |arg: &Arg| {
        let source = matches.value_source(arg.get_id().as_str());
        matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    };
    let Some(serve) = built.find_subcommand(SERVE) else {
        return false;
    };
    let mut excluded = serve.get_arg_conflicts_with(arg).into_iter();
    let mut excluding = settings(built).filter(|other| {
        let conflicts = serve.get_arg_conflicts_with(other);
        conflicts.iter().any(|one| one.get_id() == arg.get_id())
    });
    said(arg) || excluded.any(said) || excluding.any(said)
}

/// A line of the file as flags.
fn flags(path: &Path, arg: &Arg, line: &Line) -> Result<Vec<OsString>, String> {
    let takes_value = arg.get_action().takes_values();
    if let [toml::Value::Boolean(on)] = line.values[..]
        && !takes_value
    {
        return Ok(on
            .then(|| OsString::from(format!("--{}", line.name)))
            .into_iter()
            .collect());
    }
    let (shown, name) = (path.display(), &line.name);
    if !takes_value {
        return Err(format!("{shown}: `{name}` is true or false"));
    }
    let many = matches!(arg.get_action(), ArgAction::Append);
    if line.is_list && !many {
        return Err(format!("{shown}: `{name}` takes one value, not a list"));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let flag = |value: &toml::Value| {
        let text = file::text(value)
            .ok_or_else(|| format!("{shown}: `{name}` takes a text, a number or a truth value"))?;
        let mut flag = OsString::from(format!("--{name}="));
        flag.push(if is_path(arg, &text) {
            folder.join(&text).into_os_string()
        } else {
            text.into()
        });
        Ok(flag)
    };
    line.values.iter().map(flag).collect()
}

/// Paths in a file are relative to that file.
fn is_path(arg: &Arg, text: &str) -> bool {
    let value = arg.get_value_parser().type_id();
    let is_location = value == std::any::TypeId::of::<twinfer_registry::Location>();
    value == std::any::TypeId::of::<std::path::PathBuf>() || is_location && !text.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(file: &str, arguments: &[&str]) -> Result<ArgMatches, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("twinfer.toml");
        std::fs::write(&path, file).unwrap();
        let mut all: Vec<OsString> = ["twinfer", "serve"].map(Into::into).to_vec();
        all.extend(["--config".into(), path.into()]);
        all.extend(arguments.iter().map(Into::into));
        matches(all).map_err(|error| error.to_string())
    }

    fn of(matches: &ArgMatches, id: &str) -> Vec<String> {
        let (_, serve) = matches.subcommand().unwrap();
        let raw = serve.get_raw(id).into_iter().flatten();
        raw.map(|text| text.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_file_stands_behind_flags_and_before_defaults() {
        let file = "timeout = 2.5\nqueue = 7\ncors = ['https://a.example', 'https://b.example']\nno-page = true\n";
        let told = told(file, &["--queue", "9"]).unwrap();
        assert_eq!(of(&told, "timeout"), ["2.5"]);
        assert_eq!(of(&told, "queue"), ["9"]);
        assert_eq!(
            of(&told, "cors"),
            ["https://a.example", "https://b.example"]
        );
        assert_eq!(of(&told, "memory"), ["1024"]);
        assert!(told.subcommand().unwrap().1.get_flag("no_page"));
    }

    #[test]
    fn tables_are_first_parts_of_names_and_paths_are_relative_to_the_file() {
        let told = told("[max]\nbody = 3\n[full]\ncomponent = 'full.wasm'\n", &[]).unwrap();
        assert_eq!(of(&told, "max_body"), ["3"]);
        let path = &of(&told, "full_component")[0];
        assert!(path.ends_with("full.wasm") && path.len() > 9, "{path}");
    }

    #[test]
    fn a_flag_drops_what_it_excludes() {
        let told = told("page = 'p'\n", &["--no-page"]).unwrap();
        assert!(of(&told, "page").is_empty());
    }

    #[test]
    fn what_is_wrong_in_a_file_names_it() {
        for (file, part) in [
            ("nonsense = 1", "there is no setting `nonsense`"),
            ("timeout = 'soon'", "timeout"),
            ("timeout = [1, 2]", "takes one value"),
            ("no-page = 'yes'", "true or false"),
            ("timeout = 1979-05-27", "takes a text, a number"),
            ("a = ", "TOML"),
            ("config = 'other.toml'", "there is no setting `config`"),
        ] {
            let error = told(file, &[]).unwrap_err();
            assert!(
                error.contains("twinfer.toml") && error.contains(part),
                "{error}"
            );
        }
    }

    #[test]
    fn every_setting_has_a_variable() {
        let mut built = command();
        built.build();
        let without: Vec<&str> = settings(&built)
            .filter(|arg| arg.get_env().is_none())
            .filter_map(Arg::get_long)
            .collect();
        assert_eq!(without, Vec::<&str>::new());
        assert!(settings(&built).count() > 20);
    }
}
