//! Ink and ground are told apart by one level, and it is said where there is nothing to tell apart.

use image::GrayImage;

use super::GlyphError;

/// Ink takes at least this much more of the light than the ground does.
const MIN_CONTRAST: f32 = 20.0;
/// Ink stands out of the ground's noise by this many standard deviations.
const MIN_CLEARNESS: f32 = 3.0;

/// The level from which a pixel is ink.
///
/// # Errors
/// When the ink does not stand out of the ground.
pub fn threshold(ink: &GrayImage) -> Result<u8, GlyphError> {
    let histogram = histogram(ink);
    let threshold = otsu(&histogram);
    let ground = Class::of(&histogram, 0..usize::from(threshold));
    let marks = Class::of(&histogram, usize::from(threshold)..256);
    let contrast = marks.mean - ground.mean;
    if contrast < MIN_CONTRAST {
        return Err(GlyphError::Blank);
    }
    if contrast < MIN_CLEARNESS * ground.deviation {
        return Err(GlyphError::Noise);
    }
    // The edge of a smooth stroke lies halfway, wherever Otsu's level happens to fall between the two.
    Ok(f32::midpoint(ground.mean, marks.mean) as u8)
}

/// How many pixels have each level.
fn histogram(levels: &[u8]) -> [u32; 256] {
    /// Neighbours are often alike, and a count that has just been written is slow to read.
    const TURNS: usize = 4;
    let mut counts = [[0; 256]; TURNS];
    let (blocks, rest) = levels.as_chunks::<16>();
    for block in blocks {
        if *block == [block[0]; 16] {
            counts[0][usize::from(block[0])] += 16;
        } else {
            for (turn, &level) in block.iter().enumerate() {
                counts[turn % TURNS][usize::from(level)] += 1;
            }
        }
    }
    for &level in rest {
        counts[0][usize::from(level)] += 1;
    }
    std::array::from_fn(|level| counts.iter().map(|counts| counts[level]).sum())
}

/// Otsu's level: both sides vary the least within themselves.
fn otsu(histogram: &[u32; 256]) -> u8 {
    let total: f64 = histogram.iter().map(|&n| f64::from(n)).sum();
    let moment = |(level, &n): (usize, &u32)| level as f64 * f64::from(n);
    let whole: f64 = histogram.iter().enumerate().map(moment).sum();
    let (mut below, mut below_moment, mut between) = (0.0, 0.0, -1.0);
    let (mut best, mut first, mut last) = (0.0, 255, 255);
    for threshold in 1..256 {
        // Between two levels that no pixel has nothing changes.
        if histogram[threshold - 1] > 0 {
            below += f64::from(histogram[threshold - 1]);
            below_moment += moment((threshold - 1, &histogram[threshold - 1]));
            let above = total - below;
            if above == 0.0 {
                break;
            }
            let apart = below_moment / below - (whole - below_moment) / above;
            between = below * above * apart * apart;
        }
        if between > best {
            (best, first, last) = (between, threshold, threshold);
        } else if between == best {
            last = threshold;
        }
    }
    ((first + last) / 2) as u8
}

/// The pixels of some levels.
struct Class {
    mean: f32,
    deviation: f32,
}

impl Class {
    fn of(histogram: &[u32; 256], levels: std::ops::Range<usize>) -> Class {
        let counts = || levels.clone().map(|level| (level as f64, f64::from(histogram[level])));
        let n = counts().map(|(_, n)| n).sum::<f64>().max(1.0);
        let mean = counts().map(|(level, n)| level * n).sum::<f64>() / n;
        let variance = counts().map(|(level, n)| (level - mean).powi(2) * n).sum::<f64>() / n;
        Class {
            mean: mean as f32,
            deviation: variance.sqrt() as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_between_ink_and_ground() {
        let mut levels = vec![10; 900];
        levels.extend([200; 100]);
        let ink = GrayImage::from_raw(100, 10, levels).unwrap();
        assert_eq!(threshold(&ink).unwrap(), 105);
    }

    #[test]
    fn finds_none_where_nothing_stands_out() {
        let flat = GrayImage::from_pixel(10, 10, image::Luma([7]));
        assert!(matches!(threshold(&flat), Err(GlyphError::Blank)));
    }
}
