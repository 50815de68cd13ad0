//! Tables in text (RFC 4180), record by record.

use std::io::{BufRead, Cursor, Read};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use twinfer::{Result, bail, err};

use super::{CHUNK_BYTES, Chunks, MAX_ROW, Text};
use crate::chunk::{Chunk, Place, Raw};

/// More columns than this are an accident.
const MAX_COLUMNS: usize = 1 << 20;

/// The cells of a line, and where it begins, counted from 1.
type Record = (u64, Vec<Vec<u8>>);

/// Reads records one after the other.
pub(super) struct Records {
    text: Text,
    reader: Reader,
    place: Place,
    output: Vec<u8>,
    ends: Vec<usize>,
    max_row: usize,
    /// A record that was looked at already, and the place before it.
    peeked: Option<(Record, Place)>,
}

impl Records {
    /// # Errors
    /// `storage`.
    pub(super) fn new(text: Text, delimiter: u8, mut place: Place) -> Result<Self> {
        let mut reader = ReaderBuilder::new().delimiter(delimiter).build();
        // The reader leaves out a byte order mark wherever it begins, and takes one that comes alone for
        // the end. So it sees none.
        reader.read_record(b"\n", &mut [0; 8], &mut [0; 8]);
        let text = match place.byte {
            0 => {
                let (text, mark) =
                    without_mark(text).map_err(|e| err!(Storage, "cannot read the input: {e}"))?;
                place.byte = mark;
                text
            }
            _ => text,
        };
        Ok(Self {
            text,
            reader,
            place,
            output: vec![0; 4096],
            ends: vec![0; 64],
            max_row: MAX_ROW,
            peeked: None,
        })
    }

    /// The place before the next record.
    pub(super) fn place(&self) -> Place {
        match &self.peeked {
            Some((_, before)) => *before,
            None => self.place,
        }
    }

