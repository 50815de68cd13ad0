//! The header of a `.npy` file: a Python dictionary in text.

use std::fmt;

use twinfer::{Result, bail, err};

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// What a file says of itself.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub descr: Descr,
    pub fortran_order: bool,
    pub shape: Vec<usize>,
}

/// The type of the elements: NumPy's type string.
#[derive(Debug, PartialEq)]
pub(super) struct Descr {
    pub big_endian: bool,
    pub kind: Kind,
    /// Bytes of an element; characters of four bytes for [`Kind::Unicode`].
    pub size: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Signed,
    Unsigned,
    Float,
    Complex,
    Bytes,
    Unicode,
    Void,
}

impl fmt::Display for Descr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.big_endian { '>' } else { '<' };
        let kind = match self.kind {
            Kind::Bool => 'b',
            Kind::Signed => 'i',
            Kind::Unsigned => 'u',
            Kind::Float => 'f',
            Kind::Complex => 'c',
            Kind::Bytes => 'S',
            Kind::Unicode => 'U',
            Kind::Void => 'V',
        };
        write!(f, "{order}{kind}{}", self.size)
    }
}

impl Descr {
    /// Bytes of an element in the file.
    pub fn item_size(&self) -> usize {
        match self.kind {
            Kind::Unicode => self.size.saturating_mul(4),
            _ => self.size,
        }
    }

    /// The elements in little-endian order.
    pub fn to_little_endian(&self, mut data: Vec<u8>) -> Vec<u8> {
        let part = match self.kind {
            // The real and the imaginary part each.
            Kind::Complex => self.size / 2,
            _ => self.size,
        };
        if self.big_endian && part > 1 {
            data.chunks_exact_mut(part).for_each(<[u8]>::reverse);
        }
        data
    }

    fn parse(text: &str) -> Result<Self> {
        let unsupported = || {
            err!(
                UnsupportedDtype,
                "the .npy file has elements of type `{text}`; expected one of NumPy's plain types, like <f4"
            )
        };
        let mut chars = text.chars();
        let order = chars.next().ok_or_else(unsupported)?;
        let kind = match chars.next() {
            Some('b') => Kind::Bool,
            Some('i') => Kind::Signed,
            Some('u') => Kind::Unsigned,
            Some('f') => Kind::Float,
            Some('c') => Kind::Complex,
            Some('S' | 'a') => Kind::Bytes,
            Some('U') => Kind::Unicode,
            Some('V') => Kind::Void,
            Some('O') => bail!(
                UnsupportedDtype,
                "the .npy file has Python objects in it, which are never read: convert them first, strings by array.astype(str)"
            ),
            _ => return Err(unsupported()),
        };
        let size = chars.as_str().parse().map_err(|_| unsupported())?;
        // One item is never larger than 2 GiB in NumPy.
        if !matches!(order, '<' | '>' | '|' | '=') || size > 1 << 29 {
            return Err(unsupported());
        }
        Ok(Self {
            big_endian: order == '>',
            kind,
            size,
        })
    }
}

/// The header, and the data behind it.
pub(super) fn read(file: &[u8]) -> Result<(Header, &[u8])> {
    if file.starts_with(b"PK") {
        bail!(
            InvalidInput,
            "it is a .npz archive; give its arrays one by one, as .npy files"
        );
    }
    let cut = || {
        err!(
            InvalidInput,
            "it is not a whole .npy file: the header is cut short"
        )
    };
    let rest = file.strip_prefix(MAGIC).ok_or_else(|| {
        err!(
            InvalidInput,
            "it is not a .npy file (NumPy's numpy.save makes them)"
        )
    })?;
    let (version, rest) = rest.split_at_checked(2).ok_or_else(cut)?;
    let length_size = match version[0] {
        1 => 2,
        2 | 3 => 4,
        other => bail!(
            InvalidInput,
            "the .npy file has format version {other}; 1 to 3 are read"
        ),
    };
    let (length, rest) = rest.split_at_checked(length_size).ok_or_else(cut)?;
    let length = length
        .iter()
        .rev()
        .fold(0usize, |n, &byte| n << 8 | usize::from(byte));
    let (text, data) = rest.split_at_checked(length).ok_or_else(cut)?;
    let text = std::str::from_utf8(text)
        .map_err(|_| err!(InvalidInput, "the header of the .npy file is not text"))?;
    let header = parse(text).map_err(|e| {
        e.context(format!(
            "the header of the .npy file, `{}`",
            text.trim().chars().take(200).collect::<String>()
        ))
    })?;
    Ok((header, data))
}

