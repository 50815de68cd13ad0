//! Strings: joining, splitting, cleaning, and counting them.

use regex_lite::Regex;

use super::super::arrange;
use super::super::inputs::{Inputs, Kernel, kernel, tensor_kernel};
use super::super::node::Node;
use crate::{Result, Tensor, Value, bail, element_count, err};

pub(super) const OPS: super::Table = &[
    ("RegexFullMatch", regex_full_match),
    ("StringConcat", string_concat),
    ("StringNormalizer", string_normalizer),
    ("StringSplit", string_split),
];

/// What `com.microsoft` has of them.
pub(super) const MICROSOFT: super::Table = &[("Tokenizer", tokenizer)];

/// What the engine has, but not for strings.
pub(super) const FALLBACKS: super::Table = &[("Tile", tile)];

/// More elements than what is repeated or filled up here may have.
const MAX_ELEMENTS: usize = 1 << 26;

/// `Tile` (Operators.md, ai.onnx 1, 6 and 13).
fn tile(node: &Node<'_>) -> Result<Option<Kernel>> {
    let along_one = node.version() < 6;
    tensor_kernel(move |inputs| {
        let tensor = inputs.tensor(0)?;
        let repeats = match along_one {
            // How often, and along which axis, as numbers of the type of the tensor.
            true => {
                let number = |index| Ok(inputs.number_opt(index)?.unwrap_or_default() as i64);
                let axis = super::super::inputs::axis(number(2)?, tensor.shape().len())?;
                let mut repeats = vec![1; tensor.shape().len()];
                repeats[axis] = number(1)?;
                repeats
            }
            false => inputs.ints(1)?,
        };
        let of = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        let repeats: Vec<usize> = repeats.into_iter().map(of).collect();
        if repeats.len() != tensor.shape().len() {
            bail!(
                InvalidInput,
                "{repeats:?} does not say how often to repeat {:?}",
                tensor.shape()
            );
        }
        let axes = tensor.shape().iter().zip(&repeats);
        let shape: Vec<usize> = axes.map(|(a, b)| a.saturating_mul(*b)).collect();
        check_size(&shape)?;
        if shape.contains(&0) {
            return arrange::empty(tensor.dtype(), &shape);
        }
        if let Some(strings) = tensor.strings() {
            let all = repeated(strings.to_vec(), tensor.shape(), &repeats, 1);
            return Tensor::from_strings(&shape, all);
        }
        match (tensor.as_bytes(), tensor.dtype().bits()) {
            (Some(bytes), Some(bits)) if bits % 8 == 0 => {
                let all = repeated(bytes.to_vec(), tensor.shape(), &repeats, bits / 8);
                Tensor::from_slice(tensor.dtype(), &shape, &all)
            }
            _ => bail!(UnsupportedDtype, "Tile of {}", tensor.dtype()),
        }
    })
    .map(Some)
}

/// Elements of `size` parts, repeated along each axis, the last one first.
fn repeated<T: Clone>(all: Vec<T>, shape: &[usize], repeats: &[usize], size: usize) -> Vec<T> {
    let (mut all, mut chunk) = (all, size);
    for (axis, &repeat) in shape.iter().zip(repeats).rev() {
        chunk *= axis;
        if repeat > 1 {
            let chunks = all.chunks_exact(chunk.max(1));
            all = chunks
                .flat_map(|chunk| std::iter::repeat_n(chunk, repeat).flatten())
                .cloned()
                .collect();
        }
        chunk *= repeat;
    }
    all
}

/// Small inputs can ask for more than memory holds.
fn check_size(shape: &[usize]) -> Result<()> {
    if element_count(shape)? > MAX_ELEMENTS {
        bail!(InvalidInput, "a tensor of {shape:?} is not made");
    }
    Ok(())
}

/// The strings of an input.
fn strings<'a>(inputs: &Inputs<'a>, index: usize) -> Result<(&'a Tensor, &'a [String])> {
    let tensor = inputs.tensor(index)?;
    match tensor.strings() {
        Some(strings) => Ok((tensor, strings)),
        None => bail!(
            WrongDtype,
            "input {index} is of strings, not {}",
            tensor.dtype()
        ),
    }
}

/// The shape that two have in common.
fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let axis = |shape: &[usize], at: usize| {
        let missing = rank - shape.len();
        at.checked_sub(missing).map_or(1, |at| shape[at])
    };
    (0..rank)
        .map(|at| match (axis(a, at), axis(b, at)) {
            (a, b) if a == b || b == 1 => Ok(a),
            (1, b) => Ok(b),
            _ => bail!(InvalidInput, "{a:?} and {b:?} do not fit"),
        })
        .collect()
}

