//! Digits as other hands, pens and papers would have made them: a batch in, as many altered digits out.
//!
//! Every digit draws its own numbers from the caller's generator, never from libtorch's, so that a seed fixes them all.

use models::glyph::INK_BOX;
use models::{SIDE, digit};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

/// Rotation in degrees, to either side.
const ROTATION: f64 = 12.0;
/// Slant, as columns a row, to either side.
const SHEAR: f64 = 0.25;
/// Width and height as fractions of what they were, each its own.
const SCALE: std::ops::Range<f64> = 0.85..1.15;
/// Shift in pixels, in both directions to either side.
const SHIFT: f64 = 2.0;
/// Knots a side of the elastic field, and how far a knot moves at most, in pixels.
const KNOTS: i64 = 6;
const ELASTIC: f64 = 1.2;
/// Fraction of the digits whose strokes get thicker, and by how many pixels to each side at most.
const THICKER: (f64, f64) = (0.35, 1.6);
/// Fraction of the digits whose strokes get thinner, and how much of a pixel each side loses at most.
const THINNER: (f64, f64) = (0.25, 0.8);
/// Fraction of the digits that are blurred, and how much of a mean over 3x3 pixels goes into them at most.
const BLUR: (f64, f64) = (0.25, 0.8);
/// Exponent of the grey levels: under 1 fattens the soft edges, over 1 thins them.
const GAMMA: std::ops::Range<f64> = 0.7..1.4;
/// Brightness of the ink.
const CONTRAST: std::ops::Range<f64> = 0.6..1.1;
/// Fraction of the digits that get noise, and its amplitude at most, full ink being 1.
const NOISE: (f64, f64) = (0.2, 0.2);
/// Fraction of the digits whose stroke has a gap, where the pen did not write, and its radius in pixels at most.
const GAP: (f64, f64) = (0.15, 3.0);
/// Fraction of the digits that are drawn large again after they were seen through few pixels, and how many the picture's side
/// has then: a digit of 10 of 18 is as high as one of 7 pixels, written on a screen.
const COARSE: (f64, std::ops::Range<i64>) = (0.08, 10..18);

/// A pixel in libtorch's coordinates, which go from -1 to 1 over the picture.
pub(crate) const PIXEL: f64 = 2.0 / SIDE as f64;

/// Alters normalised digits `[n, 1, 28, 28]`. Where a digit gets no noise, its ground stays ground.
/// `strength` is how far the digits are moved, turned, slanted, scaled and bent, and how many of them are altered otherwise, 1
/// being as far and as many as the constants say.
pub fn augment(digits: &Tensor, strength: f64, rng: &mut ChaCha8Rng) -> Tensor {
    let _no_grad = tch::no_grad_guard();
    let mut draw = Draw {
        rng,
        strength,
        n: digits.size()[0],
        device: digits.device(),
    };
    let thicker = draw.sometimes(THICKER);
    let (motion, elastic) = (draw.motion(&thicker), draw.elastic());
    let ink = warp(&to_ink(digits), &motion, &elastic);
    let ink = strokes(&ink, &thicker, &draw.sometimes(THINNER));
    let ink = gap(&ink, &mut draw);
    let ink = coarse(&ink, &mut draw);
    from_ink(&light(&ink, &mut draw))
}

/// Normalised digits as ink: 0 is the ground, 1 is full ink.
pub(crate) fn to_ink(digits: &Tensor) -> Tensor {
    let (ground, full) = (f64::from(digit::normalize(0)), f64::from(digit::normalize(255)));
    (digits - ground) / (full - ground)
}

/// The inverse of [`to_ink`].
pub(crate) fn from_ink(ink: &Tensor) -> Tensor {
    let (ground, full) = (f64::from(digit::normalize(0)), f64::from(digit::normalize(255)));
    ink * (full - ground) + ground
}

