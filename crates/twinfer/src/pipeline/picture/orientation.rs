//! How a picture is turned to stand upright.

/// Which way the stored pixels lie, as Exif says (tag 0x0112, CIPA DC-008 section 4.6.4.1.6).
/// The name is what has to be done to see the picture upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Orientation {
    /// As stored.
    #[default]
    Upright,
    FlipHorizontal,
    Rotate180,
    FlipVertical,
    /// Turn clockwise by 90 degrees, then flip horizontally.
    Rotate90FlipH,
    Rotate90,
    /// Turn clockwise by 270 degrees, then flip horizontally.
    Rotate270FlipH,
    Rotate270,
}

impl Orientation {
    /// Of an Exif block, which is a TIFF header with its directory of entries. A picture whose
    /// Exif data is broken is shown as it is stored, by browsers too.
    pub(crate) fn from_exif(exif: &[u8]) -> Self {
        Self::find(exif).unwrap_or_default()
    }

    fn find(exif: &[u8]) -> Option<Self> {
        let little = match exif.first_chunk()? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        let number = |bytes: &[u8]| {
            let push = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
            if little {
                bytes.iter().rev().fold(0, push)
            } else {
                bytes.iter().fold(0, push)
            }
        };
        let directory = exif.get(number(exif.get(4..8)?) as usize..)?;
        let (count, entries) = directory.split_at_checked(2)?;
        // An entry: tag (2 bytes), type (2), count (4), value (4).
        for entry in entries.chunks_exact(12).take(number(count) as usize) {
            let is_orientation = number(&entry[..2]) == 0x112;
            let is_one_short = number(&entry[2..4]) == 3 && number(&entry[4..8]) == 1;
            if is_orientation && is_one_short {
                return Self::from_tag(number(&entry[8..10]));
            }
        }
        None
    }

    fn from_tag(value: u32) -> Option<Self> {
        use Orientation::*;
        let all = [
            Upright,
            FlipHorizontal,
            Rotate180,
            FlipVertical,
            Rotate90FlipH,
            Rotate90,
            Rotate270FlipH,
            Rotate270,
        ];
        all.get((value as usize).checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Orientation;

    /// One entry in the byte order of `number`, at the end of a directory of two.
    fn exif(order: &[u8; 4], value: u16, number: impl Fn(u32, usize) -> Vec<u8>) -> Vec<u8> {
        let entry = |tag, value: u16| {
            [
                number(tag, 2),
                number(3, 2),
                number(1, 4),
                number(value.into(), 2),
                vec![0, 0],
            ]
        };
        let entries = [entry(0x100, 7), entry(0x112, value)].concat().concat();
        [order.to_vec(), number(8, 4), number(2, 2), entries].concat()
    }

    fn big(value: u16) -> Vec<u8> {
        exif(b"MM\0*", value, |n, count| {
            n.to_be_bytes()[4 - count..].to_vec()
        })
    }

    fn little(value: u16) -> Vec<u8> {
        exif(b"II*\0", value, |n, count| {
            n.to_le_bytes()[..count].to_vec()
        })
    }

    #[test]
    fn both_byte_orders_are_read() {
        use Orientation::*;
        for (value, want) in [
            (1, Upright),
            (2, FlipHorizontal),
            (3, Rotate180),
            (4, FlipVertical),
            (5, Rotate90FlipH),
            (6, Rotate90),
            (7, Rotate270FlipH),
            (8, Rotate270),
            (0, Upright),
            (9, Upright),
            (u16::MAX, Upright),
        ] {
            assert_eq!(Orientation::from_exif(&big(value)), want, "big {value}");
            assert_eq!(
                Orientation::from_exif(&little(value)),
                want,
                "little {value}"
            );
        }
    }

    #[test]
    fn a_broken_block_turns_nothing() {
        let whole = little(6);
        for length in 0..whole.len() {
            let cut = Orientation::from_exif(&whole[..length]);
            assert_eq!(cut, Orientation::Upright, "cut to {length} bytes");
        }
        let mut far = whole.clone();
        far[4..8].fill(0xff);
        assert_eq!(Orientation::from_exif(&far), Orientation::Upright);
        let mut many = whole;
        many[8..10].fill(0xff);
        assert_eq!(Orientation::from_exif(&many), Orientation::Rotate90);
    }
}
