//! A file of settings.

use std::path::Path;

use toml::{Table, Value};

/// More than any such file has.
const MAX_BYTES: u64 = 1 << 20;

/// A setting in a file.
pub struct Line {
    /// The name of its flag. `[a] b = 1` is the same as `a-b = 1`.
    pub name: String,
    pub values: Vec<Value>,
    pub is_list: bool,
}

/// The settings in a file, in its order.
///
/// # Errors
/// A sentence about a file that cannot be read, or is no TOML.
pub fn read(path: &Path) -> Result<Vec<Line>, String> {
    let shown = path.display();
    let size = std::fs::metadata(path)
        .map_err(|e| format!("{shown}: {e}"))?
        .len();
    if size > MAX_BYTES {
        return Err(format!(
            "{shown} is no file of settings: it has {size} bytes"
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("{shown}: {e}"))?;
    let table: Table = toml::from_str(&text).map_err(|e| format!("{shown} is no TOML: {e}"))?;
    let mut lines = Vec::new();
    flatten("", table, &mut lines);
    Ok(lines)
}

fn flatten(prefix: &str, table: Table, lines: &mut Vec<Line>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        match value {
            Value::Table(below) => flatten(&format!("{name}-"), below, lines),
            Value::Array(values) => lines.push(Line {
                name,
                values,
                is_list: true,
            }),
            value => lines.push(Line {
                name,
                values: vec![value],
                is_list: false,
            }),
        }
    }
}

/// A value as a flag takes it; `None` for what no flag takes.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(on) => Some(on.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}