/// Where each digit's pixels come from, a number for each digit, `[n, 1]`.
pub(crate) struct Motion {
    /// Angle in radians.
    pub rotation: Tensor,
    /// Columns a row.
    pub shear: Tensor,
    /// Columns of the digit that become one, and its rows.
    pub shrink: (Tensor, Tensor),
    /// Shift to the left and up, in libtorch's coordinates.
    pub shift: (Tensor, Tensor),
}

/// Moves the ink along an affine map, and along the elastic field `[n, 28, 28, 2]` in libtorch's coordinates.
pub(crate) fn warp(ink: &Tensor, motion: &Motion, elastic: &Tensor) -> Tensor {
    const BILINEAR: i64 = 0;
    const ZEROS: i64 = 0;
    let (cos, sin) = (motion.rotation.cos(), motion.rotation.sin());
    let (x, y) = &motion.shrink;
    let rows = [
        &cos * x,
        (&cos * &motion.shear - &sin) * y,
        motion.shift.0.shallow_clone(),
        &sin * x,
        (&sin * &motion.shear + &cos) * y,
        motion.shift.1.shallow_clone(),
    ];
    let theta = Tensor::cat(&rows, 1).view([-1, 2, 3]);
    let grid = Tensor::affine_grid_generator(&theta, ink.size(), false) + elastic;
    ink.grid_sampler(&grid, BILINEAR, ZEROS, false)
}

/// Moves the edges of the strokes by `thicker - thinner` pixels, between the steps of a 3x3 maximum or minimum.
pub(crate) fn strokes(ink: &Tensor, thicker: &Tensor, thinner: &Tensor) -> Tensor {
    let each = |numbers: &Tensor| numbers.view([-1, 1, 1, 1]);
    let thin = -maximum(&-ink);
    let ink = ink + (thin - ink) * each(thinner);
    let once = maximum(&ink);
    let twice = maximum(&once);
    let (first, second) = (thicker.clamp(0.0, 1.0), (thicker - 1.0).clamp(0.0, 1.0));
    &ink + (&once - &ink) * each(&first) + (twice - &once) * each(&second)
}

/// The most ink among each pixel and its neighbours: of three rows, then of three columns, in vectors, which libtorch's pooling
/// does not use here.
fn maximum(ink: &Tensor) -> Tensor {
    [2, 3]
        .into_iter()
        .fold(ink.replication_pad2d([1, 1, 1, 1]), |ink, direction| {
            let [first, second, third] = [0, 1, 2].map(|first| ink.narrow(direction, first, SIDE as i64));
            first.maximum(&second).maximum(&third)
        })
}

/// Takes a disc out of some digits, its centre on a stroke.
fn gap(ink: &Tensor, draw: &mut Draw) -> Tensor {
    let side = SIDE as i64;
    let radius = draw.sometimes(GAP).view([-1, 1, 1, 1]);
    let chance = draw.uniform(&ink.size(), 0.0..1.0) * ink.gt(0.5);
    let place = chance.flatten(1, -1).argmax(1, false).view([-1, 1, 1, 1]);
    let pixels = Tensor::arange(side, (Kind::Int64, draw.device));
    let down = pixels.view([1, 1, side, 1]) - place.floor_divide_scalar(side);
    let right = pixels.view([1, 1, 1, side]) - place.remainder(side);
    let distance = (down.square() + right.square()).to_kind(Kind::Float).sqrt();
    ink * (distance - radius + 1.0).clamp(0.0, 1.0)
}

/// Some digits through few pixels, which are as many for all of them, and enlarged as the front end does: what is between
/// pixels decides whether there is ink.
fn coarse(ink: &Tensor, draw: &mut Draw) -> Tensor {
    /// Ink is what has this part of the most, and how steep its edges are.
    const LEVEL: f64 = 0.35;
    const STEEPNESS: f64 = 4.0;
    let (few, all) = (draw.rng.random_range(COARSE.1), SIDE as i64);
    let pixels = ink.adaptive_avg_pool2d([few, few]);
    let most = pixels.amax([2, 3], true).clamp_min(0.1);
    let large = (pixels / most).upsample_bilinear2d([all, all], false, None, None);
    let large = ((large - LEVEL) * STEEPNESS + 0.5).clamp(0.0, 1.0);
    ink + (large - ink) * draw.chosen(COARSE.0).view([-1, 1, 1, 1])
}

