//! Ones as much of the world writes them and MNIST hardly does: with a flag, and sometimes with a foot.

use models::glyph::CENTER;
use models::{SIDE, digit};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use crate::data::Dataset;
use crate::outliers::{Canvas, Digits, remap, stroke};

/// Fraction of the ones that get a flag, and fraction of these that get a foot.
const FLAGGED: f64 = 0.15;
const FOOTED: f64 = 0.3;
/// Length of a flag and of half a foot in pixels, and how far a flag falls, in degrees under the horizontal.
const FLAG: std::ops::Range<f32> = 4.0..11.0;
const FOOT: std::ops::Range<f32> = 3.0..6.0;
const FALL: std::ops::Range<f32> = 20.0..60.0;

/// The batch's normalised digits `[n, 1, 28, 28]`, some of the ones redrawn.
pub fn european(batch: &Dataset, rng: &mut ChaCha8Rng) -> Tensor {
    let (ground, full) = (digit::normalize(0), digit::normalize(255));
    let altered = batch.digits.copy();
    for (index, one) in Digits::new(batch).of(1) {
        if rng.random_bool(FLAGGED)
            && let Some(one) = flagged(one, rng)
        {
            let pixels = one.map(|ink| ground + (full - ground) * ink.clamp(0.0, 1.0));
            let row = Tensor::from_slice(&pixels).view([1, SIDE as i64, SIDE as i64]);
            altered.get(index as i64).copy_(&row);
        }
    }
    altered
}

/// A one with a flag, its centre of mass where MNIST has it; `None` where there is no stroke to hang it on.
fn flagged(one: &Canvas, rng: &mut ChaCha8Rng) -> Option<Canvas> {
    let rows: Vec<(f32, f32)> = (0..SIDE).filter_map(|row| middle_of_row(one, row)).collect();
    let (&(top_x, top_y), &(foot_x, foot_y)) = (rows.first()?, rows.last()?);
    // A stroke that lies down is as wide as it is long: its ink by the row is no width.
    let width = (one.iter().sum::<f32>() / rows.len() as f32).clamp(1.5, 4.0);
    let mut canvas = *one;

    let (length, fall) = (rng.random_range(FLAG), rng.random_range(FALL).to_radians());
    let top = (top_x, top_y + width / 2.0);
    let tip = (top.0 - length * fall.cos(), top.1 + length * fall.sin());
    stroke(&mut canvas, &[top, tip], width);
    if rng.random_bool(FOOTED) {
        let (half, y) = (rng.random_range(FOOT), foot_y - width / 2.0);
        stroke(&mut canvas, &[(foot_x - half, y), (foot_x + half, y)], width);
    }
    Some(centred(&canvas))
}

/// Where the ink of a row has its middle, as column and row, pixel `i` covering `i..i + 1`.
fn middle_of_row(canvas: &Canvas, row: usize) -> Option<(f32, f32)> {
    let row_of_ink = &canvas[row * SIDE..][..SIDE];
    let ink: f32 = row_of_ink.iter().sum();
    let moment: f32 = row_of_ink
        .iter()
        .enumerate()
        .map(|(x, ink)| (x as f32 + 0.5) * ink)
        .sum();
    (ink > 0.7).then(|| (moment / ink, row as f32 + 0.5))
}

fn centred(canvas: &Canvas) -> Canvas {
    let mass: f32 = canvas.iter().sum();
    let moment = |place: fn(usize) -> usize| {
        let sum: f32 = canvas.iter().enumerate().map(|(i, ink)| place(i) as f32 * ink).sum();
        sum / mass - CENTER as f32
    };
    let (down, right) = (moment(|index| index / SIDE), moment(|index| index % SIDE));
    remap(canvas, |row, column| (row + down, column + right))
}

#[cfg(test)]
mod tests {
    use models::mnist::Split;
    use models::{Digit, PIXELS};
    use rand::SeedableRng;
    use tch::{Device, Kind};

    use super::*;

    /// Two hundred upright ones and as many sevens of the same look.
    fn batch() -> Dataset {
        let one = std::array::from_fn(|index: usize| {
            let (row, column) = (index / SIDE, index % SIDE);
            if (4..24).contains(&row) && (13..16).contains(&column) {
                255
            } else {
                0
            }
        });
        let split = Split {
            digits: vec![Digit(one); 400],
            labels: [[1; 200], [7; 200]].concat(),
            sha256: Default::default(),
        };
        Dataset::new(&split, Device::Cpu)
    }

    #[test]
    fn some_ones_get_a_flag_and_nothing_else_changes() {
        let batch = batch();
        let altered = european(&batch, &mut ChaCha8Rng::seed_from_u64(0));
        let changed: Vec<bool> = (&altered - &batch.digits)
            .abs()
            .amax([1, 2, 3], false)
            .gt(0.5)
            .try_into()
            .unwrap();
        let count = |part: &[bool]| part.iter().filter(|&&changed| changed).count();
        assert!((15..45).contains(&count(&changed[..200])), "{}", count(&changed[..200]));
        assert_eq!(count(&changed[200..]), 0);
        assert_eq!(altered, european(&batch, &mut ChaCha8Rng::seed_from_u64(0)));
    }

    #[test]
    fn a_flag_hangs_to_the_left_of_the_top() {
        let one: Canvas = Digits::new(&batch()).of(1).next().unwrap().1.to_owned();
        let flagged = flagged(&one, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let ink = Tensor::from_slice(&flagged).view([28, 28]);
        let left = ink.narrow(1, 5, 7);
        let sum = |part: &Tensor| part.sum(Kind::Float).double_value(&[]);
        assert!(sum(&left.narrow(0, 0, 14)) > 3.0);
        let moment: f32 = flagged.iter().enumerate().map(|(i, ink)| ink * (i % SIDE) as f32).sum();
        let mass: f32 = flagged.iter().sum();
        assert!((f64::from(moment / mass) - CENTER).abs() < 0.2);
        assert_eq!(flagged.len(), PIXELS);
    }
}
