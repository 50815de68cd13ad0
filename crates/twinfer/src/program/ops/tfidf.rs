//! `TfIdfVectorizer`: counting n-grams.

use std::collections::HashMap;

use super::super::inputs::{self, Kernel, tensor_kernel};
use super::super::node::Node;
use crate::{Result, Tensor, bail, element_count, err};

pub(super) const OPS: super::Table = &[("TfIdfVectorizer", tfidf_vectorizer)];

/// More columns than a real model has: its attributes claim their number.
const MAX_COLUMNS: i64 = 1 << 24;

/// More counts than one output has.
const MAX_COUNTS: usize = 1 << 26;

#[derive(Clone, Copy)]
enum Mode {
    Tf,
    Idf,
    TfIdf,
}

struct Vectorizer {
    mode: Mode,
    /// Numbers of strings; integers are their own.
    words: Option<HashMap<String, i64>>,
    /// By the words of an n-gram its column.
    grams: HashMap<Vec<i64>, usize>,
    /// By column.
    weights: Vec<f32>,
    columns: usize,
    lengths: std::ops::RangeInclusive<usize>,
    skips: usize,
}

/// `TfIdfVectorizer` (Operators.md, ai.onnx 9).
fn tfidf_vectorizer(node: &Node<'_>) -> Result<Option<Kernel>> {
    let vectorizer = Vectorizer::read(node)?;
    tensor_kernel(move |inputs| vectorizer.run(inputs.tensor(0)?)).map(Some)
}

/// A small number that is an attribute.
fn small(node: &Node<'_>, name: &str) -> Result<usize> {
    let number = node.required(name, node.int_opt(name))?;
    let number = usize::try_from(number).ok().filter(|&n| n <= 1 << 20);
    number.ok_or_else(|| err!(InvalidModel, "attribute `{name}` is out of range"))
}

impl Vectorizer {
    fn read(node: &Node<'_>) -> Result<Self> {
        let mode = match node.required("mode", node.text_opt("mode")?)? {
            "TF" => Mode::Tf,
            "IDF" => Mode::Idf,
            "TFIDF" => Mode::TfIdf,
            other => bail!(InvalidModel, "mode is `{other}`"),
        };
        let texts = node.texts("pool_strings")?.filter(|pool| !pool.is_empty());
        let (words, pool) = match texts {
            Some(texts) => {
                let mut words = HashMap::new();
                let number = |text| {
                    let next = words.len() as i64;
                    *words.entry(text).or_insert(next)
                };
                let pool: Vec<i64> = texts.into_iter().map(number).collect();
                (Some(words), pool)
            }
            None => {
                let pool = node.required("pool_int64s", node.ints("pool_int64s"))?;
                (None, pool.to_vec())
            }
        };
        let indexes = node.required("ngram_indexes", node.ints("ngram_indexes"))?;
        let Some(&last) = indexes.iter().max() else {
            bail!(InvalidModel, "there are no n-grams");
        };
        if indexes.iter().any(|&at| at < 0) || last >= MAX_COLUMNS {
            bail!(InvalidModel, "an n-gram has no column");
        }
        let columns = last as usize + 1;
        let counts = node.required("ngram_counts", node.ints("ngram_counts"))?;
        let least = small(node, "min_gram_length")?.max(1);
        let lengths = least..=small(node, "max_gram_length")?;
        let given = node.floats("weights").unwrap_or_default();
        if !given.is_empty() && given.len() != indexes.len() {
            bail!(
                InvalidModel,
                "there are {} weights for {} n-grams",
                given.len(),
                indexes.len()
            );
        }
        let mut weights = vec![1.0; columns];
        for (&column, &weight) in indexes.iter().zip(given) {
            if let Some(place) = weights.get_mut(column as usize) {
                *place = weight;
            }
        }
        Ok(Self {
            mode,
            words,
            grams: grams(&pool, counts, indexes, &lengths)?,
            weights,
            columns,
            lengths,
            skips: small(node, "max_skip_count")?,
        })
    }

