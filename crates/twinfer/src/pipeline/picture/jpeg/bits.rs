//! Huffman codes, and the bits that they are in (ITU T.81, C and F.2.2).

use super::damaged;
use crate::Result;

/// Codes that are no longer are found in a table at once.
const QUICK: u32 = 9;

/// A table of codes: the symbols by their codes.
#[derive(Clone)]
pub(super) struct Codes {
    /// Length and symbol, by the next bits; length 0 where the code is longer.
    quick: Box<[(u8, u8); 1 << QUICK]>,
    /// Of each length: the first code, the number of codes, and where their symbols begin.
    lengths: [(u32, u32, usize); 17],
    symbols: Vec<u8>,
}

impl Codes {
    /// A table of how many codes there are of each length, and of the symbols in their order.
    ///
    /// # Errors
    /// `invalid_picture` where there are more codes than a length has.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self> {
        let mut codes = Self {
            quick: Box::new([(0, 0); 1 << QUICK]),
            lengths: [(0, 0, 0); 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut at) = (0u32, 0usize);
        for (length, &count) in (1u32..).zip(counts) {
            let count = u32::from(count);
            if code + count > 1 << length {
                return Err(damaged("a table of codes is impossible"));
            }
            codes.lengths[length as usize] = (code, count, at);
            if length <= QUICK {
                for i in 0..count {
                    let symbol = symbols.get(at + i as usize).copied().unwrap_or_default();
                    let first = ((code + i) << (QUICK - length)) as usize;
                    let same = 1 << (QUICK - length);
                    codes.quick[first..first + same].fill((length as u8, symbol));
                }
            }
            at += count as usize;
            code = (code + count) << 1;
        }
        Ok(codes)
    }
}

/// The bits of a scan, from one marker to the next. Where they end too early, there are zeros.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// Where the next byte is read.
    at: usize,
    /// The next bits, the first one highest.
    next: u64,
    /// How many of them were read.
    count: u32,
    /// How many of those are no bits of the file.
    made_up: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self {
            data,
            at,
            next: 0,
            count: 0,
            made_up: 0,
        }
    }

    /// Where the file goes on.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Whether more bits were taken than there were.
    pub(super) fn is_exhausted(&self) -> bool {
        self.made_up > self.count
    }

    fn fill(&mut self) {
        let ahead = self.data.get(self.at..).and_then(<[u8]>::first_chunk);
        if let Some(ahead) = ahead.map(|&bytes| u64::from_be_bytes(bytes)) {
            // Without a byte of FF among them, which may be no data, as many as there is room for are
            // taken at once. The first bits of one more come with them, and again with it.
            const ONES: u64 = u64::from_ne_bytes([1; 8]);
            let rest = !ahead;
            if rest.wrapping_sub(ONES) & !rest & (ONES << 7) == 0 {
                let bytes = (64 - self.count) / 8;
                self.next |= ahead >> self.count;
                self.at += bytes as usize;
                self.count += bytes * 8;
                return;
            }
        }
        while self.count <= 56 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), Some(0xff)) => {
                    self.at += 1;
                    continue;
                }
                (Some(0xff), _) | (None, _) => {
                    self.made_up = self.made_up.saturating_add(8);
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.next |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    fn skip(&mut self, count: u32) {
        self.next <<= count;
        self.count -= count;
    }

    /// The next bits, at most 16, as a number.
    pub(super) fn take(&mut self, count: u32) -> u32 {
        if count == 0 {
            return 0;
        }
        if self.count < count {
            self.fill();
        }
        let bits = (self.next >> (64 - count)) as u32;
        self.skip(count);
        bits
    }

    /// The next bits as a number of that many bits with a sign (F.2.2.1, `EXTEND`).
    pub(super) fn signed(&mut self, count: u32) -> i32 {
        let number = self.take(count) as i32;
        match count {
            0 => 0,
            _ if number < 1 << (count - 1) => number - (1 << count) + 1,
            _ => number,
        }
    }

    /// The symbol of the next code.
    ///
    /// # Errors
    /// `invalid_picture` for a code that no symbol has.
    pub(super) fn symbol(&mut self, codes: &Codes) -> Result<u8> {
        if self.count < 16 {
            self.fill();
        }
        let (length, symbol) = codes.quick[(self.next >> (64 - QUICK)) as usize];
        if length > 0 {
            self.skip(length.into());
            return Ok(symbol);
        }
        for length in QUICK + 1..=16 {
            let code = (self.next >> (64 - length)) as u32;
            let (first, count, at) = codes.lengths[length as usize];
            if (first..first + count).contains(&code) {
                self.skip(length);
                let symbol = codes.symbols.get(at + (code - first) as usize);
                return symbol.copied().ok_or_else(|| damaged("a code is too long"));
            }
        }
        Err(damaged("its data have a code that is not in its tables"))
    }

    /// Goes on after the next restart marker; without one there is nothing more.
    pub(super) fn restart(&mut self) {
        (self.next, self.count, self.made_up) = (0, 0, 0);
        let rest = self.data.get(self.at..).unwrap_or_default();
        let marker = rest
            .windows(2)
            .position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff));
        let Some(marker) = marker else {
            self.at = self.data.len();
            return;
        };
        self.at += marker;
        if matches!(rest[marker + 1], 0xd0..=0xd7) {
            self.at += 2;
        }
    }
}
