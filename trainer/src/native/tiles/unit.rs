//! The matrix unit of a CPU: eight tiles of 16 rows, of which two of bf16 are multiplied and added to one of f32.
//! Source: Intel, "Architecture Instruction Set Extensions Programming Reference", chapter 3, "Intel AMX".

/// Rows of a tile, and its columns of 32 bits: a sum in f32, or two neighbours of a row in bf16.
pub const SIDE: usize = 16;

/// Factors in bf16 that a row of a left tile holds at most.
pub const DEPTH: usize = 2 * SIDE;

/// Tiles by number: 0 to 3 are sums, 4 and 5 factors on the left, 6 and 7 on the right. A tile in memory is rows of up to [`SIDE`]
/// numbers of 32 bits, each row `stride` of them after the last; one on the right has two rows of its matrix in a row.
pub trait Unit {
    /// For sums of so many rows, up to [`SIDE`], and products of so many factors, up to [`DEPTH`].
    fn new(rows: usize, depth: usize) -> Self;
    /// Sums of nothing.
    fn clear<const TILE: usize>(&mut self);
    /// Sums to go on with.
    fn take<const TILE: usize>(&mut self, sums: &[f32], stride: usize);
    /// Writes sums.
    fn put<const TILE: usize>(&self, sums: &mut [f32], stride: usize);
    /// Factors on the left.
    fn left<const TILE: usize>(&mut self, factors: &[u32], stride: usize);
    /// Factors on the right.
    fn right<const TILE: usize>(&mut self, factors: &[u32], stride: usize);
    /// Adds the products.
    fn multiply<const SUMS: usize, const LEFT: usize, const RIGHT: usize>(&mut self);
    /// As many numbers, a multiple of [`SIDE`], in bf16, rounded to the nearest. What is no number stays none.
    fn round(from: &[f32], to: &mut [u16]);
    /// Pixels of some channels become as many rows, in which two neighbours are one number.
    fn turn(pixels: &[[u16; SIDE]; DEPTH]) -> [[u32; SIDE]; SIDE];
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use amx::{Amx as Hardware, is_here};
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub use portable::{Portable as Hardware, is_here};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[allow(unsafe_code)] // The unit is reached by assembly only.
mod amx {
    use std::arch::asm;
    use std::arch::x86_64::*;
    use std::sync::LazyLock;

    use super::{DEPTH, SIDE, Unit};

    /// Intel's AMX. The tiles are the thread's, so that there is one of these at a time on a thread.
    pub struct Amx {
        rows: usize,
        pairs: usize,
    }

    /// What `ldtilecfg` reads.
    #[repr(C, align(64))]
    struct Layout {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        bytes_of_a_row: [u16; 16],
        rows: [u8; 16],
    }

