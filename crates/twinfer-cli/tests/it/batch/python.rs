//! Tables of pyarrow and pandas in, and ours read by them. Needs `TWINFER_TEST_PYTHON`, a Python with
//! tests/python/requirements.txt.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::{csv, records};
use crate::support::{Place, core_model};

#[test]
fn pyarrow_and_pandas_read_and_write_the_same() {
    let Some(python) = std::env::var("TWINFER_TEST_PYTHON")
        .ok()
        .filter(|p| !p.is_empty())
    else {
        assert!(
            std::env::var_os("TWINFER_TEST_ALL").is_none(),
            "TWINFER_TEST_PYTHON is not set"
        );
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED pyarrow_and_pandas_read_and_write_the_same: TWINFER_TEST_PYTHON is not set"
        );
        return;
    };
    let place = Place::new();
    place.pack("tumour-risk");
    place.pack("face-detector");
    place.write("in.csv", csv(&records(700)));
    let pictures = format!("{}/pictures", crate::support::sample("face-detector"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/batch_tables.py");
    let mut command = Command::new(python);
    command
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_twinfer"))
        .arg(place.path(""))
        .arg(pictures)
        .arg(core_model("mlp_binary"))
        .env_remove("TWINFER_REGISTRY")
        .env("TWINFER_TRUST_STATE", place.path("trust-state.json"))
        .env("TWINFER_CACHE_DIR", place.path("package-cache"));
    let said = command.output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(
        said.status.success() && text.ends_with("all the same\n"),
        "{text}{}",
        String::from_utf8_lossy(&said.stderr)
    );
}
