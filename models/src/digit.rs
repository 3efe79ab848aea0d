//! One digit as the network's data set has it: 28x28 grey bytes, light ink on a dark ground.

use crate::PIXELS;

/// Mean of the training pixels, in units of full brightness.
pub const MEAN: f32 = 0.1307;
/// Standard deviation of the training pixels, in units of full brightness.
pub const STD: f32 = 0.3081;

/// 28x28 grey bytes row by row: 0 is the ground, 255 the ink.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Digit(pub [u8; PIXELS]);

impl Digit {
    /// The pixels as the network takes them, `[SIDE, SIDE]`.
    pub fn normalized(&self) -> [f32; PIXELS] {
        self.0.map(normalize)
    }

    /// Reads the digit's bytes as they lie in an IDX file or a tensor; `None` unless there are exactly [`PIXELS`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Digit> {
        bytes.try_into().ok().map(Digit)
    }
}

impl std::fmt::Debug for Digit {
    /// Prints the digit as 28 rows of two characters a pixel, darkest to lightest ` .:-=+*#%@`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHADES: &[u8; 10] = b" .:-=+*#%@";
        for row in self.0.chunks(crate::SIDE) {
            let line: String = row
                .iter()
                .flat_map(|&byte| [SHADES[usize::from(byte) * 10 / 256] as char; 2])
                .collect();
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `(byte / 255 - MEAN) / STD`: the only place where a pixel is scaled.
pub fn normalize(byte: u8) -> f32 {
    (f32::from(byte) / 255.0 - MEAN) / STD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_as_the_experiment_says() {
        assert_eq!(normalize(0), -0.1307 / 0.3081);
        assert!((normalize(255) - 2.821_486).abs() < 1e-5);
    }

    #[test]
    fn prints_ink_where_ink_is() {
        let mut digit = Digit([0; PIXELS]);
        digit.0[29] = 255;
        assert!(format!("{digit:?}").starts_with("\n  @@\n"));
    }

    #[test]
    fn refuses_other_lengths() {
        assert!(Digit::from_bytes(&[0; PIXELS - 1]).is_none());
        assert!(Digit::from_bytes(&[0; PIXELS]).is_some());
    }
}