    /// Whether the CPU has AMX for bf16, and Linux lets this process use it.
    pub fn is_here() -> bool {
        /// `arch_prctl`: let the process use a part of the CPU's state, and which part the tiles are.
        const REQUEST: libc::c_long = 0x1023;
        const TILES: libc::c_long = 18;
        /// In `edx` of leaf 7.
        const AMX_BF16: u32 = 1 << 22;
        const AMX_TILE: u32 = 1 << 24;
        static IS_HERE: LazyLock<bool> = LazyLock::new(|| {
            let has = __cpuid(0).eax >= 7 && {
                let features = __cpuid_count(7, 0).edx;
                features & AMX_BF16 != 0
                    && features & AMX_TILE != 0
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512bf16")
            };
            // SAFETY: the call takes two numbers and changes nothing but what the process may do.
            has && unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILES) } == 0
        });
        *IS_HERE
    }

    impl Drop for Amx {
        fn drop(&mut self) {
            // SAFETY: it exists, so the CPU has tiles; nobody else uses them.
            unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) }
        }
    }

    /// Whether a tile of so many rows and columns lies in a slice of `len` numbers.
    #[inline(always)]
    fn holds(len: usize, [rows, columns]: [usize; 2], stride: usize) -> bool {
        len >= (rows - 1) * stride + columns
    }

    /// Loads a tile that has so many rows and columns of numbers of 32 bits.
    #[inline(always)]
    fn load<const TILE: usize, T>(numbers: &[T], sides: [usize; 2], stride: usize) {
        const { assert!(size_of::<T>() == 4) }
        assert!(holds(numbers.len(), sides, stride));
        // SAFETY: whoever calls has an `Amx`, which has laid out the tile; all of its rows lie in the slice.
        unsafe {
            asm!(
                "tileloadd tmm{}, [{} + {}]", const TILE, in(reg) numbers.as_ptr(), in(reg) 4 * stride,
                options(readonly, nostack, preserves_flags)
            )
        }
    }

    /// [`Unit::round`]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn round(from: &[f32], to: &mut [u16]) {
        let ((from, rest), (to, none)) = (from.as_chunks::<SIDE>(), to.as_chunks_mut::<SIDE>());
        assert!(rest.is_empty() && none.is_empty() && from.len() == to.len());
        for (from, to) in from.iter().zip(to) {
            // SAFETY: both have `SIDE` numbers.
            unsafe {
                let rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(from.as_ptr()));
                *to = std::mem::transmute::<__m256bh, [u16; SIDE]>(rounded);
            }
        }
    }

    /// [`Unit::turn`]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn turn(pixels: &[[u16; SIDE]; DEPTH]) -> [[u32; SIDE]; SIDE] {
        const NEIGHBOURS: [u16; DEPTH] = {
            let mut order = [0; DEPTH];
            let mut at = 0;
            while at < DEPTH {
                order[at] = (at % 2 * SIDE + at / 2) as u16;
                at += 1;
            }
            order
        };
        // SAFETY: all of them have as many bits as a vector, or as so many vectors.
        let (order, mut rows) = unsafe {
            (
                std::mem::transmute::<[u16; DEPTH], __m512i>(NEIGHBOURS),
                std::mem::transmute::<[[u16; SIDE]; DEPTH], [__m512i; SIDE]>(*pixels),
            )
        };
        for row in &mut rows {
            *row = _mm512_permutexvar_epi16(order, *row);
        }
        // Rows and columns change places when the first and the second half of the rows are dealt out four times.
        let low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        let high = _mm512_add_epi32(low, _mm512_set1_epi32(SIDE as i32 / 2));
        for _ in 0..4 {
            let halves = rows;
            for (k, pair) in rows.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let [first, second] = [halves[k], halves[k + SIDE / 2]];
                *pair = [
                    _mm512_permutex2var_epi32(first, low, second),
                    _mm512_permutex2var_epi32(first, high, second),
                ];
            }
        }
        // SAFETY: as above.
        unsafe { std::mem::transmute::<[__m512i; SIDE], [[u32; SIDE]; SIDE]>(rows) }
    }

    impl Unit for Amx {
        #[inline(always)]
        fn new(rows: usize, depth: usize) -> Amx {
            let pairs = depth / 2;
            assert!(is_here() && (1..=SIDE).contains(&rows) && (1..=SIDE).contains(&pairs));
            let mut layout = Layout {
                palette: 1,
                start_row: 0,
                reserved: [0; 14],
                bytes_of_a_row: [0; 16],
                rows: [0; 16],
            };
            layout.bytes_of_a_row[..8].fill(4 * SIDE as u16);
            layout.bytes_of_a_row[4..6].fill(4 * pairs as u16);
            layout.rows[..6].fill(rows as u8);
            layout.rows[6..8].fill(pairs as u8);
            // SAFETY: the CPU has tiles, and the layout is one of theirs.
            unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const layout, options(readonly, nostack, preserves_flags)) }
            Amx { rows, pairs }
        }

        #[inline(always)]
        fn clear<const TILE: usize>(&mut self) {
            // SAFETY: `new` has laid out the tile.
            unsafe { asm!("tilezero tmm{}", const TILE, options(nomem, nostack, preserves_flags)) }
        }

        #[inline(always)]
        fn take<const TILE: usize>(&mut self, sums: &[f32], stride: usize) {
            load::<TILE, _>(sums, [self.rows, SIDE], stride);
        }

        #[inline(always)]
        fn put<const TILE: usize>(&self, sums: &mut [f32], stride: usize) {
            assert!(holds(sums.len(), [self.rows, SIDE], stride));
            // SAFETY: `new` has laid out the tile, all of whose rows lie in the slice.
            unsafe {
                asm!(
                    "tilestored [{} + {}], tmm{}", in(reg) sums.as_mut_ptr(), in(reg) 4 * stride, const TILE,
                    options(nostack, preserves_flags)
                )
            }
        }

        #[inline(always)]
        fn left<const TILE: usize>(&mut self, factors: &[u32], stride: usize) {
            load::<TILE, _>(factors, [self.rows, self.pairs], stride);
        }

        #[inline(always)]
        fn right<const TILE: usize>(&mut self, factors: &[u32], stride: usize) {
            load::<TILE, _>(factors, [self.pairs, SIDE], stride);
        }

        #[inline(always)]
        fn multiply<const SUMS: usize, const LEFT: usize, const RIGHT: usize>(&mut self) {
            // SAFETY: `new` has laid out the three tiles so that they fit.
            unsafe {
                asm!(
                    "tdpbf16ps tmm{}, tmm{}, tmm{}", const SUMS, const LEFT, const RIGHT,
                    options(nomem, nostack, preserves_flags)
                )
            }
        }

        fn round(from: &[f32], to: &mut [u16]) {
            assert!(is_here());
            // SAFETY: the CPU has what the function needs.
            unsafe { round(from, to) }
        }

        fn turn(pixels: &[[u16; SIDE]; DEPTH]) -> [[u32; SIDE]; SIDE] {
            assert!(is_here());
            // SAFETY: the CPU has what the function needs.
            unsafe { turn(pixels) }
        }
    }
}

