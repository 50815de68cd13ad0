//! The scans of a JPEG: coefficients of some components (ITU T.81, F.2 and G.1.2).

use super::bits::{Bits, Codes};
use super::damaged;
use super::frame::Frame;
use crate::Result;

/// Where the coefficients of a block are, in the order in which they come (figure A.6).
pub(super) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// What a scan is of.
pub(super) struct Scan<'a> {
    pub parts: Vec<Part<'a>>,
    /// The coefficients, first and last.
    pub band: (usize, usize),
    /// The position of the lowest bit that came before, 0 where none did, and of the one that comes.
    pub bits: (u32, u32),
    /// After how many units the bits begin anew; 0 where they do not.
    pub restart: usize,
}

/// A component of a scan.
pub(super) struct Part<'a> {
    /// Which one of the frame.
    pub component: usize,
    pub dc: Option<&'a Codes>,
    pub ac: Option<&'a Codes>,
}

/// What goes from one block to the next.
#[derive(Default)]
struct Memory {
    /// The last first coefficient of each component.
    before: [i32; 4],
    /// Blocks that have nothing more in this band.
    empty: u32,
}

impl Scan<'_> {
    /// Reads the scan.
    ///
    /// # Errors
    /// `invalid_picture`.
    pub(super) fn read(&self, frame: &mut Frame, bits: &mut Bits<'_>) -> Result<()> {
        let mut memory = Memory::default();
        // One component alone comes without the blocks that fill up units.
        let alone = match &self.parts[..] {
            [part] => frame.components.get(part.component),
            _ => None,
        };
        let units = match alone {
            Some(one) => (one.size.0.div_ceil(8), one.size.1.div_ceil(8)),
            None => frame.units(),
        };
        let is_alone = alone.is_some();
        let mut until_restart = self.restart;
        for row in 0..units.1 {
            for column in 0..units.0 {
                if self.restart > 0 {
                    if until_restart == 0 {
                        bits.restart();
                        memory = Memory::default();
                        until_restart = self.restart;
                    }
                    until_restart -= 1;
                }
                if bits.is_exhausted() {
                    if self.restart == 0 {
                        return Ok(());
                    }
                    continue;
                }
                self.unit((column, row), is_alone, frame, bits, &mut memory)?;
            }
        }
        Ok(())
    }

    fn unit(
        &self,
        (column, row): (usize, usize),
        is_alone: bool,
        frame: &mut Frame,
        bits: &mut Bits<'_>,
        memory: &mut Memory,
    ) -> Result<()> {
        for part in &self.parts {
            let progressive = frame.progressive;
            let Some(component) = frame.components.get_mut(part.component) else {
                continue;
            };
            let (across, down) = match is_alone {
                true => (1, 1),
                false => component.sampling,
            };
            for inner in 0..across * down {
                let column = column * across + inner % across;
                let row = row * down + inner / across;
                if progressive {
                    let at = (row * component.blocks.0 + column) * 64;
                    let block = component.coefficients.get_mut(at..);
                    let block = block.and_then(|rest| rest.first_chunk_mut());
                    if let Some(block) = block {
                        self.progressive(part, block, bits, memory)?;
                    }
                } else {
                    let mut block = [0; 64];
                    whole(part, &mut block, bits, memory)?;
                    component.put_block(column, row, &block);
                }
            }
        }
        Ok(())
    }

    fn progressive(
        &self,
        part: &Part<'_>,
        block: &mut [i16; 64],
        bits: &mut Bits<'_>,
        memory: &mut Memory,
    ) -> Result<()> {
        let low = self.bits.1;
        match (self.band.0, self.bits.0) {
            (0, 0) => block[0] = (first(part, bits, memory)? << low) as i16,
            (0, _) => block[0] |= (bits.take(1) << low) as i16,
            (_, 0) => self.band_first(part, block, bits, memory)?,
            (_, _) => self.band_again(part, block, bits, memory)?,
        }
        Ok(())
    }

    /// The first bits of a band of coefficients.
    fn band_first(
        &self,
        part: &Part<'_>,
        block: &mut [i16; 64],
        bits: &mut Bits<'_>,
        memory: &mut Memory,
    ) -> Result<()> {
        if memory.empty > 0 {
            memory.empty -= 1;
            return Ok(());
        }
        let codes = table(part.ac)?;
        let mut at = self.band.0;
        while at <= self.band.1 {
            let symbol = bits.symbol(codes)?;
            let (run, size) = (symbol >> 4, u32::from(symbol & 15));
            if size == 0 {
                if run < 15 {
                    memory.empty = (1 << run) - 1 + bits.take(run.into());
                    return Ok(());
                }
                at += 16;
                continue;
            }
            at += usize::from(run);
            let number = bits.signed(size) << self.bits.1;
            *place(block, at)? = number as i16;
            at += 1;
        }
        Ok(())
    }

    /// One more bit of each coefficient of a band.
    fn band_again(
        &self,
        part: &Part<'_>,
        block: &mut [i16; 64],
        bits: &mut Bits<'_>,
        memory: &mut Memory,
    ) -> Result<()> {
        let one = 1i16.wrapping_shl(self.bits.1);
        let mut at = self.band.0;
        if memory.empty == 0 {
            let codes = table(part.ac)?;
            while at <= self.band.1 {
                let symbol = bits.symbol(codes)?;
                let (run, size) = (symbol >> 4, symbol & 15);
                let number = match (size, run) {
                    (0, 0..15) => {
                        memory.empty = (1 << run) + bits.take(run.into());
                        break;
                    }
                    (0, _) => 0,
                    _ if bits.take(1) == 1 => one,
                    _ => -one,
                };
                at = self.refine(block, at, run.into(), one, bits);
                if number != 0 {
                    *place(block, at)? = number;
                }
                at += 1;
            }
        }
        if memory.empty > 0 {
            self.refine(block, at, usize::MAX, one, bits);
            memory.empty -= 1;
        }
        Ok(())
    }

    /// Refines the coefficients that are not 0, until after so many that are; where the next one of
    /// these is.
    fn refine(
        &self,
        block: &mut [i16; 64],
        from: usize,
        mut zeros: usize,
        one: i16,
        bits: &mut Bits<'_>,
    ) -> usize {
        for at in from..=self.band.1 {
            let coefficient = &mut block[ZIGZAG[at]];
            if *coefficient == 0 {
                if zeros == 0 {
                    return at;
                }
                zeros -= 1;
            } else if bits.take(1) == 1 && *coefficient & one == 0 {
                let more = if *coefficient > 0 { one } else { -one };
                *coefficient = coefficient.wrapping_add(more);
            }
        }
        self.band.1 + 1
    }
}

