//! `multipart/form-data` (RFC 7578), of a body that is there as a whole.
//!
//! The libraries for this read streams, on an executor; this is the part that is left without one.

use bytes::Bytes;
use twinfer::{Result, bail, err};

use crate::media::{MediaType, unquote};

/// Parts that a form may have, and the length of the headers of one: more is no form that somebody
/// filled in.
const MAX_PARTS: usize = 10_000;
const MAX_HEADERS: usize = 16 << 10;

/// A field of a form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// The name of a file: fields without one are texts.
    pub(crate) file: Option<String>,
    pub(crate) content_type: Option<MediaType>,
    pub(crate) content: Bytes,
}

/// The fields of a form, in their order.
///
/// # Errors
/// `invalid_request` for a body that is no such form, `unsupported_media_type` without a boundary.
pub(crate) fn parts(media_type: &MediaType, body: &Bytes) -> Result<Vec<Part>> {
    let boundary = media_type.parameter("boundary").unwrap_or_default();
    // RFC 2046, section 5.1.1.
    if boundary.is_empty() || boundary.len() > 70 {
        bail!(
            UnsupportedMediaType,
            "multipart/form-data needs the parameter `boundary` with 1 to 70 characters"
        );
    }
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    // The first delimiter may be the begin of the body, without a line before it.
    let mut at = match body.starts_with(&delimiter[2..]) {
        true => delimiter.len() - 2,
        false => match find(body, &delimiter) {
            Some(found) => found + delimiter.len(),
            None => bail!(
                InvalidRequest,
                "the form has no line with its boundary {boundary:?}"
            ),
        },
    };
    let mut parts = Vec::new();
    loop {
        let rest = &body[at..];
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        // Spaces may follow a boundary.
        let padding = rest
            .iter()
            .take_while(|b| **b == b' ' || **b == b'\t')
            .count();
        if !rest[padding..].starts_with(b"\r\n") {
            bail!(
                InvalidRequest,
                "a boundary of the form is not at the end of its line"
            );
        }
        // With the line end before, which is that of the headers where there are none.
        let start = at + padding;
        let Some(length) = find(&body[start..], &delimiter) else {
            bail!(
                InvalidRequest,
                "the form breaks off: its last line is not its boundary with `--` behind"
            );
        };
        if parts.len() == MAX_PARTS {
            bail!(InvalidRequest, "the form has more than {MAX_PARTS} fields");
        }
        let read = part(&body.slice(start..start + length));
        parts.push(read.map_err(|e| e.context(format!("field {} of the form", parts.len() + 1)))?);
        at = start + length + delimiter.len();
    }
}

/// `\r\n`, headers, an empty line, content.
fn part(bytes: &Bytes) -> Result<Part> {
    let Some(end) = find(bytes, b"\r\n\r\n").filter(|end| *end <= MAX_HEADERS) else {
        bail!(
            InvalidRequest,
            "there is no empty line behind the headers, or they are longer than {MAX_HEADERS} bytes"
        );
    };
    let headers = std::str::from_utf8(&bytes[..end])
        .map_err(|e| err!(InvalidRequest, "the headers are not UTF-8: {e}"))?;
    let (mut name, mut file, mut content_type) = (None, None, None);
    for header in headers.split("\r\n").filter(|line| !line.is_empty()) {
        let Some((key, value)) = header.split_once(':') else {
            bail!(InvalidRequest, "the header {header:?} has no `:`");
        };
        match key.trim().to_ascii_lowercase().as_str() {
            "content-disposition" => {
                (name, file) = disposition(value)?;
            }
            "content-type" => content_type = MediaType::parse(value),
            // RFC 7578, section 4.7: deprecated, and nobody sends it.
            "content-transfer-encoding"
                if !["binary", "8bit", "7bit"]
                    .iter()
                    .any(|known| value.trim().eq_ignore_ascii_case(known)) =>
            {
                bail!(
                    InvalidRequest,
                    "the transfer encoding {:?} is not taken: send the bytes as they are",
                    value.trim()
                )
            }
            _ => {}
        }
    }
    let Some(name) = name else {
        bail!(
            InvalidRequest,
            "there is no `Content-Disposition: form-data; name=\"…\"`"
        );
    };
    Ok(Part {
        name,
        file,
        content_type,
        content: bytes.slice(end + 4..),
    })
}

/// Name and file name of `form-data; name="…"; filename="…"`.
fn disposition(value: &str) -> Result<(Option<String>, Option<String>)> {
    let mut rest = value.trim();
    let (kind, parameters) = rest.split_once(';').unwrap_or((rest, ""));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        bail!(
            InvalidRequest,
            "the disposition is {:?}, not form-data",
            kind.trim()
        );
    }
    rest = parameters;
    let (mut name, mut file) = (None, None);
    while let Some((key, behind)) = rest.split_once('=') {
        // Browsers write `%22` for a quote; others escape it. A quoted text ends at the first
        // quote that is not escaped.
        let behind = behind.trim_start();
        let length = match behind.strip_prefix('"') {
            Some(quoted) => {
                let mut escaped = false;
                let end = quoted.find(|c: char| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                end.ok_or_else(|| err!(InvalidRequest, "a quoted name has no end"))? + 2
            }
            None => behind.find(';').unwrap_or(behind.len()),
        };
        let text = unquote(behind[..length].trim());
        match key.trim().trim_start_matches(';').trim() {
            "name" => name = Some(text),
            "filename" => file = Some(text),
            _ => {}
        }
        rest = &behind[length..];
    }
    Ok((name, file))
}

/// Where a pattern is first.
fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    let first = *pattern.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(pattern) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfer::ErrorCode;

    fn read(body: &str) -> Result<Vec<Part>> {
        let media_type = MediaType::parse("multipart/form-data; boundary=XY").unwrap();
        parts(&media_type, &Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn fields_and_files() {
        let body = "preamble\r\n--XY\r\nContent-Disposition: form-data; name=\"a \\\"b\\\"\"\r\n\r\nx\r\ny\r\n--XY  \r\n\
            content-type: image/png\r\nCONTENT-DISPOSITION: form-data; filename=\"f;=.png\"; name=file\r\n\r\n--X\r\n--XY--\r\nepilogue";
        let found = read(body).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(
            (&*found[0].name, &found[0].file, &found[0].content[..]),
            ("a \"b\"", &None, &b"x\r\ny"[..])
        );
        assert_eq!(
            (
                &*found[1].name,
                found[1].file.as_deref(),
                &found[1].content[..]
            ),
            ("file", Some("f;=.png"), &b"--X"[..])
        );
        let png = MediaType::parse("image/png");
        assert_eq!(found[1].content_type, png);
        assert_eq!(read("--XY--").unwrap(), []);
        let empty =
            read("--XY\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--XY--").unwrap();
        assert_eq!(&empty[0].content[..], b"");
    }

    #[test]
    fn what_is_no_form() {
        for bad in [
            "",
            "--YX--",
            "--XY",
            "--XYZ\r\n",
            "--XY\r\n\r\n--XY--",
            "--XY\r\nContent-Disposition: form-data; name=a\r\n\r\nx",
            "--XY\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XY--",
            "--XY\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--XY--",
            "--XY\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--XY--",
            "--XY\r\nno header\r\n\r\nx\r\n--XY--",
            "--XY\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--XY--",
        ] {
            let error = read(bad).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidRequest, "{bad:?}: {error}");
        }
        let none = MediaType::parse("multipart/form-data").unwrap();
        let error = parts(&none, &Bytes::new()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnsupportedMediaType);
    }
}