/// Of each element of `shape` its place in a tensor of `from`, which fits to it.
fn places(from: &[usize], shape: &[usize]) -> Vec<usize> {
    let mut all = vec![0];
    let missing = shape.len().saturating_sub(from.len());
    for (at, &axis) in shape.iter().enumerate() {
        let own = at.checked_sub(missing).map_or(1, |at| from[at]);
        let step = |place: usize| {
            (0..axis).map(move |index| place * own + if own == 1 { 0 } else { index })
        };
        all = all.into_iter().flat_map(step).collect();
    }
    all
}

/// `StringConcat` (Operators.md, ai.onnx 20).
fn string_concat(_node: &Node<'_>) -> Result<Option<Kernel>> {
    tensor_kernel(|inputs| {
        let ((a, left), (b, right)) = (strings(inputs, 0)?, strings(inputs, 1)?);
        let shape = broadcast(a.shape(), b.shape())?;
        check_size(&shape)?;
        let pairs = places(a.shape(), &shape)
            .into_iter()
            .zip(places(b.shape(), &shape));
        let text = |strings: &[String], at: usize| strings.get(at).cloned().unwrap_or_default();
        let joined = pairs.map(|(a, b)| text(left, a) + &text(right, b));
        Tensor::from_strings(&shape, joined.collect())
    })
    .map(Some)
}

/// `StringSplit` (Operators.md, ai.onnx 20).
fn string_split(node: &Node<'_>) -> Result<Option<Kernel>> {
    let delimiter = node.text("delimiter", "")?.to_owned();
    let most = (node.int_opt("maxsplit")).map(|most| usize::try_from(most).unwrap_or(usize::MAX));
    kernel(move |inputs| {
        let (tensor, texts) = strings(inputs, 0)?;
        let parts: Vec<Vec<&str>> = (texts.iter())
            .map(|text| split(text, &delimiter, most.unwrap_or(usize::MAX)))
            .collect();
        let counts = parts.iter().map(|parts| parts.len() as i64).collect();
        let width = parts.iter().map(Vec::len).max().unwrap_or(0);
        let mut shape = tensor.shape().to_vec();
        shape.push(width);
        Ok(vec![
            Value::Tensor(padded(&parts, width, "", &shape)?),
            Value::Tensor(Tensor::from_vec(tensor.shape(), counts)?),
        ])
    })
    .map(Some)
}

/// The parts of a text: at most so many splits, and the rest.
fn split<'a>(text: &'a str, delimiter: &str, most: usize) -> Vec<&'a str> {
    if !delimiter.is_empty() {
        return match text {
            // As numpy and onnxruntime have it: an empty text has no parts.
            "" => Vec::new(),
            text => text.splitn(most.saturating_add(1), delimiter).collect(),
        };
    }
    let (mut parts, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        match rest.find(char::is_whitespace) {
            Some(end) if parts.len() < most => {
                parts.push(&rest[..end]);
                rest = rest[end..].trim_start();
            }
            Some(_) => {
                parts.push(rest.trim_end());
                break;
            }
            None => {
                parts.push(rest);
                break;
            }
        }
    }
    parts
}

/// Rows of texts, filled up to one width.
fn padded(rows: &[Vec<&str>], width: usize, pad: &str, shape: &[usize]) -> Result<Tensor> {
    check_size(shape)?;
    let mut all = Vec::new();
    for row in rows {
        all.extend(row.iter().map(|&part| part.to_owned()));
        let missing = width.saturating_sub(row.len());
        all.extend(std::iter::repeat_n(pad.to_owned(), missing));
    }
    Tensor::from_strings(shape, all)
}

/// A pattern of RE2. What differs: classes of Unicode (`\pL`) are not there.
fn regex(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|e| {
        err!(
            UnsupportedOperator,
            "the pattern `{pattern}` is none that is supported: {e}"
        )
    })
}

/// `RegexFullMatch` (Operators.md, ai.onnx 20).
fn regex_full_match(node: &Node<'_>) -> Result<Option<Kernel>> {
    let pattern = node.required("pattern", node.text_opt("pattern")?)?;
    // By itself as well: the brackets around it must not be what makes it valid.
    regex(pattern)?;
    let whole = regex(&format!("^(?:{pattern})$"))?;
    tensor_kernel(move |inputs| {
        let (tensor, texts) = strings(inputs, 0)?;
        let matched = texts.iter().map(|text| whole.is_match(text)).collect();
        Tensor::from_vec(tensor.shape(), matched)
    })
    .map(Some)
}

/// What `StringNormalizer` does to letters.
#[derive(Clone, Copy)]
enum Case {
    Lower,
    Upper,
    Keep,
}

