//! What the Arrow crates trust in a stream: that its messages are as long as they say, that buffers
//! lie inside of them, and hold whole values. What does not is a panic there.

use std::collections::VecDeque;

use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::{RecordBatch, root_as_message};
use arrow_schema::{DataType, Field, Schema};
use twinfer::{Result, bail, err};

use super::malformed;

/// Marks the begin of a message since version 0.15 of the format.
const CONTINUATION: u32 = u32::MAX;

/// Checks a stream; `accept` says whether its columns may be read.
///
/// # Errors
/// `invalid_request`, and those of `accept`.
pub(super) fn messages(mut rest: &[u8], accept: impl Fn(&Schema) -> Result<()>) -> Result<()> {
    let mut schema: Option<Schema> = None;
    while !rest.is_empty() {
        let mut length = number(&mut rest)?;
        if length == CONTINUATION {
            length = number(&mut rest)?;
        }
        if length == 0 {
            // The end of the stream.
            break;
        }
        let metadata = take(&mut rest, i64::from(length))?;
        let message = root_as_message(metadata).map_err(|e| {
            err!(
                InvalidRequest,
                "a message of the Arrow stream is damaged: {e}"
            )
        })?;
        let body = take(&mut rest, message.bodyLength())?.len();
        if let Some(header) = message.header_as_schema() {
            let read = try_fb_to_schema(header).map_err(malformed)?;
            accept(&read)?;
            schema = Some(read);
        }
        let fields = schema.iter().flat_map(|schema| schema.fields());
        if let Some(batch) = message.header_as_record_batch() {
            let types: Vec<&DataType> = fields.map(|field| field.data_type()).collect();
            check(batch, body, &types)?;
        } else if let Some(dictionary) = message.header_as_dictionary_batch() {
            let types = fields.filter_map(|field| values_of(field, dictionary.id()));
            let types: Vec<&DataType> = types.take(1).collect();
            match dictionary.data() {
                Some(batch) if !types.is_empty() => check(batch, body, &types)?,
                _ => bail!(
                    InvalidRequest,
                    "a dictionary of the Arrow stream is empty, or of no column"
                ),
            }
        }
    }
    match schema {
        Some(_) => Ok(()),
        None => bail!(InvalidRequest, "the Arrow stream has no schema"),
    }
}

fn number(rest: &mut &[u8]) -> Result<u32> {
    let bytes = take(rest, 4)?;
    Ok(u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

fn take<'a>(rest: &mut &'a [u8], length: i64) -> Result<&'a [u8]> {
    let split = usize::try_from(length).ok();
    let Some((taken, left)) = split.and_then(|length| rest.split_at_checked(length)) else {
        bail!(
            InvalidRequest,
            "the Arrow stream breaks off: {length} bytes should follow, there are {}",
            rest.len()
        );
    };
    *rest = left;
    Ok(taken)
}

/// The type of the values of a dictionary, where this field has it.
#[expect(
    deprecated,
    reason = "there is no other way to the id that a stream says"
)]
fn values_of(field: &Field, id: i64) -> Option<&DataType> {
    match field.data_type() {
        DataType::Dictionary(_, values) if field.dict_id() == Some(id) => Some(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            values_of(item, id)
        }
        _ => None,
    }
}

fn check(batch: RecordBatch<'_>, body: usize, types: &[&DataType]) -> Result<()> {
    if batch.compression().is_some() {
        bail!(
            InvalidRequest,
            "the Arrow stream is compressed: write it without (`compression=None`)"
        );
    }
    let buffers = batch.buffers().unwrap_or_default();
    let inside = buffers.iter().all(|buffer| {
        let end = buffer.offset().checked_add(buffer.length());
        let end = end.and_then(|end| usize::try_from(end).ok());
        buffer.offset() >= 0 && buffer.length() >= 0 && end.is_some_and(|end| end <= body)
    });
    let nodes = batch.nodes().unwrap_or_default();
    // Lengths are multiplied by the width of a value, on hosts of 32 bits too.
    let most = i64::try_from(body).unwrap_or(i64::MAX).saturating_mul(8);
    let counted = nodes.iter().all(|node| {
        (0..=most).contains(&node.length()) && (0..=node.length()).contains(&node.null_count())
    });
    let mut views: VecDeque<i64> = match batch.variadicBufferCounts() {
        Some(counts) => counts.iter().collect(),
        None => VecDeque::new(),
    };
    let mut widths = Vec::new();
    for data_type in types {
        layout(data_type, &mut views, buffers.len(), &mut widths);
    }
    let whole = (buffers.iter().zip(widths)).all(|(buffer, width)| buffer.length() % width == 0);
    if !inside || !counted || !whole || !(0..=most).contains(&batch.length()) {
        bail!(
            InvalidRequest,
            "a batch of the Arrow stream names data that it has not"
        );
    }
    Ok(())
}

/// The width of what is in each buffer of a column, in their order ("Buffer listing for each layout"
/// of the format).
fn layout(data_type: &DataType, views: &mut VecDeque<i64>, most: usize, widths: &mut Vec<i64>) {
    /// Bits that say what is null, and bytes of texts.
    const BYTES: i64 = 1;
    match data_type {
        DataType::Null => {}
        DataType::Utf8 => widths.extend([BYTES, 4, BYTES]),
        DataType::LargeUtf8 => widths.extend([BYTES, 8, BYTES]),
        DataType::Utf8View => {
            let count = views.pop_front().unwrap_or_default();
            let count = usize::try_from(count).unwrap_or_default().min(most);
            widths.extend([BYTES, 16]);
            widths.extend(std::iter::repeat_n(BYTES, count));
        }
        DataType::List(item) => {
            widths.extend([BYTES, 4]);
            layout(item.data_type(), views, most, widths);
        }
        DataType::LargeList(item) => {
            widths.extend([BYTES, 8]);
            layout(item.data_type(), views, most, widths);
        }
        DataType::FixedSizeList(item, _) => {
            widths.push(BYTES);
            layout(item.data_type(), views, most, widths);
        }
        DataType::Dictionary(keys, _) => layout(keys, views, most, widths),
        other => {
            let width = other.primitive_width().unwrap_or(1);
            widths.extend([BYTES, i64::try_from(width).unwrap_or(1)]);
        }
    }
}