    /// The columns of the n-grams in a row, counted.
    fn count(&self, row: &[Option<i64>], counts: &mut [f32]) {
        let mut gram = Vec::new();
        for step in 1..=self.skips + 1 {
            // Steps beyond the row find nothing.
            if step > row.len().max(1) {
                break;
            }
            for start in 0..row.len() {
                gram.clear();
                for word in row[start..].iter().step_by(step).take(*self.lengths.end()) {
                    let Some(word) = word else { break };
                    gram.push(*word);
                    // A single word is the same with every step.
                    let counts_here = gram.len() > 1 || step == 1;
                    if counts_here
                        && self.lengths.contains(&gram.len())
                        && let Some(&column) = self.grams.get(&gram[..])
                        && let Some(count) = counts.get_mut(column)
                    {
                        *count += 1.0;
                    }
                }
            }
        }
    }

    fn run(&self, tensor: &Tensor) -> Result<Tensor> {
        let words: Vec<Option<i64>> = match (&self.words, tensor.strings()) {
            (Some(words), Some(texts)) => {
                texts.iter().map(|text| words.get(text).copied()).collect()
            }
            (None, None) => inputs::ints(tensor)?.into_iter().map(Some).collect(),
            _ => bail!(WrongDtype, "the n-grams are not of {}", tensor.dtype()),
        };
        let (rows, width, shape) = match *tensor.shape() {
            [] => (1, 1, vec![self.columns]),
            [width] => (1, width, vec![self.columns]),
            [rows, width] => (rows, width, vec![rows, self.columns]),
            ref shape => bail!(InvalidInput, "TfIdfVectorizer takes no shape {shape:?}"),
        };
        let count = element_count(&shape)?;
        if count > MAX_COUNTS {
            bail!(
                InvalidInput,
                "{rows} rows of {} columns are too many",
                self.columns
            );
        }
        let mut all = vec![0f32; count];
        if width > 0 {
            let of_rows = all.chunks_exact_mut(self.columns);
            for (counts, row) in of_rows.zip(words.chunks_exact(width)) {
                self.count(row, counts);
                self.weigh(counts);
            }
        }
        Tensor::from_vec(&shape, all)
    }

    fn weigh(&self, counts: &mut [f32]) {
        for (count, weight) in counts.iter_mut().zip(&self.weights) {
            match self.mode {
                Mode::Tf => {}
                Mode::Idf if *count > 0.0 => *count = *weight,
                Mode::Idf => {}
                Mode::TfIdf => *count *= weight,
            }
        }
    }
}

/// The columns of n-grams. The pool has all of one word first, then all of two, and so on.
fn grams(
    pool: &[i64],
    counts: &[i64],
    indexes: &[i64],
    lengths: &std::ops::RangeInclusive<usize>,
) -> Result<HashMap<Vec<i64>, usize>> {
    let mut all = HashMap::new();
    let mut columns = indexes.iter();
    let starts: Vec<usize> = (counts.iter())
        .map(|&start| usize::try_from(start).ok().filter(|&at| at <= pool.len()))
        .collect::<Option<_>>()
        .ok_or_else(|| err!(InvalidModel, "an n-gram begins outside of the pool"))?;
    for (at, &start) in starts.iter().enumerate() {
        let end = starts.get(at + 1).copied().unwrap_or(pool.len());
        let Some(part) = pool.get(start..end) else {
            bail!(InvalidModel, "ngram_counts goes backwards");
        };
        let length = at + 1;
        if !part.len().is_multiple_of(length) {
            bail!(InvalidModel, "{} words are no {length}-grams", part.len());
        }
        for gram in part.chunks_exact(length) {
            let Some(&column) = columns.next() else {
                bail!(InvalidModel, "there are more n-grams than ngram_indexes");
            };
            if lengths.contains(&length) {
                all.insert(gram.to_vec(), column as usize);
            }
        }
    }
    Ok(all)
}