    /// Takes the names out of the first line, where it has them, and gives the number of columns.
    ///
    /// # Errors
    /// `invalid_input` without a first line, or for names that are not UTF-8.
    pub(super) fn first_line(&mut self, header: bool) -> Result<(Option<Vec<String>>, usize)> {
        let before = self.place;
        let Some(record) = self.next()? else {
            bail!(InvalidInput, "the table has no lines");
        };
        let width = record.1.len();
        if !header {
            self.place.row = 0;
            self.peeked = Some((record, before));
            return Ok((None, width));
        }
        let name = |cell: Vec<u8>| {
            String::from_utf8(cell)
                .map_err(|e| err!(InvalidInput, "a name in the first line is not UTF-8: {e}"))
        };
        let names = record.1.into_iter().map(name).collect::<Result<_>>()?;
        // It is no row.
        self.place.row = 0;
        Ok((Some(names), width))
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// `storage`; `body_too_large` for a record without an end: where the next one begins cannot be
    /// told.
    fn next(&mut self) -> Result<Option<Record>> {
        if let Some((record, _)) = self.peeked.take() {
            self.place.row += 1;
            return Ok(Some(record));
        }
        self.skip_line_ends()?;
        let begin = self.place.line + 1;
        let (mut filled, mut count) = (0, 0);
        loop {
            let buffer =
                (self.text.fill_buf()).map_err(|e| err!(Storage, "cannot read the input: {e}"))?;
            let (result, read, written, ended) = (self.reader).read_record(
                buffer,
                &mut self.output[filled..],
                &mut self.ends[count..],
            );
            let line_ends = buffer[..read].iter().filter(|byte| **byte == b'\n');
            self.place.line += line_ends.count() as u64;
            self.place.byte += read as u64;
            self.text.consume(read);
            filled += written;
            count += ended;
            match result {
                // An empty input, the next time, says that this was all of it.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.output.len() >= self.max_row => bail!(
                    BodyTooLarge,
                    "the row that begins in line {begin} has more than {} bytes: perhaps a quote is not closed",
                    self.max_row
                ),
                ReadRecordResult::OutputFull => self.output.resize(self.output.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= MAX_COLUMNS => bail!(
                    BodyTooLarge,
                    "the row that begins in line {begin} has more than {MAX_COLUMNS} cells"
                ),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    self.place.row += 1;
                    return Ok(Some((begin, self.cells(filled, count))));
                }
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    /// What is left of the line before, and empty lines.
    fn skip_line_ends(&mut self) -> Result<()> {
        loop {
            let buffer =
                (self.text.fill_buf()).map_err(|e| err!(Storage, "cannot read the input: {e}"))?;
            let ends = buffer.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
            let ends: Vec<u8> = ends.copied().collect();
            self.place.line += ends.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.place.byte += ends.len() as u64;
            self.text.consume(ends.len());
            if ends.is_empty() {
                return Ok(());
            }
        }
    }

    fn cells(&self, filled: usize, count: usize) -> Vec<Vec<u8>> {
        let mut start = 0;
        let cell = |end: &usize| {
            let cell = self.output[..filled].get(start..*end).unwrap_or_default();
            start = *end;
            cell.to_vec()
        };
        self.ends[..count].iter().map(cell).collect()
    }
}

/// Leaves out the byte order mark of UTF-8 at the beginning, and says how many bytes it has.
fn without_mark(mut text: Text) -> std::io::Result<(Text, u64)> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let mut begin = Vec::new();
    (&mut text)
        .take(MARK.len() as u64)
        .read_to_end(&mut begin)?;
    if begin == MARK {
        return Ok((text, MARK.len() as u64));
    }
    Ok((Box::new(Cursor::new(begin).chain(text)), 0))
}

pub(super) struct Cells {
    records: Records,
    rows: usize,
}

impl Cells {
    pub(super) fn new(records: Records, rows: usize) -> Self {
        Self { records, rows }
    }
}

impl Chunks for Cells {
    fn next(&mut self) -> Result<Option<Chunk>> {
        let first = self.records.place().row;
        let begin = self.records.place().byte;
        let mut records = Vec::new();
        while records.len() < self.rows
            && self.records.place.byte - begin < CHUNK_BYTES as u64
            && let Some(record) = self.records.next()?
        {
            records.push(record);
        }
        Ok((!records.is_empty()).then_some(Chunk {
            first,
            rows: Raw::Cells(records),
            next: self.records.place(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;
    use twinfer::ErrorCode;

    fn records(text: &'static str, from: Place) -> Records {
        let text = &text.as_bytes()[from.byte as usize..];
        Records::new(Box::new(BufReader::with_capacity(3, text)), b',', from).unwrap()
    }

    fn shown(chunk: &Chunk) -> Vec<(u64, Vec<String>)> {
        let Raw::Cells(records) = &chunk.rows else {
            unreachable!()
        };
        let text = |cell: &Vec<u8>| String::from_utf8(cell.clone()).unwrap();
        (records.iter())
            .map(|(line, cells)| (*line, cells.iter().map(text).collect()))
            .collect()
    }

    #[test]
    fn from_each_place_the_rest_is_what_it_was() {
        let text = "a,\"b\nc\"\r\n\r\n1,2\r\n\n\"x\"\"y\",\"two\nlines\"\n\u{feff}3,4\n5";
        let mut all = records(text, Place::default());
        let (names, width) = all.first_line(true).unwrap();
        assert_eq!(
            (names.unwrap(), width),
            (vec!["a".into(), "b\nc".into()], 2)
        );
        let chunks = |records| {
            let mut cells = Cells::new(records, 1);
            std::iter::from_fn(|| cells.next().unwrap()).collect::<Vec<_>>()
        };
        let all = chunks(all);
        let found: Vec<_> = all.iter().flat_map(shown).collect();
        let own = |line: u64, cells: &[&str]| (line, cells.iter().map(|c| (*c).into()).collect());
        assert_eq!(
            found,
            [
                own(4, &["1", "2"]),
                own(6, &["x\"y", "two\nlines"]),
                own(8, &["\u{feff}3", "4"]),
                own(9, &["5"]),
            ]
        );
        for (at, chunk) in all.iter().enumerate() {
            let rest = chunks(records(text, chunk.next));
            assert_eq!(rest.len(), all.len() - at - 1);
            for (a, b) in rest.iter().zip(&all[at + 1..]) {
                assert_eq!((shown(a), a.first, a.next), (shown(b), b.first, b.next));
            }
        }
    }

    #[test]
    fn without_names_the_first_line_is_a_row() {
        let mut all = records("\u{feff}1,2\n3,4\n", Place::default());
        assert_eq!(all.first_line(false).unwrap(), (None, 2));
        assert_eq!((all.place().row, all.place().byte), (0, 3));
        let mut cells = Cells::new(all, 9);
        let chunk = cells.next().unwrap().unwrap();
        assert_eq!((chunk.first, chunk.next.row, chunk.rows.len()), (0, 2, 2));
        assert!(cells.next().unwrap().is_none());
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_fill_the_memory() {
        let mut all = records(
            "a,\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\nccccccccccccc,d\n",
            Place::default(),
        );
        all.output = vec![0; 4];
        all.max_row = 16;
        let error = all.next().unwrap_err();
        assert_eq!(error.code(), ErrorCode::BodyTooLarge, "{error}");
        let error = records("", Place::default()).first_line(true).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidInput);
    }
}
