//! Percent-encoding and query strings.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use twinfer::{Parameters, Result, bail};

/// The text of a percent-encoded one; `None` if it is not UTF-8. As in the URL standard, a `%`
/// without two digits is itself.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    Some(text.into_owned())
}

/// Parameters of a call from a query string: `a=b&c=d`, each once.
pub(crate) fn parameters(query: Option<&str>) -> Result<Parameters> {
    let mut parameters = Map::new();
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| percent_decode(&text.replace('+', " "));
        let (Some(name), Some(value)) = (decode(name), decode(value)) else {
            bail!(
                InvalidRequest,
                "the query string is not percent-encoded UTF-8"
            );
        };
        if parameters.contains_key(&name) {
            bail!(
                InvalidParameter,
                "parameter {name:?} is given twice in the query string"
            );
        }
        parameters.insert(name, Value::String(value));
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfer::ErrorCode;

    #[test]
    fn query_strings() {
        let parsed = parameters(Some("a=b%20c+d&e=&f&&g=h=i")).unwrap();
        assert_eq!(
            Value::Object(parsed),
            serde_json::json!({"a": "b c d", "e": "", "f": "", "g": "h=i"})
        );
        assert!(parameters(None).unwrap().is_empty());
        assert_eq!(
            parameters(Some("a=1&a=2")).unwrap_err().code(),
            ErrorCode::InvalidParameter
        );
        assert_eq!(
            parameters(Some("a=%ff")).unwrap_err().code(),
            ErrorCode::InvalidRequest
        );
        assert_eq!(parameters(Some("a=%+1")).unwrap()["a"], "% 1");
    }
}
