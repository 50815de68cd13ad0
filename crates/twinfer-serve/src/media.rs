//! Media types: what a body is, and what the client wants back.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use twinfer::{Result, bail};

/// A media type with its parameters (RFC 9110, section 8.3.1).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MediaType {
    /// `type/subtype`, in lower case.
    pub(crate) essence: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = split_outside_quotes(text, ';');
        let essence = parts.next()?.trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut parameters = Vec::new();
        for part in parts.filter(|part| !part.trim().is_empty()) {
            let (name, value) = part.split_once('=')?;
            parameters.push((name.trim().to_ascii_lowercase(), unquote(value.trim())));
        }
        Some(Self {
            essence,
            parameters,
        })
    }

    /// A parameter; its name is in lower case.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// How far this range of media types fits one: 3 for itself, 2 for its type with `/*`, 1 for
    /// `*/*`.
    fn fits(&self, offer: &str) -> Option<u8> {
        let kind = offer.split('/').next().unwrap_or_default();
        match self.essence.split_once('/') {
            _ if self.essence == offer => Some(3),
            Some((range, "*")) if range == kind => Some(2),
            Some(("*", "*")) => Some(1),
            _ => None,
        }
    }

    /// The quality value (RFC 9110, section 12.4.2): from 0, which means never, to 1.
    fn quality(&self) -> Option<f32> {
        let Some(text) = self.parameter("q") else {
            return Some(1.0);
        };
        text.parse().ok().filter(|q| (0.0..=1.0).contains(q))
    }
}

/// The `Content-Type` of a request, where it has one.
///
/// # Errors
/// `unsupported_media_type` for one that cannot be read.
pub(crate) fn content_type(headers: &HeaderMap) -> Result<Option<MediaType>> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(MediaType::parse) {
        Some(media_type) => Ok(Some(media_type)),
        None => bail!(
            UnsupportedMediaType,
            "the content type {value:?} cannot be read"
        ),
    }
}

/// The media type of the answer, by `Accept`: the offer with the highest quality value, and of
/// equal ones the first. Without the header it is the first.
///
/// # Errors
/// `unsupported_media_type` where none of the offers is wanted, or the header cannot be read.
pub(crate) fn choose<'a>(headers: &HeaderMap, offers: &[&'a str]) -> Result<&'a str> {
    let mut ranges = Vec::new();
    for value in headers.get_all(ACCEPT) {
        let text = value.to_str().unwrap_or("?");
        for range in split_outside_quotes(text, ',').filter(|range| !range.trim().is_empty()) {
            match MediaType::parse(range).and_then(|range| Some((range.quality()?, range))) {
                Some(range) => ranges.push(range),
                None => bail!(
                    UnsupportedMediaType,
                    "`Accept: {text}` cannot be read: write media types with commas between, such as application/json, text/csv;q=0.5"
                ),
            }
        }
    }
    let first = offers.first().copied().unwrap_or("application/json");
    if ranges.is_empty() {
        return Ok(first);
    }
    let mut best: Option<(f32, &'a str)> = None;
    for offer in offers {
        // The most specific range counts, not the most generous one.
        let fitting = ranges
            .iter()
            .filter_map(|(quality, range)| Some((range.fits(offer)?, *quality)));
        let Some((_, quality)) = fitting.max_by_key(|(fit, _)| *fit) else {
            continue;
        };
        if quality > best.map_or(0.0, |(best, _)| best) {
            best = Some((quality, offer));
        }
    }
    match best {
        Some((_, offer)) => Ok(offer),
        None => bail!(
            UnsupportedMediaType,
            "nothing that `Accept` asks for can be given here; there is {}",
            offers.join(", ")
        ),
    }
}

/// The parts between separators that are not inside of a quoted string.
fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return c == separator && !quoted,
        }
        false
    })
}

fn is_token(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_part)
}

/// The content of a quoted string; other texts are themselves.
pub(crate) fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => plain.extend(characters.next()),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use twinfer::ErrorCode;

    #[test]
    fn media_types() {
        let parsed = MediaType::parse("Multipart/Form-Data; Boundary=\"a;\\\"b\"; x=1").unwrap();
        assert_eq!(parsed.essence, "multipart/form-data");
        assert_eq!(parsed.parameter("boundary"), Some("a;\"b"));
        assert_eq!(parsed.parameter("x"), Some("1"));
        assert_eq!(MediaType::parse("text/csv;").unwrap().essence, "text/csv");
        for bad in ["", "json", "a/", "/b", "a b/c", "a/b; c"] {
            assert_eq!(MediaType::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_wanted() {
        let offers = ["application/json", "text/csv", "application/cbor"];
        let chosen = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            choose(&headers, &offers)
        };
        for (accept, wanted) in [
            ("*/*", "application/json"),
            ("", "application/json"),
            ("text/csv", "text/csv"),
            ("TEXT/CSV; q=0.5, application/cbor", "application/cbor"),
            ("text/csv, application/cbor", "text/csv"),
            ("text/html, */*;q=0.1", "application/json"),
            ("application/json;q=0, */*;q=0.1", "text/csv"),
            ("application/*;q=0.3, text/csv;q=0.2", "application/json"),
            ("text/*, application/json;q=0.9", "text/csv"),
        ] {
            assert_eq!(chosen(accept).unwrap(), wanted, "{accept}");
        }
        for bad in ["text/html", "*/*;q=0", "text/csv;q=2", "nothing"] {
            let error = chosen(bad).unwrap_err();
            assert_eq!(error.code(), ErrorCode::UnsupportedMediaType, "{bad}");
        }
        assert_eq!(choose(&HeaderMap::new(), &offers).unwrap(), offers[0]);
    }
}
