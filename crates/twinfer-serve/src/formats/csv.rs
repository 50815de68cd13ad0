//! Tables as CSV (RFC 4180).

use csv_core::{ReadRecordResult, Reader};
use serde_json::Value as Json;
use twinfer::{DType, Result, bail, err, number_to_json};

use super::table::{self, Columns, Item};
use crate::media::MediaType;
use crate::table::typed;

/// Whether the first line has the names of the columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Header {
    Present,
    Absent,
    /// It has where one of its cells is a column of the model, or none of them is a number.
    Guess,
}

impl Header {
    /// Whether this first line has names.
    pub(crate) fn is_there(self, columns: &Columns<'_>, first: &[String]) -> bool {
        let is_name = |cell: &String| !cell.is_empty() && cell.trim().parse::<f64>().is_err();
        match self {
            Self::Present => true,
            Self::Absent => false,
            Self::Guess => first.iter().any(|cell| columns.has(cell)) || first.iter().all(is_name),
        }
    }

    /// The parameter `header` of the media type (RFC 4180, section 3).
    ///
    /// # Errors
    /// `unsupported_media_type` for another word, and for a charset that is not UTF-8.
    pub(crate) fn of(media_type: Option<&MediaType>) -> Result<Self> {
        let Some(media_type) = media_type else {
            return Ok(Self::Guess);
        };
        if let Some(charset) = media_type.parameter("charset")
            && !charset.eq_ignore_ascii_case("utf-8")
            && !charset.eq_ignore_ascii_case("us-ascii")
        {
            bail!(
                UnsupportedMediaType,
                "CSV is read as UTF-8, not as {charset:?}"
            );
        }
        match media_type.parameter("header") {
            None => Ok(Self::Guess),
            Some("present") => Ok(Self::Present),
            Some("absent") => Ok(Self::Absent),
            Some(other) => bail!(
                UnsupportedMediaType,
                "the parameter `header` of text/csv is `present` or `absent`, not {other:?}"
            ),
        }
    }
}

/// The rows of a table for [`crate::rows`]. An empty cell is a missing value.
///
/// # Errors
/// `invalid_request` for what is no table: not UTF-8, lines of other lengths, a name twice.
pub(crate) fn rows(columns: &Columns<'_>, header: Header, body: &[u8]) -> Result<Vec<Json>> {
    let records = read(body)?;
    let Some((_, first)) = records.first() else {
        return Ok(Vec::new());
    };
    let has_names = header.is_there(columns, first);
    let names = if has_names { first.clone() } else { Vec::new() };
    Columns::check(&names)?;
    let width = first.len();
    let dtypes: Vec<Option<DType>> = (0..width)
        .map(|at| columns.dtype(names.get(at).map_or("", String::as_str), at))
        .collect();
    let row = |(line, cells): &(usize, Vec<String>)| {
        if cells.len() != width {
            bail!(
                InvalidRequest,
                "line {line} of the table has {} cells, the first one has {width}",
                cells.len()
            );
        }
        let cells = cells.iter().zip(&dtypes);
        let cells = cells.map(|(cell, dtype)| match value(cell, *dtype) {
            Json::Null => columns.missing(*dtype),
            value => value,
        });
        let cells = cells.collect();
        Ok(columns.row(&names, cells))
    };
    records[usize::from(has_names)..].iter().map(row).collect()
}

/// The lines that are not empty: where each begins, and its cells.
pub(crate) fn read(body: &[u8]) -> Result<Vec<(usize, Vec<String>)>> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body)
        .map_err(|e| err!(InvalidRequest, "the table is not UTF-8: {e}"))?;
    let (mut reader, mut rest) = (Reader::new(), text.as_bytes());
    // No cell is longer than the text, and there are no more of them than bytes and one.
    let mut output = vec![0; text.len() + 1];
    let mut ends = vec![0; 64];
    let mut records = Vec::new();
    let (mut filled, mut count, mut line, mut counted) = (0, 0, 1, 0);
    loop {
        let (result, read, written, ended) =
            reader.read_record(rest, &mut output[filled..], &mut ends[count..]);
        rest = &rest[read..];
        filled += written;
        count += ended;
        match result {
            // The empty input, the next time, says that this was all of it.
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputFull => output.resize(output.len() * 2, 0),
            ReadRecordResult::OutputEndsFull => ends.resize(ends.len() * 2, 0),
            ReadRecordResult::Record => {
                records.push((line, cells(&output[..filled], &ends[..count])?));
                (filled, count) = (0, 0);
                // The next record begins behind what may be left of this line and empty ones.
                let ends_line = |byte: &&u8| matches!(byte, b'\r' | b'\n');
                let empty = rest.iter().take_while(ends_line).count();
                let end = text.len() - rest.len() + empty;
                line += text.as_bytes()[counted..end]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count();
                counted = end;
            }
            ReadRecordResult::End => return Ok(records),
        }
    }
}

