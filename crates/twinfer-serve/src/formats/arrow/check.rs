//! What the Arrow crates trust in a stream: that its messages are as long as they say, and that
//! buffers lie inside of them. A buffer that does not is a panic there.

use arrow_ipc::{RecordBatch, root_as_message};
use twinfer::{Result, bail, err};

/// Marks the begin of a message since version 0.15 of the format.
const CONTINUATION: u32 = u32::MAX;

/// # Errors
/// `invalid_request`.
pub(super) fn messages(mut rest: &[u8]) -> Result<()> {
    while !rest.is_empty() {
        let mut length = number(&mut rest)?;
        if length == CONTINUATION {
            length = number(&mut rest)?;
        }
        if length == 0 {
            // The end of the stream.
            return Ok(());
        }
        let metadata = take(&mut rest, i64::from(length))?;
        let message = root_as_message(metadata).map_err(|e| {
            err!(
                InvalidRequest,
                "a message of the Arrow stream is damaged: {e}"
            )
        })?;
        let body = take(&mut rest, message.bodyLength())?;
        if let Some(batch) = message.header_as_record_batch() {
            check(batch, body.len())?;
        }
        if let Some(dictionary) = message.header_as_dictionary_batch() {
            match dictionary.data() {
                Some(batch) => check(batch, body.len())?,
                None => bail!(InvalidRequest, "a dictionary of the Arrow stream is empty"),
            }
        }
    }
    Ok(())
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

fn check(batch: RecordBatch<'_>, body: usize) -> Result<()> {
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
    if !inside || !counted || !(0..=most).contains(&batch.length()) {
        bail!(
            InvalidRequest,
            "a batch of the Arrow stream names data that it has not"
        );
    }
    Ok(())
}
