//! Products of matrices of a few dozen rows and columns, whose sums stay in registers. A row may lie anywhere.
#![allow(clippy::needless_range_loop)] // Indices are those of the formulas.

use pulp::Simd;

use super::lanes::{BLOCK, load, store};

/// Of which numbers a row consists: `n` runs of `len`, each `stride` after the last.
#[derive(Clone, Copy)]
pub struct Runs {
    /// Runs of a row.
    pub n: usize,
    /// Numbers of a run.
    pub len: usize,
    /// Numbers from one run's begin to the next one's.
    pub stride: usize,
}

impl Runs {
    /// A single run.
    pub fn one(len: usize) -> Runs {
        Runs { n: 1, len, stride: 0 }
    }

    /// Numbers of a row.
    pub fn depth(self) -> usize {
        self.n * self.len
    }
}

/// `a b` for `rows` rows of `a`, row `i` from `at(i)` on, and `b` packed: `[blocks][depth][BLOCK]`. `put` takes each row's sums, a
/// block of columns at a time.
#[inline(always)]
pub fn multiply<S: Simd, const V: usize>(
    s: S,
    rows: usize,
    a: &[f32],
    at: impl Fn(usize) -> usize,
    runs: Runs,
    b: &[f32],
    mut put: impl FnMut(usize, usize, [S::f32s; V]),
) {
    for (block, b) in b.chunks_exact(runs.depth() * BLOCK).enumerate() {
        let mut row = 0;
        // A block in one vector means twice as many registers, which hold the sums of more rows.
        while V == 1 && row + 16 <= rows {
            product::<S, 16, V>(
                s,
                row,
                a,
                &at,
                runs,
                b,
                #[inline(always)]
                |row, sums| put(row, block, sums),
            );
            row += 16;
        }
        while row + 6 <= rows {
            product::<S, 6, V>(
                s,
                row,
                a,
                &at,
                runs,
                b,
                #[inline(always)]
                |row, sums| put(row, block, sums),
            );
            row += 6;
        }
        while row + 2 <= rows {
            product::<S, 2, V>(
                s,
                row,
                a,
                &at,
                runs,
                b,
                #[inline(always)]
                |row, sums| put(row, block, sums),
            );
            row += 2;
        }
        if row < rows {
            product::<S, 1, V>(
                s,
                row,
                a,
                &at,
                runs,
                b,
                #[inline(always)]
                |row, sums| put(row, block, sums),
            );
        }
    }
}

/// `ROWS` rows of [`multiply`] from `first` on, one block of columns.
#[inline(always)]
fn product<S: Simd, const ROWS: usize, const V: usize>(
    s: S,
    first: usize,
    a: &[f32],
    at: &impl Fn(usize) -> usize,
    runs: Runs,
    b: &[f32],
    mut put: impl FnMut(usize, [S::f32s; V]),
) {
    let mut sums = [[s.splat_f32s(0.0); V]; ROWS];
    let mut begins = [0; ROWS];
    for (row, begin) in begins.iter_mut().enumerate() {
        *begin = at(first + row);
    }
    for (run, b) in b.chunks_exact(runs.len * BLOCK).enumerate() {
        let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
        for (row, begin) in rows.iter_mut().zip(begins) {
            *row = &a[begin + run * runs.stride..][..runs.len];
        }
        let (weights, _) = S::as_simd_f32s(b).0.as_chunks::<V>();
        let weights = &weights[..runs.len];
        for k in 0..runs.len {
            for row in 0..ROWS {
                let x = s.splat_f32s(rows[row][k]);
                for v in 0..V {
                    sums[row][v] = s.mul_add_f32s(x, weights[k][v], sums[row][v]);
                }
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        put(first + row, sums);
    }
}

/// `c += aᵀ b` with `a` `[n, rows]`, row `i` from `at(i)` on, `b` `[n, columns]` and `c` `[rows, columns]`.
#[inline(always)]
pub fn add_transposed<S: Simd, const V: usize>(
    s: S,
    a: &[f32],
    at: impl Fn(usize) -> usize,
    rows: usize,
    b: &[f32],
    columns: usize,
    c: &mut [f32],
) {
    for column in (0..columns).step_by(BLOCK) {
        let mut row = 0;
        while V == 1 && row + 16 <= rows {
            add_product::<S, 16, V>(s, a, &at, row, b, [columns, column], &mut c[row * columns + column..]);
            row += 16;
        }
        while row + 6 <= rows {
            add_product::<S, 6, V>(s, a, &at, row, b, [columns, column], &mut c[row * columns + column..]);
            row += 6;
        }
        while row + 2 <= rows {
            add_product::<S, 2, V>(s, a, &at, row, b, [columns, column], &mut c[row * columns + column..]);
            row += 2;
        }
        if row < rows {
            add_product::<S, 1, V>(s, a, &at, row, b, [columns, column], &mut c[row * columns + column..]);
        }
    }
}

/// `ROWS` rows of [`add_transposed`] from `row` on, one block of columns from `column` on.
#[inline(always)]
fn add_product<S: Simd, const ROWS: usize, const V: usize>(
    s: S,
    a: &[f32],
    at: &impl Fn(usize) -> usize,
    row: usize,
    b: &[f32],
    [columns, column]: [usize; 2],
    c: &mut [f32],
) {
    let mut sums = [[s.splat_f32s(0.0); V]; ROWS];
    for (index, b) in b.chunks_exact(columns).enumerate() {
        let (a, b) = (&a[at(index) + row..][..ROWS], &b[column..][..BLOCK]);
        let mut vectors = [s.splat_f32s(0.0); V];
        for (v, vector) in vectors.iter_mut().enumerate() {
            *vector = load::<S>(&b[v * S::F32_LANES..]);
        }
        for (sums, &x) in sums.iter_mut().zip(a) {
            let x = s.splat_f32s(x);
            for v in 0..V {
                sums[v] = s.mul_add_f32s(x, vectors[v], sums[v]);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        add_to(s, &mut c[row * columns..], sums);
    }
}

/// Transposes a square of blocks.
pub fn transpose(from: &[f32; BLOCK * BLOCK], to: &mut [f32; BLOCK * BLOCK]) {
    for row in 0..BLOCK {
        for column in 0..BLOCK {
            to[row * BLOCK + column] = from[column * BLOCK + row];
        }
    }
}

/// Writes a block.
#[inline(always)]
pub fn put<S: Simd, const V: usize>(to: &mut [f32], block: [S::f32s; V]) {
    let to = &mut to[..BLOCK];
    for (v, vector) in block.into_iter().enumerate() {
        store::<S>(&mut to[v * S::F32_LANES..], vector);
    }
}

/// Adds a block.
#[inline(always)]
pub fn add_to<S: Simd, const V: usize>(s: S, to: &mut [f32], block: [S::f32s; V]) {
    let to = &mut to[..BLOCK];
    for (v, vector) in block.into_iter().enumerate() {
        let to = &mut to[v * S::F32_LANES..];
        let sum = s.add_f32s(load::<S>(to), vector);
        store::<S>(to, sum);
    }
}
