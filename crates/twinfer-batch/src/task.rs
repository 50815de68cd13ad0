//! What is done with a chunk.

use twinfer::{Error, Parameters, Result, err};
use twinfer_serve::offline::Item;

use crate::bad;
use crate::chunk::{Chunk, Place};
use crate::decode::{Decoder, Kept};
use crate::encode::{Encoded, Encoder};

/// Everything that a thread needs; the same for all.
pub(crate) struct Task<'a> {
    pub(crate) decoder: Decoder<'a>,
    pub(crate) encoder: Encoder,
    pub(crate) parameters: Parameters,
    /// Rows that the model runs at once.
    pub(crate) batch: usize,
}

/// A chunk that was worked on.
pub(crate) struct Done {
    pub(crate) output: Encoded,
    pub(crate) counted: Counted,
}

/// What there is to say of its rows beside their answers.
pub(crate) struct Counted {
    /// The place behind the last one.
    pub(crate) next: Place,
    /// Rows that were answered.
    pub(crate) good: u64,
    /// Rows that could not be answered, by their numbers.
    pub(crate) bad: Vec<(u64, Error)>,
    /// The same as they are written.
    pub(crate) bad_lines: Vec<u8>,
}

impl Task<'_> {
    /// # Errors
    /// What is wrong with all rows of the input.
    pub(crate) fn work(&self, chunk: &Chunk) -> Result<Done> {
        let (answers, kept) = self.answer(chunk)?;
        self.finish(chunk, answers, kept)
    }

    /// The answer to each row.
    ///
    /// # Errors
    /// Those of [`Task::work`].
    pub(crate) fn answer(&self, chunk: &Chunk) -> Result<(Vec<Result<Item>>, Kept)> {
        let decoded = self.decoder.decode(&chunk.rows)?;
        let mut asked = Vec::with_capacity(decoded.asked.len());
        let refused: Vec<Option<Error>> = (decoded.asked.into_iter())
            .map(|row| row.map(|row| asked.push(row)).err())
            .collect();
        let rows = &self.decoder.rows;
        let mut answers = rows.answer(asked, &self.parameters, self.batch).into_iter();
        let answer = |refused: Option<Error>| match refused {
            Some(error) => Err(error),
            None => answers
                .next()
                .unwrap_or_else(|| Err(err!(Internal, "a row has no answer"))),
        };
        Ok((refused.into_iter().map(answer).collect(), decoded.kept))
    }

    /// Answers as they are written.
    ///
    /// # Errors
    /// Those of [`Task::work`].
    pub(crate) fn finish(
        &self,
        chunk: &Chunk,
        answers: Vec<Result<Item>>,
        kept: Kept,
    ) -> Result<Done> {
        let numbered = (chunk.first..).zip(answers);
        let mut answers: Vec<_> = numbered
            .map(|(number, answer)| answer.map(|item| (number, item)))
            .collect();
        let output = self.encoder.encode(&mut answers, kept)?;
        let mut counted = Counted {
            next: chunk.next.clone(),
            good: 0,
            bad: Vec::new(),
            bad_lines: Vec::new(),
        };
        for (at, answer) in answers.into_iter().enumerate() {
            let Err(error) = answer else {
                counted.good += 1;
                continue;
            };
            let number = chunk.first + at as u64;
            let mut shown = self.decoder.shown(&chunk.rows, at);
            shown.file = shown.file.or_else(|| chunk.file.clone());
            counted.bad_lines.extend(bad::line(number, shown, &error));
            counted.bad.push((number, error));
        }
        Ok(Done { output, counted })
    }
}
