//! Protobuf's wire format, as far as it takes to leave the weights of a model file out of its
//! decoding: they are most of its bytes, and a decoder would copy them twice.

use std::borrow::Cow;
use std::ops::Range;

/// Fields of `ModelProto`, `GraphProto` and `TensorProto` (onnx.proto).
const GRAPH: u64 = 7;
const METADATA: u64 = 14;
const INITIALIZER: u64 = 5;
const DATA_TYPE: u64 = 2;
const FLOAT_DATA: u64 = 4;
const INT32_DATA: u64 = 5;
const STRING_DATA: u64 = 6;
const INT64_DATA: u64 = 7;
const RAW_DATA: u64 = 9;
const DOUBLE_DATA: u64 = 10;
const UINT64_DATA: u64 = 11;
const EXTERNAL_DATA: u64 = 13;
const DATA_LOCATION: u64 = 14;
/// `TensorProto.DataType.FLOAT` and `DOUBLE`.
const FLOAT: u64 = 1;
const DOUBLE: u64 = 11;

/// Smaller weights stay in the file: they are copied faster than they are handled apart, and
/// many of them are shapes and scalars.
pub(super) const LEAST: usize = 1024;

/// A model file without its large weights.
pub(super) struct Lightened {
    /// The file without them: the same initializers, without elements.
    pub file: Vec<u8>,
    /// Which initializers have no elements now, and where these are in the whole file, as
    /// `raw_data` has them (little-endian).
    pub left_out: Vec<(usize, Range<usize>)>,
}

/// Takes the large weights out of a model file. `None` for a file that is not as expected:
/// decoding all of it says what is wrong.
pub(super) fn lighten(file: &[u8]) -> Option<Lightened> {
    let top = fields(file, 0..file.len())?;
    let mut graphs = top.iter().filter(|field| field.number == GRAPH);
    let (graph, None) = (graphs.next()?, graphs.next()) else {
        return None;
    };
    let inner = fields(file, graph.bytes.clone()?)?;
    let mut small = Vec::new();
    let mut left_out = Vec::new();
    let initializers = inner.iter().filter(|field| field.number == INITIALIZER);
    let mut copied = graph.bytes.clone()?.start;
    for (index, tensor) in initializers.enumerate() {
        let Some(elements) = elements(file, tensor)? else {
            continue;
        };
        let value = tensor.bytes.clone()?;
        small.extend_from_slice(file.get(copied..tensor.start)?);
        let kept = [value.start..elements.start, elements.end..value.end];
        head(
            &mut small,
            INITIALIZER,
            kept.iter().map(Range::len).sum::<usize>(),
        );
        for part in kept {
            small.extend_from_slice(file.get(part)?);
        }
        copied = value.end;
        left_out.push((index, elements.bytes.clone()?));
    }
    small.extend_from_slice(file.get(copied..graph.end)?);
    let mut whole =
        Vec::with_capacity(file.len().checked_sub(graph.end - graph.start)? + small.len() + 16);
    whole.extend_from_slice(file.get(..graph.start)?);
    head(&mut whole, GRAPH, small.len());
    whole.extend_from_slice(&small);
    whole.extend_from_slice(file.get(graph.end..)?);
    Some(Lightened {
        file: whole,
        left_out,
    })
}

/// Fields of `ModelProto` that say something of the file, and nothing of the computation: producer
/// and its version, domain, doc string, metadata.
const REMARKS: [u64; 5] = [2, 3, 4, 6, 14];

/// The file without remarks that are no UTF-8: some writers put bytes into them, and a decoder
/// refuses the whole file for it.
pub(super) fn readable(file: &[u8]) -> Cow<'_, [u8]> {
    let is_text = |field: &Field| {
        let bytes = field.bytes.clone().and_then(|place| file.get(place));
        bytes.is_none_or(|bytes| match field.number {
            METADATA => fields(bytes, 0..bytes.len()).is_none_or(|inner| {
                let mut texts = inner.iter().filter_map(|f| bytes.get(f.bytes.clone()?));
                texts.all(|text| std::str::from_utf8(text).is_ok())
            }),
            _ => std::str::from_utf8(bytes).is_ok(),
        })
    };
    let top = fields(file, 0..file.len()).unwrap_or_default();
    let is_bad = |field: &&Field| REMARKS.contains(&field.number) && !is_text(field);
    let mut readable = Cow::Borrowed(file);
    // From the end, so that the places of those before stay right.
    for field in top.iter().rev().filter(is_bad) {
        readable.to_mut().drain(field.start..field.end);
    }
    readable
}

/// The field with the elements of a tensor, where all of them are in one field, in the bytes
/// that `raw_data` would have. The outer `None` is for what is no tensor.
fn elements(file: &[u8], tensor: &Field) -> Option<Option<Field>> {
    let mut data_type = None;
    let mut found = Vec::new();
    for field in fields(file, tensor.bytes.clone()?)? {
        match field.number {
            DATA_TYPE => data_type = field.varint,
            FLOAT_DATA | INT32_DATA | STRING_DATA | INT64_DATA | RAW_DATA | DOUBLE_DATA
            | UINT64_DATA | EXTERNAL_DATA | DATA_LOCATION => found.push(field),
            _ => {}
        }
    }
    let (Some(field), true) = (found.pop(), found.is_empty()) else {
        return Some(None);
    };
    // Numbers of 32 and 64 bits are packed in the same order.
    let as_raw = match field.number {
        RAW_DATA => true,
        FLOAT_DATA => data_type == Some(FLOAT),
        DOUBLE_DATA => data_type == Some(DOUBLE),
        _ => false,
    };
    let large = field.bytes.as_ref().is_some_and(|b| b.len() >= LEAST);
    Some((as_raw && large).then_some(field))
}

/// A field of a message, by its place in the file.
struct Field {
    number: u64,
    /// Where its tag begins.
    start: usize,
    end: usize,
    varint: Option<u64>,
    /// Its value, where that is bytes with their length before them.
    bytes: Option<Range<usize>>,
}

/// The fields of the message that lies there; `None` when there is none.
fn fields(file: &[u8], place: Range<usize>) -> Option<Vec<Field>> {
    let message = file.get(..place.end)?;
    let mut at = place.start;
    let mut all = Vec::new();
    while at < place.end {
        let start = at;
        let tag = varint(message, &mut at)?;
        let mut field = Field {
            number: tag >> 3,
            start,
            end: at,
            varint: None,
            bytes: None,
        };
        match tag & 7 {
            0 => field.varint = Some(varint(message, &mut at)?),
            1 => at = at.checked_add(8)?,
            2 => {
                let length = usize::try_from(varint(message, &mut at)?).ok()?;
                let end = at.checked_add(length)?;
                field.bytes = Some(at..end);
                at = end;
            }
            5 => at = at.checked_add(4)?,
            _ => return None,
        }
        if at > place.end {
            return None;
        }
        field.end = at;
        all.push(field);
    }
    Some(all)
}

fn varint(message: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *message.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Tag and length of a field with bytes in it.
fn head(out: &mut Vec<u8>, number: u64, length: usize) {
    for mut value in [number << 3 | 2, length as u64] {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
}
