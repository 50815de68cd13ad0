//! JSON with `NaN`, `Infinity` and `-Infinity` in it, which is none (RFC 8259, section 6), and which
//! Python's `json`, TensorFlow Serving and MLflow read and write all the same.

use std::borrow::Cow;

use serde_json::Value as Json;

/// Puts quotes around bare `NaN`, `Infinity`, `-Infinity`, `Inf` and `-Inf`: as texts they are what
/// [`twinfer::value_from_json`] takes for numbers. What stands inside of strings stays as it is.
pub(crate) fn quote_words(json: &[u8]) -> Cow<'_, [u8]> {
    let mut quoted: Option<Vec<u8>> = None;
    // Up to here everything is copied.
    let mut copied = 0;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = end_of_string(json, at),
            b'N' | b'I' | b'-' => match word_at(&json[at..]) {
                Some((length, word)) => {
                    let out = quoted.get_or_insert_with(|| Vec::with_capacity(json.len() + 16));
                    out.extend_from_slice(&json[copied..at]);
                    out.push(b'"');
                    out.extend_from_slice(word.as_bytes());
                    out.push(b'"');
                    at += length;
                    copied = at;
                }
                None => at += 1,
            },
            _ => at += 1,
        }
    }
    match quoted {
        None => Cow::Borrowed(json),
        Some(mut out) => {
            out.extend_from_slice(&json[copied..]);
            Cow::Owned(out)
        }
    }
}

/// The place after a string that begins here.
fn end_of_string(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        match json.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') => return at + 1,
            Some(_) => at += 1,
            None => return json.len(),
        }
    }
}

/// A word at the beginning, and how long it is.
fn word_at(json: &[u8]) -> Option<(usize, &'static str)> {
    const WORDS: [(&str, &str); 5] = [
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("Inf", "Infinity"),
        ("-Inf", "-Infinity"),
    ];
    let ends = |length: usize| {
        !json
            .get(length)
            .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
    };
    WORDS.iter().find_map(|(text, word)| {
        (json.starts_with(text.as_bytes()) && ends(text.len())).then_some((text.len(), *word))
    })
}

/// How numbers of an answer are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Numbers {
    /// As they are: a text that is such a word is a text.
    Plain,
    /// Words for what JSON has no number for stand bare.
    Bare,
    /// The same, and numbers are of single precision: as short as they come back by.
    Single,
}

/// Writes JSON with numbers in this form.
pub(crate) fn write(json: &Json, numbers: Numbers, out: &mut Vec<u8>) {
    match json {
        Json::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, numbers, out);
            }
            out.push(b']');
        }
        Json::Object(fields) => {
            out.push(b'{');
            for (at, (key, value)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(Json::from(key.as_str()).to_string().as_bytes());
                out.push(b':');
                write(value, numbers, out);
            }
            out.push(b'}');
        }
        Json::String(word)
            if numbers != Numbers::Plain && twinfer::number_from_words(word).is_some() =>
        {
            out.extend_from_slice(word.as_bytes());
        }
        Json::Number(number) if numbers == Numbers::Single && number.is_f64() => {
            let narrow = number.as_f64().unwrap_or_default() as f32;
            // The shortest text of single precision; `{:?}` keeps the point of whole numbers.
            out.extend_from_slice(format!("{narrow:?}").as_bytes());
        }
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Json {
        serde_json::from_slice(&quote_words(text.as_bytes())).unwrap()
    }

    #[test]
    fn bare_words_become_texts() {
        assert_eq!(
            read(r#"{"a": [NaN,Infinity , -Infinity,Inf,-Inf], "b":NaN}"#),
            json!({"a": ["NaN", "Infinity", "-Infinity", "Infinity", "-Infinity"], "b": "NaN"})
        );
        assert_eq!(read("-Infinity"), json!("-Infinity"));
    }

    #[test]
    fn strings_and_numbers_stay() {
        for text in [
            r#"{"NaN": "NaN, -Infinity", "b\"NaN": [-1, -2.5e-3], "\\": "\\"}"#,
            r#"["Infinity\\", "NaN"]"#,
        ] {
            assert!(matches!(quote_words(text.as_bytes()), Cow::Borrowed(_)));
            assert_eq!(read(text), serde_json::from_str::<Json>(text).unwrap());
        }
        // After a string that ends in an escaped backslash the word is bare.
        assert_eq!(read(r#"["\\", NaN]"#), json!(["\\", "NaN"]));
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for text in [
            "NaNa",
            "[Infinityx]",
            "\"NaN",
            "[N]",
            "-",
            "\"\\",
            "[NaN",
            "nan",
        ] {
            let quoted = quote_words(text.as_bytes());
            assert!(serde_json::from_slice::<Json>(&quoted).is_err(), "{text}");
        }
    }

    #[test]
    fn written_as_others_write_it() {
        let written = |json: &Json, numbers| {
            let mut out = Vec::new();
            write(json, numbers, &mut out);
            String::from_utf8(out).unwrap()
        };
        let json = json!({"a\"": [f64::from(0.1f32), "NaN", "-Infinity", 3.0, 7, "text"]});
        assert_eq!(
            written(&json, Numbers::Plain),
            r#"{"a\"":[0.10000000149011612,"NaN","-Infinity",3.0,7,"text"]}"#
        );
        assert_eq!(
            written(&json, Numbers::Bare),
            r#"{"a\"":[0.10000000149011612,NaN,-Infinity,3.0,7,"text"]}"#
        );
        assert_eq!(
            written(&json, Numbers::Single),
            r#"{"a\"":[0.1,NaN,-Infinity,3.0,7,"text"]}"#
        );
        assert_eq!(
            written(&json!([1e30, 1e-7]), Numbers::Single),
            "[1e30,1e-7]"
        );
    }
}