fn cells(output: &[u8], ends: &[usize]) -> Result<Vec<String>> {
    let mut start = 0;
    let cell = |end: &usize| {
        let cell = output.get(start..*end).unwrap_or_default();
        start = *end;
        String::from_utf8(cell.to_vec())
            .map_err(|e| err!(InvalidRequest, "a cell of the table is not UTF-8: {e}"))
    };
    ends.iter().map(cell).collect()
}

/// A cell as what its column takes. What it is not stays a text, for the model to refuse by name.
pub(crate) fn value(cell: &str, dtype: Option<DType>) -> Json {
    if let Some(dtype) = dtype {
        return typed(cell, dtype);
    }
    match (cell.parse::<i64>(), cell.parse::<f64>()) {
        (Ok(whole), _) => whole.into(),
        (_, Ok(float)) => number_to_json(float),
        _ => cell.into(),
    }
}

/// Answers as a table, with the names of its columns in the first line where `header` says so.
pub(crate) fn write(items: &[Item], header: bool) -> Vec<u8> {
    let columns = table::columns(items);
    let mut text = String::new();
    if header {
        line(&mut text, columns.iter().map(|c| c.name.clone()));
    }
    for row in 0..items.len() {
        line(&mut text, columns.iter().map(|c| shown(&c.cells[row])));
    }
    text.into_bytes()
}

fn shown(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    let start = text.len();
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            text.push(',');
        }
        if cell.contains([',', '"', '\r', '\n']) {
            text.push('"');
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(&cell);
        }
    }
    if text.len() == start {
        // An empty line would be no row.
        text.push_str("\"\"");
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use twinfer::ErrorCode;

    fn parse(text: &str, header: Header) -> Result<Json> {
        rows(&Columns::Map(DType::F32), header, text.as_bytes()).map(Json::Array)
    }

    #[test]
    fn lines_and_quotes() {
        let text = "a,\"b \"\"c\"\", d\",\"e\nf\"\r\n1,x,-2.5\n\n,true,nan";
        let row = json!([
            {"a": 1.0, "b \"c\", d": "x", "e\nf": -2.5},
            {"a": null, "b \"c\", d": 1, "e\nf": null},
        ]);
        assert_eq!(parse(text, Header::Present).unwrap(), row);
        assert_eq!(parse("", Header::Guess).unwrap(), json!([]));
        assert_eq!(parse("1,2\n", Header::Guess).unwrap(), json!([[1.0, 2.0]]));
        let named = parse("\u{feff}a,b\n1,2\n", Header::Guess).unwrap();
        assert_eq!(named, json!([{"a": 1.0, "b": 2.0}]));
    }

    #[test]
    fn many_cells_and_long_ones() {
        let wide = vec!["1"; 1000].join(",");
        let found = parse(&wide, Header::Absent).unwrap();
        assert_eq!(found[0].as_array().unwrap().len(), 1000);
        let long = "x".repeat(100_000);
        let found = parse(&format!("a\n{long}\n"), Header::Present).unwrap();
        assert_eq!(found[0]["a"], long.as_str());
    }

    #[test]
    fn what_is_no_table() {
        for (bad, header) in [
            ("a,b\n1\n", Header::Present),
            ("1,2\n1,2,3\n", Header::Absent),
            ("a,a\n1,2\n", Header::Present),
        ] {
            let error = parse(bad, header).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidRequest, "{bad}");
        }
        let error = parse("a,b\n1,2\n\n3\n", Header::Present).unwrap_err();
        assert!(error.message().contains("line 4"), "{error}");
        let columns = Columns::Map(DType::F32);
        assert!(rows(&columns, Header::Absent, b"1,\xff\n").is_err());
        for (text, good) in [
            ("text/csv", true),
            ("text/csv; header=absent; charset=UTF-8", true),
            ("text/csv; header=maybe", false),
            ("text/csv; charset=latin1", false),
        ] {
            let media_type = MediaType::parse(text);
            assert_eq!(Header::of(media_type.as_ref()).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn answers() {
        let item = |json: Json| json.as_object().unwrap().clone();
        let items = [
            item(json!({"label": "a,b", "p": {"x": 0.25}})),
            item(json!({"label": "say \"c\"", "p": {"x": "NaN"}, "l": [1, 2]})),
        ];
        let text = String::from_utf8(write(&items, true)).unwrap();
        assert_eq!(
            text,
            "label,p.x,l\r\n\"a,b\",0.25,\r\n\"say \"\"c\"\"\",NaN,\"[1,2]\"\r\n"
        );
        assert!(write(&items, false).starts_with(b"\"a,b\",0.25"));
    }
}