impl Case {
    fn apply(self, text: &str) -> String {
        // One character for one, as C has it; those that have none stay.
        fn single(c: char, mut to: impl Iterator<Item = char>) -> char {
            match (to.next(), to.next()) {
                (Some(one), None) => one,
                _ => c,
            }
        }
        match self {
            Self::Lower => text.chars().map(|c| single(c, c.to_lowercase())).collect(),
            Self::Upper => text.chars().map(|c| single(c, c.to_uppercase())).collect(),
            Self::Keep => text.to_owned(),
        }
    }
}

/// `StringNormalizer` (Operators.md, ai.onnx 10). Of locales, only that without a name is there.
fn string_normalizer(node: &Node<'_>) -> Result<Option<Kernel>> {
    let case = match node.text("case_change_action", "NONE")? {
        "LOWER" => Case::Lower,
        "UPPER" => Case::Upper,
        "NONE" => Case::Keep,
        other => bail!(InvalidModel, "case_change_action is `{other}`"),
    };
    let compared = match node.flag("is_case_sensitive", false) {
        true => Case::Keep,
        false => Case::Lower,
    };
    let stop = node.texts("stopwords")?.unwrap_or_default();
    let stop: std::collections::HashSet<String> =
        stop.iter().map(|word| compared.apply(word)).collect();
    tensor_kernel(move |inputs| {
        let (tensor, texts) = strings(inputs, 0)?;
        let kept = texts
            .iter()
            .filter(|text| !stop.contains(&compared.apply(text)));
        let mut kept: Vec<String> = kept.map(|text| case.apply(text)).collect();
        if kept.is_empty() {
            kept.push(String::new());
        }
        let shape = match *tensor.shape() {
            [_] => vec![kept.len()],
            [1, _] => vec![1, kept.len()],
            ref shape => bail!(InvalidInput, "StringNormalizer takes no shape {shape:?}"),
        };
        Tensor::from_strings(&shape, kept)
    })
    .map(Some)
}

/// How `Tokenizer` cuts.
enum Cut {
    Characters,
    Separators(Vec<Regex>),
    Tokens(Regex),
}

impl Cut {
    fn read(node: &Node<'_>) -> Result<Self> {
        let separators = node.texts("separators")?.filter(|list| !list.is_empty());
        let expression = node.text_opt("tokenexp")?.filter(|text| !text.is_empty());
        match (separators, expression) {
            (Some(list), None) if list.len() == 1 && list.iter().all(String::is_empty) => {
                Ok(Self::Characters)
            }
            (Some(list), None) => {
                let all = list.iter().map(|separator| regex(separator));
                Ok(Self::Separators(all.collect::<Result<_>>()?))
            }
            // For onnxruntime this is no expression but "each character", ends of lines among them.
            (None, Some(".")) => Ok(Self::Characters),
            (None, Some(expression)) => Ok(Self::Tokens(regex(expression)?)),
            _ => bail!(
                InvalidModel,
                "Tokenizer needs one of separators and tokenexp"
            ),
        }
    }

    fn apply<'a>(&self, text: &'a str, least: usize) -> Vec<&'a str> {
        let is_long = |token: &&str| !token.is_empty() && token.chars().count() >= least;
        match self {
            Self::Characters => {
                let starts = text.char_indices();
                starts.map(|(at, c)| &text[at..at + c.len_utf8()]).collect()
            }
            Self::Separators(separators) => {
                let mut tokens = vec![text];
                for separator in separators {
                    tokens = (tokens.into_iter())
                        .flat_map(|token| separator.split(token))
                        .filter(is_long)
                        .collect();
                }
                tokens
            }
            Self::Tokens(expression) => {
                let found = expression.find_iter(text).map(|found| found.as_str());
                found.filter(is_long).collect()
            }
        }
    }
}

/// `Tokenizer` (ContribOperators.md, com.microsoft 1).
fn tokenizer(node: &Node<'_>) -> Result<Option<Kernel>> {
    let cut = Cut::read(node)?;
    let marks = node.flag("mark", false);
    let pad = node
        .required("pad_value", node.text_opt("pad_value")?)?
        .to_owned();
    let least = usize::try_from(node.int("mincharnum", 1)).unwrap_or(1);
    tensor_kernel(move |inputs| {
        let (tensor, texts) = strings(inputs, 0)?;
        if !matches!(tensor.shape().len(), 1 | 2) {
            bail!(
                InvalidInput,
                "Tokenizer takes no shape {:?}",
                tensor.shape()
            );
        }
        let mut rows: Vec<Vec<&str>> = texts.iter().map(|text| cut.apply(text, least)).collect();
        // Where there is no token at all, there are no marks either.
        if marks && rows.iter().any(|row| !row.is_empty()) {
            // "Start of text" and "end of text" of ASCII.
            for row in &mut rows {
                row.insert(0, "\u{2}");
                row.push("\u{3}");
            }
        }
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut shape = tensor.shape().to_vec();
        shape.push(width);
        padded(&rows, width, &pad, &shape)
    })
    .map(Some)
}