/// Blur, gamma, contrast and noise; the ink stays in `0..=1`.
fn light(ink: &Tensor, draw: &mut Draw) -> Tensor {
    let each = |numbers: Tensor| numbers.view([-1, 1, 1, 1]);
    let mean = ink.avg_pool2d([3, 3], [1, 1], [1, 1], false, true, None);
    let ink = ink + (mean - ink) * each(draw.sometimes(BLUR));
    let ink = ink.clamp(0.0, 1.0).pow(&each(draw.numbers(GAMMA))) * each(draw.numbers(CONTRAST));
    let noise = draw.uniform(&ink.size(), -1.0..1.0) * each(draw.sometimes(NOISE));
    (ink + noise).clamp(0.0, 1.0)
}

/// Random numbers as tensors on the batch's device.
struct Draw<'a> {
    rng: &'a mut ChaCha8Rng,
    /// Of the motion, and of how many digits are altered otherwise.
    strength: f64,
    /// Digits of the batch.
    n: i64,
    device: Device,
}

impl Draw<'_> {
    /// A digit that is to become thicker shrinks, so that it fills the same box afterwards.
    fn motion(&mut self, thicker: &Tensor) -> Motion {
        let grown: Tensor = thicker * (2.0 / INK_BOX as f64) + 1.0;
        let strength = self.strength;
        let (angle, shear, shift) = (
            ROTATION.to_radians() * strength,
            SHEAR * strength,
            SHIFT * PIXEL * strength,
        );
        let scale = 1.0 + (SCALE.start - 1.0) * strength..1.0 + (SCALE.end - 1.0) * strength;
        Motion {
            rotation: self.numbers(-angle..angle),
            shear: self.numbers(-shear..shear),
            shrink: (&grown / self.numbers(scale.clone()), &grown / self.numbers(scale)),
            shift: (self.numbers(-shift..shift), self.numbers(-shift..shift)),
        }
    }

    /// Knots that move each on its own, and the pixels between them smoothly.
    fn elastic(&mut self) -> Tensor {
        let side = SIDE as i64;
        let far = ELASTIC * PIXEL * self.strength;
        let knots = self.uniform(&[self.n, 2, KNOTS, KNOTS], -far..far);
        knots
            .upsample_bicubic2d([side, side], true, None, None)
            .permute([0, 2, 3, 1])
    }

    fn uniform(&mut self, shape: &[i64], range: std::ops::Range<f64>) -> Tensor {
        let range = range.start as f32..range.end as f32;
        let n = shape.iter().product::<i64>();
        let span = range.end - range.start;
        let values: Vec<f32> = (0..n).map(|_| range.start + span * self.rng.random::<f32>()).collect();
        Tensor::from_slice(&values).view(shape).to_device(self.device)
    }

    /// A number for each digit, `[n, 1]`.
    fn numbers(&mut self, range: std::ops::Range<f64>) -> Tensor {
        self.uniform(&[self.n, 1], range)
    }

    /// A number in `0..most` for the digits that are [`Draw::chosen`] and 0 for the others, `[n, 1]`.
    fn sometimes(&mut self, (fraction, most): (f64, f64)) -> Tensor {
        let chosen = self.chosen(fraction);
        self.numbers(0.0..most) * chosen
    }

    /// 1 for a fraction of the digits, at full strength, and 0 for the others, `[n, 1]`.
    fn chosen(&mut self, fraction: f64) -> Tensor {
        self.numbers(0.0..1.0).lt(fraction * self.strength).to_kind(Kind::Float)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// At full strength, for `n` digits.
    fn draw(rng: &mut ChaCha8Rng, n: i64) -> Draw<'_> {
        Draw {
            rng,
            strength: 1.0,
            n,
            device: Device::Cpu,
        }
    }

    /// `n` thick vertical strokes, normalised.
    fn ones(n: i64) -> Tensor {
        let digits = Tensor::full(
            [n, 1, 28, 28],
            f64::from(digit::normalize(0)),
            (Kind::Float, Device::Cpu),
        );
        let _ = digits
            .narrow(2, 4, 20)
            .narrow(3, 12, 4)
            .fill_(f64::from(digit::normalize(255)));
        digits
    }

    #[test]
    fn a_seed_fixes_every_pixel() {
        let digits = ones(5);
        let first = augment(&digits, 1.0, &mut rng(1));
        assert_eq!(first.size(), [5, 1, 28, 28]);
        assert_eq!(first, augment(&digits, 1.0, &mut rng(1)));
        assert_ne!(first, augment(&digits, 1.0, &mut rng(2)));
        let different = (first.get(0) - first.get(1)).abs().max().double_value(&[]);
        assert!(different > 0.1, "each digit draws its own numbers");
    }

    #[test]
    fn ground_stays_ground_and_ink_stays_ink() {
        let digits = ones(200);
        let altered = augment(&digits, 1.0, &mut rng(0));
        let (ground, full) = (f64::from(digit::normalize(0)), f64::from(digit::normalize(255)));
        assert!(altered.min().double_value(&[]) >= ground - 1e-6);
        assert!(altered.max().double_value(&[]) <= full + 1e-6);
        let corners = altered.narrow(2, 0, 2).narrow(3, 0, 2).amax([1, 2, 3], false);
        let clean = corners
            .lt(ground + 1e-6)
            .to_kind(Kind::Float)
            .mean(Kind::Float)
            .double_value(&[]);
        assert!(clean > 0.7, "{clean}: only noise touches the corners");
        let middle = altered.narrow(2, 10, 8).narrow(3, 10, 8).amax([1, 2, 3], false);
        assert!(middle.min().double_value(&[]) > 0.0, "the stroke is still there");
    }

    #[test]
    fn some_digits_are_seen_through_few_pixels() {
        let ink = to_ink(&ones(400));
        let altered = coarse(&ink, &mut draw(&mut rng(0), 400));
        let distances = (&altered - &ink).abs().amax([1, 2, 3], false);
        let changed = distances.gt(1e-3).sum(Kind::Int64).int64_value(&[]);
        assert!((16..50).contains(&changed), "{changed}");
        let mass = |ink: &Tensor| ink.sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float);
        let grown = mass(&altered) / mass(&ink);
        let (least, most) = (grown.min().double_value(&[]), grown.max().double_value(&[]));
        assert!(least > 0.8 && most < 1.6, "{least} {most}: it is the same stroke");
    }

    #[test]
    fn some_strokes_have_a_gap() {
        let ink = to_ink(&ones(400));
        let altered = gap(&ink, &mut draw(&mut rng(0), 400));
        let lost = (&ink - &altered).sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float);
        let gaps = lost.gt(0.5).sum(Kind::Int64).int64_value(&[]);
        assert!((35..80).contains(&gaps), "{gaps}");
        let (least, most) = (lost.min().double_value(&[]), lost.max().double_value(&[]));
        assert!((-1e-6..=0.0).contains(&least) && most < 4.0 * 6.0, "{least} {most}");
    }

    #[test]
    fn strokes_get_as_thick_as_asked() {
        let ink = (ones(3) - f64::from(digit::normalize(0))) * f64::from(digit::STD);
        let thicker = Tensor::from_slice(&[0f32, 1.5, 0.0]).view([3, 1]);
        let thinner = Tensor::from_slice(&[0f32, 0.0, 0.5]).view([3, 1]);
        let widths =
            strokes(&ink, &thicker, &thinner)
                .select(2, 14)
                .sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Float);
        for (width, expected) in Vec::<f32>::try_from(widths).unwrap().into_iter().zip([4.0, 7.0, 3.0]) {
            assert!((width - expected).abs() < 1e-4, "{width} {expected}");
        }
    }
}
