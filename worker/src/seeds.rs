//! The seeds of the standard library's hash maps, in a component that was fused.
//!
//! Maps with keys out of requests (JSON objects, headers in great number) are safe from made-up
//! collisions only as long as nobody knows their seeds. The standard library takes seeds from
//! the host once, in a variable that nobody else can reach, and a snapshot would freeze them:
//! every instance of every host would have the same, and the file would say which. So the
//! variable is found at build time by what it does, and each instance puts seeds of its own there
//! before it looks at a request.

use std::hash::RandomState;
use std::ptr::with_exposed_provenance_mut;

use spin_sdk::wasip3::random::random::get_random_u64;
use twinfer::{Result, bail};

// The begin of the program's own data, and the end of it, where the heap begins.
unsafe extern "C" {
    static __global_base: u8;
    static __heap_base: u8;
}

/// Where the standard library keeps its seeds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seeds {
    address: usize,
    /// The place of the one that is counted up for each new map.
    counted: usize,
}

/// Two numbers, in the order in which they are in memory.
type Pair = [u64; 2];

impl Seeds {
    /// Finds them: two new maps tell the seeds, and where the next ones are to be.
    ///
    /// # Errors
    /// `internal` when they are not where they should be: the standard library was changed.
    pub(crate) fn find() -> Result<Self> {
        let (before, after) = (state(), state());
        let Some(counted) = (0..2).find(|at| {
            after[*at] == before[*at].wrapping_add(1) && after[1 - at] == before[1 - at]
        }) else {
            bail!(Internal, "the seeds of hash maps are not made as expected");
        };
        let mut wanted = after;
        wanted[counted] = wanted[counted].wrapping_add(1);
        let swapped = [wanted[1], wanted[0]];
        let mut found = Vec::new();
        for address in places() {
            let there = read(address);
            if there == wanted {
                found.push(Self { address, counted });
            } else if there == swapped {
                found.push(Self {
                    address,
                    counted: 1 - counted,
                });
            }
        }
        let [seeds] = found[..] else {
            bail!(
                Internal,
                "the seeds of hash maps are in {} places",
                found.len()
            );
        };
        Ok(seeds)
    }

    /// Exchanges them for random ones.
    ///
    /// # Errors
    /// `internal` when the next map does not take them.
    pub(crate) fn renew(self) -> Result<()> {
        let fresh = [get_random_u64(), get_random_u64()];
        // SAFETY: `find` saw that the standard library's seeds are there: 16 bytes that are
        // aligned for 64-bit integers. There is one thread, and none of the library's
        // functions runs now.
        unsafe { with_exposed_provenance_mut::<Pair>(self.address).write_volatile(fresh) };
        let mut taken = state();
        taken.sort_unstable();
        let mut expected = fresh;
        expected.sort_unstable();
        let counted = read(self.address)[self.counted];
        if taken != expected || counted != fresh[self.counted].wrapping_add(1) {
            bail!(
                Internal,
                "hash maps do not take new seeds: this component must not serve"
            );
        }
        Ok(())
    }
}

/// The seeds of a new map.
fn state() -> Pair {
    // SAFETY: it is two 64-bit integers; if it no longer were, this would not compile, and any
    // bits are integers.
    unsafe { std::mem::transmute::<RandomState, Pair>(RandomState::new()) }
}

/// Every place of a pair in the program's own data.
fn places() -> impl Iterator<Item = usize> {
    let (begin, end) = (&raw const __global_base, &raw const __heap_base);
    let begin = begin.expose_provenance().next_multiple_of(8);
    (begin..end.expose_provenance() - 15).step_by(8)
}

fn read(address: usize) -> Pair {
    // SAFETY: within the program's own data, aligned, and any bits are integers.
    unsafe { with_exposed_provenance_mut::<Pair>(address).read_volatile() }
}
