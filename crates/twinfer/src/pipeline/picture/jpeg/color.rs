//! From samples to pixels, with the roundings of libjpeg: components that have fewer samples are
//! stretched with its triangular filter ("fancy upsampling", `jdsample.c`), and colours come out of its
//! fixed-point sums (`jdcolor.c`; ITU T.871, 7).

use super::frame::{Component, Frame};
use crate::{Result, bail};

/// What the components are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colors {
    Grey,
    Rgb,
    YCbCr,
    /// Inks; the file has how much of each is left out, as Adobe writes it.
    Cmyk,
    /// The same, the first three as luma and differences.
    Ycck,
}

impl Colors {
    /// Samples of a pixel that is made.
    pub(super) fn samples(self) -> usize {
        if self == Self::Grey { 1 } else { 3 }
    }
}

/// How many samples are made of one, across and down.
fn ratio(frame: &Frame, component: &Component) -> Result<(usize, usize)> {
    let (most, has) = (frame.most, component.sampling);
    if most.0 % has.0 != 0 || most.1 % has.1 != 0 {
        bail!(
            InvalidPicture,
            "a JPEG file whose components have {} x {} and {} x {} samples cannot be decoded",
            most.0,
            most.1,
            has.0,
            has.1
        );
    }
    Ok((most.0 / has.0, most.1 / has.1))
}

/// A row of a component, stretched to the width of the picture at least.
fn stretch(component: &Component, (across, down): (usize, usize), row: usize, out: &mut Vec<u8>) {
    out.clear();
    let line = component.row(row / down);
    let is_lower = !row.is_multiple_of(down);
    let other = || match is_lower {
        true => component.row(row / down + 1),
        false => component.row((row / down).saturating_sub(1)),
    };
    match (across, down) {
        (1, 1) => out.extend_from_slice(line),
        (2, 1) if line.len() > 2 => across_twice(line, out),
        (1, 2) => {
            let half = if is_lower { 2 } else { 1 };
            let pairs = line.iter().zip(other());
            out.extend(pairs.map(|(&a, &b)| ((u32::from(a) * 3 + u32::from(b) + half) >> 2) as u8));
        }
        (2, 2) if line.len() > 2 => both_twice(line, other(), out),
        _ => out.extend(line.iter().flat_map(|&s| std::iter::repeat_n(s, across))),
    }
}

/// Of each sample two, of three quarters of it and one of its neighbour.
fn across_twice(line: &[u8], out: &mut Vec<u8>) {
    let sums: Vec<u16> = line.iter().map(|&s| s.into()).collect();
    twice(&sums, (1, 2), 2, out);
}

/// The same in both directions: of the nearer row three quarters.
fn both_twice(near: &[u8], far: &[u8], out: &mut Vec<u8>) {
    let pairs = near.iter().zip(far);
    let sums: Vec<u16> = pairs
        .map(|(&near, &far)| u16::from(near) * 3 + u16::from(far))
        .collect();
    twice(&sums, (8, 7), 4, out);
}

/// Of each number two, of three quarters of it and one of the one before or behind it. `round` is added to
/// them, and `bits` are left out.
fn twice(sums: &[u16], round: (u16, u16), bits: u32, out: &mut Vec<u8>) {
    let ([first, ..], [.., last]) = (sums, sums) else {
        return;
    };
    out.resize(sums.len() * 2, 0);
    let (pairs, _) = out.as_chunks_mut::<2>();
    let pair = |before: u16, here: u16, behind: u16| {
        [
            ((here * 3 + before + round.0) >> bits) as u8,
            ((here * 3 + behind + round.1) >> bits) as u8,
        ]
    };
    if let [second, ..] = &sums[1..]
        && let [.., last_but_one] = &sums[..sums.len() - 1]
    {
        for (place, sums) in pairs[1..].iter_mut().zip(sums.windows(3)) {
            *place = pair(sums[0], sums[1], sums[2]);
        }
        pairs[0] = pair(*first, *first, *second);
        pairs[sums.len() - 1] = pair(*last_but_one, *last, *last);
    } else {
        pairs[0] = pair(*first, *first, *first);
    }
}

/// The pixels: `width * height * samples` bytes.
///
/// # Errors
/// `invalid_picture` where a component has not a whole number of times fewer samples than another.
pub(super) fn pixels(frame: &Frame, colors: Colors, out: &mut [u8]) -> Result<()> {
    let components = frame.components.iter();
    let ratios = components.map(|component| ratio(frame, component));
    let ratios = ratios.collect::<Result<Vec<_>>>()?;
    let mut lines = vec![Vec::new(); frame.components.len()];
    let rows = out.chunks_exact_mut(frame.width * colors.samples());
    for (row, out) in rows.enumerate() {
        for ((component, &ratio), line) in frame.components.iter().zip(&ratios).zip(&mut lines) {
            stretch(component, ratio, row, line);
        }
        match (&lines[..], colors) {
            ([grey, ..], Colors::Grey) => {
                out.iter_mut().zip(grey).for_each(|(out, s)| *out = *s);
            }
            ([a, b, c], _) => {
                let (pixels, _) = out.as_chunks_mut::<3>();
                for (out, ((&a, &b), &c)) in pixels.iter_mut().zip(a.iter().zip(b).zip(c)) {
                    *out = if colors == Colors::Rgb {
                        [a, b, c]
                    } else {
                        rgb(a, b, c)
                    };
                }
            }
            ([a, b, c, k], _) => {
                let (pixels, _) = out.as_chunks_mut::<3>();
                let inks = a.iter().zip(b).zip(c).zip(k);
                for (out, (((&a, &b), &c), &k)) in pixels.iter_mut().zip(inks) {
                    // Pillow takes all such files for inverted, as Adobe writes them.
                    let inks = match colors {
                        Colors::Ycck => rgb(a, b, c),
                        _ => [a, b, c].map(|ink| 255 - ink),
                    };
                    *out = inks.map(|ink| light(ink, k));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Luma and differences to red, green and blue.
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let sums = [
        (91_881 * cr + HALF) >> 16,
        (-22_554 * cb - 46_802 * cr + HALF) >> 16,
        (116_130 * cb + HALF) >> 16,
    ];
    sums.map(|sum| (y + sum).clamp(0, 255) as u8)
}

/// What an ink leaves of the light that black leaves, as Pillow multiplies it.
fn light(ink: u8, left: u8) -> u8 {
    let product = u32::from(ink) * u32::from(left) + 128;
    let taken = ((product >> 8) + product) >> 8;
    (u32::from(left) - taken.min(left.into())) as u8
}
