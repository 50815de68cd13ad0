//! Documents that are made from the code, compared with what the code says now.

use std::path::Path;

use twinfer::ErrorCode;

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

fn check(file: &str, text: &str) {
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
