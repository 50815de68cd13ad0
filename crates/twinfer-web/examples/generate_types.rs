//! Writes the TypeScript types of everything that crosses the boundary, from the Rust
//! definitions, into `web/src/generated/`. With `--check` nothing is written: the exit code
//! says whether the files are what would be written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use ts_rs::{Config, TS, TypeVisitor};
use twinfer::{ErrorCode, Mode, ModelConfig, Signature};
use twinfer_package::{Descriptor, Golden, SelfTestReport};

const HEAD: &str = "// Generated from the Rust definitions: cargo run -p twinfer-web --features schema --example generate_types\n// Do not edit.\n";

fn main() -> ExitCode {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => {
            eprintln!("unknown argument `{other}`; there is only --check");
            return ExitCode::from(2);
        }
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/src/generated");
    let mut stale = false;
    for (name, text) in [("errors.ts", errors()), ("types.ts", types())] {
        let path = folder.join(name);
        let same = std::fs::read_to_string(&path).is_ok_and(|current| current == text);
        if check && !same {
            eprintln!("web/src/generated/{name} is not what the Rust definitions give");
            stale = true;
        }
        if !check && !same {
            if let Err(error) = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, text)) {
                eprintln!("{}: {error}", path.display());
                return ExitCode::FAILURE;
            }
            println!("wrote web/src/generated/{name}");
        }
    }
    if stale {
        eprintln!("run: cargo run -p twinfer-web --features schema --example generate_types");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn errors() -> String {
    let mut text = format!("{HEAD}\n/** When each code is given. */\nexport const ERROR_CODES = {{\n");
    for code in ErrorCode::ALL {
        // The summaries are plain sentences; a quote in one would still be escaped.
        let _ = writeln!(text, "  {}: {:?},", code.as_str(), code.summary());
    }
    text += "} as const;\n\n/** The stable kinds of errors: the same in Rust, in HTTP answers and here. */\nexport type ErrorCode = keyof typeof ERROR_CODES;\n";
    text
}

/// Declarations by name, so that the file does not depend on the order of visits.
struct Declarations {
    config: Config,
    found: BTreeMap<String, String>,
}

impl TypeVisitor for Declarations {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        // Only types that a derive gave a file are declared; the rest (numbers, lists) are
        // written where they are used.
        if T::output_path().is_none() || self.found.contains_key(&T::ident(&self.config)) {
            return;
        }
        let declaration = format!("{}export {}\n", T::docs().unwrap_or_default(), T::decl(&self.config));
        self.found.insert(T::ident(&self.config), declaration);
        T::visit_dependencies(self);
    }
}

fn types() -> String {
    let config = Config::new().with_large_int("number");
    let mut declarations = Declarations { config, found: BTreeMap::new() };
    declarations.visit::<ModelConfig>();
    declarations.visit::<Signature>();
    declarations.visit::<Mode>();
    declarations.visit::<Descriptor>();
    declarations.visit::<Golden>();
    declarations.visit::<SelfTestReport>();
    let mut text = HEAD.to_owned();
    for declaration in declarations.found.values() {
        text += "\n";
        // ts-rs leaves spaces at the ends of lines.
        for line in declaration.lines() {
            text += line.trim_end();
            text += "\n";
        }
    }
    text
}
