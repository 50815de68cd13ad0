//! The frame of a JPEG: its size, and what is known of each component (ITU T.81, B.2.2 and A.1.1).

use super::damaged;
use crate::pipeline::memory::zeroed;
use crate::{Result, bail};

/// Size and components.
pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
    /// Its coefficients come in several scans, some bits at a time.
    pub progressive: bool,
    pub components: Vec<Component>,
    /// How many samples the component with the most has for one of the one with the fewest.
    pub most: (usize, usize),
}

/// Luma, a difference of colours, or an ink.
pub(super) struct Component {
    pub id: u8,
    /// Blocks of each minimal coded unit, across and down.
    pub sampling: (usize, usize),
    /// Which table has the steps of its coefficients.
    pub table: usize,
    /// Width and height in samples.
    pub size: (usize, usize),
    /// Width and height in blocks, with those that fill up the last units.
    pub blocks: (usize, usize),
    /// The steps, as they were when its first scan began.
    pub steps: Option<[u16; 64]>,
    /// The samples: rows of `blocks.0 * 8`.
    pub samples: Vec<u8>,
    /// Of a progressive frame: 64 coefficients of each block.
    pub coefficients: Vec<i16>,
}

impl Frame {
    /// Reads the segment, without memory for what is to come.
    ///
    /// # Errors
    /// `invalid_picture`.
    pub(super) fn read(segment: &[u8], progressive: bool) -> Result<Self> {
        let Some((&[bits, h1, h0, w1, w0, count], rest)) = segment.split_first_chunk() else {
            return Err(damaged("its header is cut off"));
        };
        let height = usize::from(u16::from_be_bytes([h1, h0]));
        let width = usize::from(u16::from_be_bytes([w1, w0]));
        if bits != 8 {
            bail!(
                InvalidPicture,
                "a JPEG file of {bits} bits cannot be decoded"
            );
        }
        if width == 0 || height == 0 {
            return Err(damaged("it says that it has no pixels"));
        }
        let entries = rest.as_chunks::<3>().0.get(..count.into());
        let entries = entries.ok_or_else(|| damaged("its header is cut off"))?;
        if !matches!(count, 1 | 3 | 4) {
            bail!(
                InvalidPicture,
                "a JPEG file of {count} components cannot be decoded"
            );
        }
        let samplings = entries
            .iter()
            .map(|&[_, s, _]| (usize::from(s >> 4), usize::from(s & 15)));
        if !samplings
            .clone()
            .all(|(h, v)| (1..=4).contains(&h) && (1..=4).contains(&v))
        {
            return Err(damaged("a component has an impossible number of samples"));
        }
        let (h, v): (Vec<_>, Vec<_>) = samplings.unzip();
        let most = (
            h.iter().copied().max().unwrap_or(1),
            v.iter().copied().max().unwrap_or(1),
        );
        let units = (width.div_ceil(8 * most.0), height.div_ceil(8 * most.1));
        let components = entries.iter().zip(h.into_iter().zip(v));
        let components = components.map(|(&[id, _, table], (h, v))| Component {
            id,
            sampling: (h, v),
            table: table.into(),
            size: ((width * h).div_ceil(most.0), (height * v).div_ceil(most.1)),
            blocks: (units.0 * h, units.1 * v),
            steps: None,
            samples: Vec::new(),
            coefficients: Vec::new(),
        });
        Ok(Self {
            width,
            height,
            progressive,
            components: components.collect(),
            most,
        })
    }

    /// Takes memory for the samples, and for the coefficients where they are collected.
    ///
    /// # Errors
    /// `out_of_memory`.
    pub(super) fn make_room(&mut self) -> Result<()> {
        for component in &mut self.components {
            let (across, down) = component.blocks;
            component.samples = zeroed(&[across, down, 64], "the samples")?;
            // What no scan gives is grey.
            component.samples.fill(128);
            if self.progressive {
                component.coefficients = zeroed(&[across, down, 64], "the coefficients")?;
            }
        }
        Ok(())
    }

    /// How many units there are, across and down.
    pub(super) fn units(&self) -> (usize, usize) {
        (
            self.width.div_ceil(8 * self.most.0),
            self.height.div_ceil(8 * self.most.1),
        )
    }
}

impl Component {
    /// Makes samples of the coefficients of a block.
    pub(super) fn put_block(&mut self, column: usize, row: usize, coefficients: &[i16; 64]) {
        let stride = self.blocks.0 * 8;
        let first = row * 8 * stride + column * 8;
        let steps = self.steps.unwrap_or([1; 64]);
        super::idct::block(coefficients, &steps, |line, samples| {
            let at = first + line * stride;
            if let Some(place) = self.samples.get_mut(at..at + 8) {
                place.copy_from_slice(&samples);
            }
        });
    }

    /// Makes samples of all coefficients that were collected.
    pub(super) fn put_all(&mut self) {
        let coefficients = std::mem::take(&mut self.coefficients);
        let (blocks, _) = coefficients.as_chunks::<64>();
        for (at, block) in blocks.iter().enumerate() {
            self.put_block(at % self.blocks.0, at / self.blocks.0, block);
        }
    }

    /// A row of samples.
    pub(super) fn row(&self, row: usize) -> &[u8] {
        let from = row.min(self.size.1 - 1) * self.blocks.0 * 8;
        self.samples
            .get(from..from + self.size.0)
            .unwrap_or_default()
    }
}