fn table(codes: Option<&Codes>) -> Result<&Codes> {
    codes.ok_or_else(|| damaged("a table of codes is missing"))
}

fn place(block: &mut [i16; 64], at: usize) -> Result<&mut i16> {
    match ZIGZAG.get(at) {
        Some(&at) => Ok(&mut block[at]),
        None => Err(damaged("a block has more than 64 coefficients")),
    }
}

/// The first coefficient of a block.
fn first(part: &Part<'_>, bits: &mut Bits<'_>, memory: &mut Memory) -> Result<i32> {
    let size = bits.symbol(table(part.dc)?)?;
    if size > 15 {
        return Err(damaged("a coefficient has too many bits"));
    }
    let difference = bits.signed(size.into());
    let Some(before) = memory.before.get_mut(part.component) else {
        return Ok(0);
    };
    *before = before.wrapping_add(difference);
    Ok(*before)
}

/// A block of a frame that is not progressive.
fn whole(
    part: &Part<'_>,
    block: &mut [i16; 64],
    bits: &mut Bits<'_>,
    memory: &mut Memory,
) -> Result<()> {
    block[0] = first(part, bits, memory)? as i16;
    let codes = table(part.ac)?;
    let mut at = 1;
    while at < 64 {
        let symbol = bits.symbol(codes)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        match (run, size) {
            (15, 0) => at += 16,
            (_, 0) => break,
            _ => {
                at += run;
                *place(block, at)? = bits.signed(size) as i16;
                at += 1;
            }
        }
    }
    Ok(())
}
