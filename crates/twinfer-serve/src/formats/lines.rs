//! JSON lines: one record a line (jsonlines.org; `application/x-ndjson` is the same).

/// The lines that are not empty, with their numbers, counted from 1.
pub(crate) fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    body.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(at, line)| (at + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_count_and_are_left_out() {
        let found: Vec<_> = lines(b"{}\r\n\n [1] \n").collect();
        assert_eq!(found, [(1, &b"{}"[..]), (3, &b"[1]"[..])]);
        assert_eq!(lines(b"").count(), 0);
    }
}
