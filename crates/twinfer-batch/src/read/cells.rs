//! Tables in text (RFC 4180), record by record.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use twinfer::{Error, Result, bail, err};

use super::text::Text;
use super::{CHUNK_BYTES, Chunks, MAX_ROW};
use crate::chunk::{Chunk, Place, Raw};

/// More columns than this are an accident.
const MAX_COLUMNS: usize = 1 << 20;

/// The cells of a line, and where it begins, counted from 1.
type Record = (u64, Vec<Vec<u8>>);

/// The names of the columns, where the first line has them, and their number.
pub(super) type FirstLine = (Option<Vec<String>>, usize);

/// Reads records one after the other.
pub(super) struct Records {
    text: Text,
    reader: Reader,
    /// Rows and lines before what comes next.
    row: u64,
    line: u64,
    output: Vec<u8>,
    ends: Vec<usize>,
    max_row: usize,
    /// A record that was looked at already, and the place before it.
    peeked: Option<(Record, Place)>,
}

impl Records {
    /// # Errors
    /// `invalid_input` for gzip that cannot be read; `storage`.
    pub(super) fn new(mut text: Text, delimiter: u8) -> Result<Self> {
        let mut reader = ReaderBuilder::new().delimiter(delimiter).build();
        // The reader leaves out a byte order mark wherever it begins, and takes one that comes alone for
        // the end. So it sees none.
        reader.read_record(b"\n", &mut [0; 8], &mut [0; 8]);
        text.skip_mark()?;
        Ok(Self {
            text,
            reader,
            row: 0,
            line: 0,
            output: vec![0; 4096],
            ends: vec![0; 64],
            max_row: MAX_ROW,
            peeked: None,
        })
    }

    /// The place before the next record.
    fn place(&self) -> Place {
        match &self.peeked {
            Some((_, before)) => Place {
                row: self.row,
                ..before.clone()
            },
            None => self.text.place(self.row, self.line),
        }
    }

    /// Takes the names out of the first line, where it has them, and gives the number of columns.
    /// `None` without any line.
    ///
    /// # Errors
    /// `invalid_input` for names that are not UTF-8; those of [`Chunks::next`].
    pub(super) fn first_line(&mut self, header: bool) -> Result<Option<FirstLine>> {
        let before = self.place();
        let Some(record) = self.next()? else {
            return Ok(None);
        };
        // It is no row yet, or none.
        self.row = 0;
        let width = record.1.len();
        if !header {
            self.peeked = Some((record, before));
            return Ok(Some((None, width)));
        }
        let name = |cell: Vec<u8>| String::from_utf8(cell).map_err(|e| self.no_name(&e));
        let names = record.1.into_iter().map(name).collect::<Result<_>>()?;
        Ok(Some((Some(names), width)))
    }

    /// Whether it can be read from its beginning only.
    pub(super) fn is_stream(&self) -> bool {
        self.text.is_stream()
    }

    fn no_name(&self, error: &std::string::FromUtf8Error) -> Error {
        let name = self.text.name();
        err!(
            InvalidInput,
            "a name in the first line of {name} is not UTF-8: {error}"
        )
    }

    /// Goes on to a place, from that before the first row.
    ///
    /// # Errors
    /// Those of [`Text::go_to`].
    pub(super) fn go_to(&mut self, place: &Place) -> Result<()> {
        self.row = place.row;
        // Otherwise no row of this file is done.
        if place.byte > 0 {
            self.peeked = None;
            self.text.go_to(place)?;
            self.line = place.line;
        }
        Ok(())
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// `storage`; `body_too_large` for a record without an end: where the next one begins cannot be
    /// told.
    fn next(&mut self) -> Result<Option<Record>> {
        if let Some((record, _)) = self.peeked.take() {
            self.row += 1;
            return Ok(Some(record));
        }
        self.skip_line_ends()?;
        let begin = self.line + 1;
        let (mut filled, mut count) = (0, 0);
        loop {
            let buffer = self.text.fill_buf()?;
            let (result, read, written, ended) = (self.reader).read_record(
                buffer,
                &mut self.output[filled..],
                &mut self.ends[count..],
            );
            let line_ends = buffer[..read].iter().filter(|byte| **byte == b'\n');
            self.line += line_ends.count() as u64;
            self.text.consume(read);
            filled += written;
            count += ended;
            match result {
                // An empty input, the next time, says that this was all of it.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.output.len() >= self.max_row => bail!(
                    BodyTooLarge,
                    "the row that begins in line {begin} of {} has more than {} bytes: perhaps a quote is not closed",
                    self.text.name(),
                    self.max_row
                ),
                ReadRecordResult::OutputFull => self.output.resize(self.output.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= MAX_COLUMNS => bail!(
                    BodyTooLarge,
                    "the row that begins in line {begin} of {} has more than {MAX_COLUMNS} cells",
                    self.text.name()
                ),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    self.row += 1;
                    return Ok(Some((begin, self.cells(filled, count))));
                }
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    /// What is left of the line before, and empty lines.
    fn skip_line_ends(&mut self) -> Result<()> {
        loop {
            let buffer = self.text.fill_buf()?;
            let ends = buffer.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
            let ends = &buffer[..ends.count()];
            let count = ends.len();
            self.line += ends.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.text.consume(count);
            if count == 0 {
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
        let first = self.records.row;
        let begin = self.records.text.byte();
        let mut records = Vec::new();
        while records.len() < self.rows
            && self.records.text.byte() - begin < CHUNK_BYTES as u64
            && let Some(record) = self.records.next()?
        {
            records.push(record);
        }
        Ok((!records.is_empty()).then_some(Chunk {
            first,
            rows: Raw::Cells(records),
            file: None,
            next: self.records.place(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;
    use twinfer::ErrorCode;

    fn records(text: &'static str) -> Records {
        let stream = Box::new(BufReader::with_capacity(3, text.as_bytes()));
        Records::new(Text::stream("text", stream).unwrap(), b',').unwrap()
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
        let mut all = records(text);
        let (names, width) = all.first_line(true).unwrap().unwrap();
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
            let mut rest = records(text);
            rest.first_line(true).unwrap();
            rest.go_to(&chunk.next).unwrap();
            let rest = chunks(rest);
            assert_eq!(rest.len(), all.len() - at - 1);
            for (a, b) in rest.iter().zip(&all[at + 1..]) {
                assert_eq!((shown(a), a.first, &a.next), (shown(b), b.first, &b.next));
            }
        }
    }

    #[test]
    fn without_names_the_first_line_is_a_row() {
        let mut all = records("\u{feff}1,2\n3,4\n");
        assert_eq!(all.first_line(false).unwrap(), Some((None, 2)));
        assert_eq!((all.place().row, all.place().byte), (0, 3));
        let mut cells = Cells::new(all, 9);
        let chunk = cells.next().unwrap().unwrap();
        assert_eq!((chunk.first, chunk.next.row, chunk.rows.len()), (0, 2, 2));
        assert!(cells.next().unwrap().is_none());
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_fill_the_memory() {
        let mut all = records("a,\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\nccccccccccccc,d\n");
        all.output = vec![0; 4];
        all.max_row = 16;
        let error = all.next().unwrap_err();
        assert_eq!(error.code(), ErrorCode::BodyTooLarge, "{error}");
        assert_eq!(records("").first_line(true).unwrap(), None);
    }
}