fn parse(text: &str) -> Result<Header> {
    let malformed = |what: &str| err!(InvalidInput, "{what} is missing or malformed");
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    let mut rest = text
        .trim()
        .strip_prefix('{')
        .ok_or_else(|| malformed("`{`"))?;
    loop {
        rest = rest.trim_start().trim_start_matches(',').trim_start();
        if rest.starts_with('}') {
            break;
        }
        let (key, after) = quoted(rest).ok_or_else(|| malformed("a key"))?;
        let value = after
            .trim_start()
            .strip_prefix(':')
            .ok_or_else(|| malformed("`:`"))?
            .trim_start();
        rest = match key {
            "descr" => {
                if value.starts_with('[') {
                    bail!(
                        UnsupportedDtype,
                        "records with several fields are no tensors: give each field as a file of its own"
                    );
                }
                let (text, after) = quoted(value).ok_or_else(|| malformed("`descr`"))?;
                descr = Some(Descr::parse(text)?);
                after
            }
            "fortran_order" => {
                let (flag, after) = match (value.strip_prefix("True"), value.strip_prefix("False"))
                {
                    (Some(after), _) => (true, after),
                    (_, Some(after)) => (false, after),
                    _ => return Err(malformed("`fortran_order`")),
                };
                fortran_order = Some(flag);
                after
            }
            "shape" => {
                let (axes, after) = value
                    .strip_prefix('(')
                    .and_then(|v| v.split_once(')'))
                    .ok_or_else(|| malformed("`shape`"))?;
                let axes = axes
                    .split(',')
                    .map(str::trim)
                    .filter(|axis| !axis.is_empty());
                // Python 2 wrote long integers with an L.
                let axes = axes.map(|axis| {
                    axis.trim_end_matches('L')
                        .parse()
                        .map_err(|_| malformed("`shape`"))
                });
                shape = Some(axes.collect::<Result<Vec<usize>>>()?);
                after
            }
            _ => return Err(malformed("a known key")),
        };
    }
    Ok(Header {
        descr: descr.ok_or_else(|| malformed("`descr`"))?,
        fortran_order: fortran_order.ok_or_else(|| malformed("`fortran_order`"))?,
        shape: shape.ok_or_else(|| malformed("`shape`"))?,
    })
}

/// A text in single or double quotes, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// Magic, version and header, padded so that the data begins at a multiple of 64.
pub(super) fn write(descr: &str, shape: &[usize]) -> Vec<u8> {
    let axes: String = shape.iter().map(|axis| format!("{axis}, ")).collect();
    let axes = match shape.len() {
        1 => axes.trim_end(),
        _ => axes.trim_end_matches(", "),
    };
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({axes}), }}");
    // Version 1 has a length of two bytes, enough for 10,000 axes.
    let total = (MAGIC.len() + 4 + text.len() + 1).next_multiple_of(64);
    let length = total - MAGIC.len() - 4;
    let mut file = MAGIC.to_vec();
    file.extend_from_slice(&[1, 0, (length & 0xff) as u8, (length >> 8) as u8]);
    file.extend_from_slice(text.as_bytes());
    file.resize(total - 1, b' ');
    file.push(b'\n');
    file
}
