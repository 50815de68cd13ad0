//! Memory as data segments.

use twinfer::{Result, bail, err};
use walrus::{ConstExpr, DataId, DataKind, MemoryId, Module, ir::Value};

/// Zero bytes between two segments at least: about what the head of a segment takes.
const GAP: usize = 16;
/// Segments at most. Engines allow 100,000; each costs a little when an instance starts.
const SEGMENTS: usize = 10_000;
/// Bytes of a page.
const PAGE: u64 = 64 << 10;

/// The one memory of a module.
///
/// # Errors
/// `invalid_request` when there is another number of them, or one that is imported.
pub(super) fn memory(module: &Module) -> Result<MemoryId> {
    let mut memories = module.memories.iter();
    match (memories.next(), memories.next()) {
        (Some(memory), None) if memory.import.is_none() && !memory.shared => Ok(memory.id()),
        _ => bail!(
            InvalidRequest,
            "an engine has one memory, and it is its own"
        ),
    }
}

/// Lets the memory of new instances begin with this content.
///
/// # Errors
/// `invalid_request` for a module whose code reads its segments later: they are gone then.
pub(super) fn begin_with(module: &mut Module, content: &[u8]) -> Result<()> {
    if module.data.iter().any(walrus::Data::is_passive) {
        bail!(
            InvalidRequest,
            "this engine fills its memory by itself, and cannot be fused"
        );
    }
    let memory = memory(module)?;
    let old: Vec<DataId> = module.data.iter().map(walrus::Data::id).collect();
    for id in old {
        module.data.delete(id);
        module.memories.get_mut(memory).data_segments.remove(&id);
    }
    let pages = content.len() as u64 / PAGE;
    let memory_type = module.memories.get_mut(memory);
    memory_type.initial = memory_type.initial.max(pages);
    for (start, end) in ranges(content) {
        let offset = u32::try_from(start)
            .map_err(|_| err!(Internal, "a memory of {} bytes", content.len()))?;
        let offset = ConstExpr::Value(Value::I32(offset.cast_signed()));
        let kind = DataKind::Active { memory, offset };
        let id = module.data.add(kind, content[start..end].to_vec());
        module.memories.get_mut(memory).data_segments.insert(id);
    }
    Ok(())
}

/// Where there is something: ranges without long runs of zeros in them.
fn ranges(content: &[u8]) -> Vec<(usize, usize)> {
    let mut gap = GAP;
    loop {
        let ranges = apart(content, gap);
        if ranges.len() <= SEGMENTS {
            return ranges;
        }
        gap *= 2;
    }
}

fn apart(content: &[u8], gap: usize) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    while let Some(start) = content[at..].iter().position(|byte| *byte != 0) {
        let start = at + start;
        let length = content[start..].iter().position(|byte| *byte == 0);
        at = length.map_or(content.len(), |length| start + length);
        match ranges.last_mut() {
            Some((_, end)) if start - *end < gap => *end = at,
            _ => ranges.push((start, at)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_of_zeros_stay_and_long_ones_go() {
        let mut content = [0; 200];
        content[3] = 1;
        content[3 + GAP] = 1;
        content[60..70].fill(2);
        content[199] = 3;
        assert_eq!(ranges(&content), [(3, 4 + GAP), (60, 70), (199, 200)]);
        assert_eq!(ranges(&[0; 50]), []);
        assert_eq!(ranges(&[1; 50]), [(0, 50)]);
    }

    #[test]
    fn there_are_not_more_segments_than_engines_like() {
        let mut content = vec![0; 40 * SEGMENTS];
        content.iter_mut().step_by(20).for_each(|byte| *byte = 1);
        let ranges = ranges(&content);
        assert!(!ranges.is_empty() && ranges.len() <= SEGMENTS);
    }
}
