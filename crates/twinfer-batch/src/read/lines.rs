//! JSON Lines: a value a line; empty lines are none.

use twinfer::{Result, err};

use super::text::Text;
use super::{CHUNK_BYTES, Chunks, MAX_ROW};
use crate::chunk::{Chunk, Place, Raw};

pub(super) struct Lines {
    text: Text,
    /// Rows and lines before what comes next.
    row: u64,
    line: u64,
    rows: usize,
    max_row: usize,
}

impl Lines {
    /// From a place on, to which the text was brought.
    pub(super) fn new(text: Text, from: &Place, rows: usize) -> Self {
        Self {
            text,
            row: from.row,
            line: from.line,
            rows,
            max_row: MAX_ROW,
        }
    }

    /// The next line, without what ends it, and whether it is too long; `None` at the end.
    fn line(&mut self) -> Result<Option<(Vec<u8>, bool)>> {
        let begin = self.text.byte();
        let (mut line, mut too_long) = (Vec::new(), false);
        loop {
            let buffer = self.text.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            too_long |= line.len() + part.len() > self.max_row;
            match too_long {
                true => line = Vec::new(),
                false => line.extend_from_slice(part),
            }
            let used = part.len() + usize::from(end.is_some());
            let ended = end.is_some() || used == 0;
            self.text.consume(used);
            if ended {
                return Ok((self.text.byte() > begin).then_some((line, too_long)));
            }
        }
    }
}

impl Chunks for Lines {
    fn next(&mut self) -> Result<Option<Chunk>> {
        let first = self.row;
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < self.rows
            && bytes < CHUNK_BYTES
            && let Some((line, too_long)) = self.line()?
        {
            self.line += 1;
            let line = match too_long {
                true => Err(err!(
                    BodyTooLarge,
                    "the line has more than {} bytes",
                    self.max_row
                )),
                false if line.trim_ascii().is_empty() => continue,
                false => Ok(line),
            };
            bytes += line.as_ref().map_or(0, Vec::len);
            self.row += 1;
            lines.push((self.line, line));
        }
        Ok((!lines.is_empty()).then_some(Chunk {
            first,
            rows: Raw::Lines(lines),
            file: None,
            next: self.text.place(self.row, self.line),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;
    use twinfer::ErrorCode;

    fn lines(text: &'static [u8], from: &Place, rows: usize, max_row: usize) -> Vec<Chunk> {
        // A small buffer, so that lines go over its end.
        let stream = Box::new(BufReader::with_capacity(3, text));
        let mut text = Text::stream("text", stream).unwrap();
        if from.byte > 0 {
            text.go_to(from).unwrap();
        }
        let mut lines = Lines::new(text, from, rows);
        lines.max_row = max_row;
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    fn texts(chunk: &Chunk) -> Vec<(u64, String)> {
        let Raw::Lines(lines) = &chunk.rows else {
            unreachable!()
        };
        let text = |line: &Result<Vec<u8>>| match line {
            Ok(line) => String::from_utf8(line.clone()).unwrap(),
            Err(error) => error.code().as_str().to_owned(),
        };
        lines.iter().map(|(at, line)| (*at, text(line))).collect()
    }

    #[test]
    fn lines_have_numbers_and_chunks_an_end() {
        let text = b"[1]\r\n\n  \n[2]\n[3]\n{\"long\": 12345678}\n[4]";
        let all = lines(text, &Place::default(), 2, 10);
        let found: Vec<_> = all.iter().map(texts).collect();
        let own = |list: &[(u64, &str)]| -> Vec<(u64, String)> {
            list.iter()
                .map(|(at, text)| (*at, (*text).into()))
                .collect()
        };
        assert_eq!(
            found,
            [
                own(&[(1, "[1]\r"), (4, "[2]")]),
                own(&[(5, "[3]"), (6, ErrorCode::BodyTooLarge.as_str())]),
                own(&[(7, "[4]")]),
            ]
        );
        // From each place the rest is what it was.
        for (at, chunk) in all.iter().enumerate() {
            let rest = lines(text, &chunk.next, 2, 10);
            assert_eq!(rest.len(), all.len() - at - 1);
            for (a, b) in rest.iter().zip(&all[at + 1..]) {
                assert_eq!((texts(a), a.first, &a.next), (texts(b), b.first, &b.next));
            }
        }
    }
}
