//! Documents that are made from the code, compared with what the code says now.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ts_rs::{Config, TS, TypeVisitor};
use twinfer::{ErrorCode, Mode, ModelConfig, Signature};
use twinfer_deploy::{Deployment, DeploymentSpec};
use twinfer_package::{
    Baseline, DerivedEngine, Descriptor, Golden, PolicyFile, Provenance, SelfTestReport, SignedTags,
};

/// Set by `cargo xtask generate`: write the file instead.
const BLESS: &str = "TWINFER_BLESS";

#[test]
fn generated_errors_md_is_up_to_date() {
    let mut text = String::from(
        "# Error codes\n\n\
         <!-- Made from `ErrorCode` by `cargo xtask generate`. -->\n\n\
         Every failure has one of these codes, the same in Rust (`Error::code`), in HTTP answers\n\
         (`{\"error\": \"…\", \"code\": \"…\"}` with the status below) and in TypeScript (`TwinferError.code`).\n\
         Codes are stable; new ones can be added. The message beside the code is for people and can change.\n\n\
         | code | HTTP status | when |\n|---|---|---|\n",
    );
    for code in ErrorCode::ALL {
        text += &format!(
            "| `{code}` | {} | {} |\n",
            code.http_status(),
            code.summary()
        );
    }
    check("docs/errors.md", &text);
}

/// First lines of the TypeScript files.
const HEAD: &str =
    "// Generated from the Rust definitions by `cargo xtask generate`. Do not edit.\n";

#[test]
fn generated_typescript_of_the_errors_is_up_to_date() {
    let mut text =
        format!("{HEAD}\n/** When each code is given. */\nexport const ERROR_CODES = {{\n");
    for code in ErrorCode::ALL {
        // The summaries are plain sentences; a quote in one would still be escaped.
        let _ = writeln!(text, "  {}: {:?},", code.as_str(), code.summary());
    }
    text += "} as const;\n\n/** The stable kinds of errors: the same in Rust, in HTTP answers and here. */\nexport type ErrorCode = keyof typeof ERROR_CODES;\n";
    check("web/src/generated/errors.ts", &text);
}

#[test]
fn generated_typescript_of_the_types_is_up_to_date() {
    check("web/src/generated/types.ts", &types());
}

#[test]
fn generated_json_schemas_are_up_to_date() {
    let schemas = [
        ("twinfer.json", schemars::schema_for!(ModelConfig)),
        ("golden.json", schemars::schema_for!(Golden)),
        ("baseline.json", schemars::schema_for!(Baseline)),
        ("provenance.json", schemars::schema_for!(Provenance)),
        ("trust-policy.json", schemars::schema_for!(PolicyFile)),
        ("signed-tags.json", schemars::schema_for!(SignedTags)),
        ("deployment.json", schemars::schema_for!(Deployment)),
        (
            "deployment-spec.json",
            schemars::schema_for!(DeploymentSpec),
        ),
    ];
    for (name, schema) in schemas {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let file = name.replace(".json", ".schema.json");
        check(&format!("docs/schemas/{file}"), &text);
    }
}

pub fn check(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == text,
        "{file} is not what the code says; run `cargo xtask generate` and look at the difference"
    );
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
        let declaration = format!(
            "{}export {}\n",
            T::docs().unwrap_or_default(),
            T::decl(&self.config)
        );
        self.found.insert(T::ident(&self.config), declaration);
        T::visit_dependencies(self);
    }
}

fn types() -> String {
    let config = Config::new().with_large_int("number");
    let mut declarations = Declarations {
        config,
        found: BTreeMap::new(),
    };
    declarations.visit::<ModelConfig>();
    declarations.visit::<Signature>();
    declarations.visit::<Mode>();
    declarations.visit::<Descriptor>();
    declarations.visit::<DerivedEngine>();
    declarations.visit::<Golden>();
    declarations.visit::<SelfTestReport>();
    declarations.visit::<PolicyFile>();
    declarations.visit::<Deployment>();
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