/// The same without hardware, so slow that it is for tests only.
pub mod portable {
    use half::bf16;

    use super::{DEPTH, SIDE, Unit};

    /// Numbers in memory.
    pub struct Portable {
        rows: usize,
        pairs: usize,
        tiles: [[[u32; SIDE]; SIDE]; 8],
    }

    /// Hardware is nowhere where this stands in for it.
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    pub fn is_here() -> bool {
        false
    }

    impl Portable {
        fn load(&mut self, tile: usize, [rows, columns]: [usize; 2], number: impl Fn(usize) -> u32, stride: usize) {
            for (row, to) in self.tiles[tile][..rows].iter_mut().enumerate() {
                for (column, to) in to[..columns].iter_mut().enumerate() {
                    *to = number(row * stride + column);
                }
            }
        }
    }

    /// A number in bf16, rounded to the nearest as [`bf16::from_f32`] does, which has branches that keep it out of vectors. What is
    /// no number stays none.
    #[inline(always)]
    pub fn nearest(number: f32) -> bf16 {
        let bits = number.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        if number.is_nan() {
            bf16::NAN
        } else {
            bf16::from_bits(rounded as u16)
        }
    }

    /// The first and the second bf16 of 32 bits.
    fn halves(pair: u32) -> [f32; 2] {
        [pair << 16, pair & 0xffff_0000].map(f32::from_bits)
    }

    impl Unit for Portable {
        fn new(rows: usize, depth: usize) -> Portable {
            Portable {
                rows,
                pairs: depth / 2,
                tiles: [[[0; SIDE]; SIDE]; 8],
            }
        }

        fn clear<const TILE: usize>(&mut self) {
            self.tiles[TILE] = [[0; SIDE]; SIDE];
        }

        fn take<const TILE: usize>(&mut self, sums: &[f32], stride: usize) {
            self.load(TILE, [self.rows, SIDE], |at| sums[at].to_bits(), stride);
        }

        fn put<const TILE: usize>(&self, sums: &mut [f32], stride: usize) {
            for (row, from) in self.tiles[TILE][..self.rows].iter().enumerate() {
                sums[row * stride..][..SIDE].copy_from_slice(&from.map(f32::from_bits));
            }
        }

        fn left<const TILE: usize>(&mut self, factors: &[u32], stride: usize) {
            self.load(TILE, [self.rows, self.pairs], |at| factors[at], stride);
        }

        fn right<const TILE: usize>(&mut self, factors: &[u32], stride: usize) {
            self.load(TILE, [self.pairs, SIDE], |at| factors[at], stride);
        }

        fn multiply<const SUMS: usize, const LEFT: usize, const RIGHT: usize>(&mut self) {
            for row in 0..self.rows {
                for column in 0..SIDE {
                    let mut sum = f32::from_bits(self.tiles[SUMS][row][column]);
                    for k in 0..self.pairs {
                        let left = halves(self.tiles[LEFT][row][k]);
                        let right = halves(self.tiles[RIGHT][k][column]);
                        sum += left[0] * right[0] + left[1] * right[1];
                    }
                    self.tiles[SUMS][row][column] = sum.to_bits();
                }
            }
        }

        fn round(from: &[f32], to: &mut [u16]) {
            for (from, to) in from.iter().zip(to) {
                *to = nearest(*from).to_bits();
            }
        }

        fn turn(pixels: &[[u16; SIDE]; DEPTH]) -> [[u32; SIDE]; SIDE] {
            let pair = |x: usize, channel: usize| {
                let [this, next] = [pixels[x][channel], pixels[x + 1][channel]].map(u32::from);
                this | next << 16
            };
            std::array::from_fn(|channel| std::array::from_fn(|x| pair(2 * x, channel)))
        }
    }
}
