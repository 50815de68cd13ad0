//! Four floats at once: a vector register on wasm, an array elsewhere.
//!
//! Products and sums are rounded separately on every processor (no fused multiply-add), so the
//! same kernel gives the same bits in the page, in the component and in native tests.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd {
    use std::arch::wasm32::*;

    /// Four floats.
    #[derive(Clone, Copy)]
    pub(crate) struct F4(v128);

    impl F4 {
        #[inline(always)]
        pub(crate) fn splat(value: f32) -> Self {
            Self(f32x4_splat(value))
        }

        /// # Safety
        /// `from` is readable for four floats.
        #[inline(always)]
        pub(crate) unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller's promise; unaligned loads are allowed.
            Self(unsafe { v128_load(from.cast()) })
        }

        /// # Safety
        /// `from` is readable for one float.
        #[inline(always)]
        pub(crate) unsafe fn load_splat(from: *const f32) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { v128_load32_splat(from.cast()) })
        }

        /// Four floats, each in all lanes of its own vector.
        ///
        /// # Safety
        /// `from` is readable for four floats.
        #[inline(always)]
        #[cfg(target_env = "p2")]
        pub(crate) unsafe fn load_splats(from: *const f32) -> [Self; 4] {
            // One load and shuffles: Cranelift makes a load, a move and a shuffle of each
            // `v128.load32_splat` whose vector it needs only later.
            // SAFETY: the caller's promise.
            let all = unsafe { Self::load(from) }.0;
            [
                Self(i32x4_shuffle::<0, 0, 0, 0>(all, all)),
                Self(i32x4_shuffle::<1, 1, 1, 1>(all, all)),
                Self(i32x4_shuffle::<2, 2, 2, 2>(all, all)),
                Self(i32x4_shuffle::<3, 3, 3, 3>(all, all)),
            ]
        }

        /// Four floats, each in all lanes of its own vector.
        ///
        /// # Safety
        /// `from` is readable for four floats.
        #[inline(always)]
        #[cfg(not(target_env = "p2"))]
        pub(crate) unsafe fn load_splats(from: *const f32) -> [Self; 4] {
            // One instruction each in V8.
            // SAFETY: the caller's promise.
            [0, 1, 2, 3].map(|lane| unsafe { Self::load_splat(from.add(lane)) })
        }

        /// # Safety
        /// `to` is writable for four floats.
        #[inline(always)]
        pub(crate) unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller's promise; unaligned stores are allowed.
            unsafe { v128_store(to.cast(), self.0) }
        }

        /// `self + a * b`, each rounded.
        #[inline(always)]
        pub(crate) fn add_product(self, a: Self, b: Self) -> Self {
            Self(f32x4_add(self.0, f32x4_mul(a.0, b.0)))
        }

        /// Lane by lane, `low` where smaller, `high` where larger; NaN stays NaN, and a zero keeps
        /// its sign. (`f32x4.min` and `max` take seven instructions each on x86-64.)
        #[inline(always)]
        pub(crate) fn clamp(self, low: Self, high: Self) -> Self {
            Self(f32x4_pmin(f32x4_pmax(self.0, low.0), high.0))
        }

        /// The floats at even places of two vectors.
        #[inline(always)]
        fn even(self, next: Self) -> Self {
            Self(i32x4_shuffle::<0, 2, 4, 6>(self.0, next.0))
        }
    }

    /// As many of every second float of `from` as blocks of four can take; how many that is.
    #[inline(always)]
    pub(super) fn every_second(from: &[f32], to: &mut [f32]) -> usize {
        let blocks = from.chunks_exact(8).zip(to.chunks_exact_mut(4));
        let mut done = 0;
        for (from, to) in blocks {
            // SAFETY: there are eight floats to read and four to write.
            unsafe {
                let (low, high) = (F4::load(from.as_ptr()), F4::load(from[4..].as_ptr()));
                low.even(high).store(to.as_mut_ptr());
            }
            done += 4;
        }
        done
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod simd {
    /// Four floats.
    #[derive(Clone, Copy)]
    pub(crate) struct F4([f32; 4]);

    impl F4 {
        pub(crate) fn splat(value: f32) -> Self {
            Self([value; 4])
        }

        /// # Safety
        /// `from` is readable for four floats.
        pub(crate) unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller's promise; an array of floats is aligned as a float is.
            Self(unsafe { *from.cast() })
        }

        /// # Safety
        /// `from` is readable for one float.
        pub(crate) unsafe fn load_splat(from: *const f32) -> Self {
            // SAFETY: the caller's promise.
            Self::splat(unsafe { *from })
        }

        /// Four floats, each in all lanes of its own vector.
        ///
        /// # Safety
        /// `from` is readable for four floats.
        pub(crate) unsafe fn load_splats(from: *const f32) -> [Self; 4] {
            // SAFETY: the caller's promise.
            unsafe { Self::load(from) }.0.map(Self::splat)
        }

        /// # Safety
        /// `to` is writable for four floats.
        pub(crate) unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller's promise; an array of floats is aligned as a float is.
            unsafe { *to.cast() = self.0 }
        }

        /// `self + a * b`, each rounded.
        pub(crate) fn add_product(self, a: Self, b: Self) -> Self {
            let mut sum = self.0;
            for ((s, a), b) in sum.iter_mut().zip(a.0).zip(b.0) {
                *s += a * b;
            }
            Self(sum)
        }

        /// Lane by lane, `low` where smaller, `high` where larger; NaN and zeros stay.
        pub(crate) fn clamp(self, low: Self, high: Self) -> Self {
            let mut lanes = self.0;
            for ((x, low), high) in lanes.iter_mut().zip(low.0).zip(high.0) {
                if *x < low {
                    *x = low;
                }
                if *x > high {
                    *x = high;
                }
            }
            Self(lanes)
        }
    }

    /// None: the caller's loop is all there is here.
    pub(super) fn every_second(_from: &[f32], _to: &mut [f32]) -> usize {
        0
    }
}

pub(crate) use simd::F4;

/// Fills `to` with every `step`th float of `from`, from the first on.
pub(super) fn every(from: &[f32], step: usize, to: &mut [f32]) {
    if step == 1 {
        let length = to.len();
        to.copy_from_slice(&from[..length]);
        return;
    }
    let done = if step == 2 {
        simd::every_second(from, to)
    } else {
        0
    };
    let rest = from.iter().skip(done * step).step_by(step);
    for (to, from) in to[done..].iter_mut().zip(rest) {
        *to = *from;
    }
}
