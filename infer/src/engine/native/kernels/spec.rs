//! Layers as ONNX has them, before a kernel packs them.

use models::network::Activation;

use super::map::{Border, Map};

/// A convolution, and what is done to its sums. `W` is `f32`, or `i8` where the input is bytes.
#[derive(Clone, Debug)]
pub struct ConvSpec<W = f32> {
    /// `[out, in, kernel height, kernel width]`
    pub weight: Vec<W>,
    /// `[out]`
    pub bias: Vec<f32>,
    /// Channels in.
    pub in_channels: usize,
    /// Channels out.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Step down and to the right.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: Border,
    /// What the sums go through at last.
    pub activation: Option<Activation>,
}

impl<W> ConvSpec<W> {
    /// Index in `weight`.
    pub fn index(&self, out: usize, channel: usize, ky: usize, kx: usize) -> usize {
        ((out * self.in_channels + channel) * self.kernel[0] + ky) * self.kernel[1] + kx
    }

    /// Where in `input` the window of each output pixel begins, row by row; the windows lie inside the map.
    pub fn windows(&self, input: &Map, output: &Map) -> Vec<usize> {
        let Border { top, left, .. } = self.padding;
        let [down, right] = self.stride;
        let at = |y: usize, x: usize| {
            let (y, x) = ((y * down) as isize - top as isize, (x * right) as isize - left as isize);
            input.at(y, x)
        };
        (0..output.height)
            .flat_map(|y| (0..output.width).map(move |x| (y, x)))
            .map(|(y, x)| at(y, x))
            .collect()
    }
}

/// A convolution of bytes: `activation(sum * scale + bias + residual)`, and bytes again where `quant` says so.
#[derive(Clone, Debug)]
pub struct ByteConvSpec {
    /// The sums. The bias is added after `scale`, and counts the input's zero point in.
    pub conv: ConvSpec<i8>,
    /// `[out]`
    pub scale: Vec<f32>,
    /// The byte in the padding, which stands for 0.
    pub zero: u8,
    /// How the result becomes bytes; floats where it is `None`.
    pub quant: Option<Quant>,
    /// What else is summed.
    pub shortcut: Option<Box<Shortcut>>,
}

/// Sums of other bytes, which are added to those of a convolution before its activation.
#[derive(Clone, Debug)]
pub struct Shortcut {
    /// The sums; bias and activation are the convolution's.
    pub conv: ConvSpec<i8>,
    /// `[out]`
    pub scale: Vec<f32>,
    /// The byte in the padding.
    pub zero: u8,
}

/// The float `(byte - zero) * scale` as a byte.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quant {
    /// Step between two bytes.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}

/// What is added to the sums of a convolution of bytes.
#[derive(Clone, Copy, Debug)]
pub enum Addend<'a> {
    /// Nothing.
    None,
    /// A map that lies as the output does.
    Floats(&'a [f32]),
    /// The input of its shortcut.
    Bytes(&'a [u8]),
}

/// Where a convolution of bytes writes.
#[derive(Debug)]
pub enum Output<'a> {
    /// To floats.
    Floats(&'a mut [f32]),
    /// To bytes.
    Bytes(&'a mut [u8]),
}

impl Output<'_> {
    /// The part from `start` on.
    pub fn from(&mut self, start: usize) -> Output<'_> {
        match self {
            Output::Floats(floats) => Output::Floats(&mut floats[start..]),
            Output::Bytes(bytes) => Output::Bytes(&mut bytes[start..]),
        }
    }
}

/// A fully connected layer over a whole feature map.
#[derive(Clone, Debug)]
pub struct LinearSpec {
    /// `[out, in channels * height * width]`, in this order.
    pub weight: Vec<f32>,
    /// `[out]`
    pub bias: Vec<f32>,
    /// What the sums go through at last.
    pub activation: Option<Activation>,
}

/// What is added to the sums of a convolution before its activation; it lies as the output does.
#[derive(Clone, Copy, Debug)]
pub enum Residual<'a> {
    /// Nothing.
    None,
    /// What the output holds already.
    Output,
    /// Another map.
    Map(&'a [f32]),
}

impl<'a> Residual<'a> {
    /// The part that belongs to the output from `start` on.
    pub fn from(self, start: usize) -> Residual<'a> {
        match self {
            Residual::Map(map) => Residual::Map(&map[start..]),
            other => other,
        }
    }

    /// Where to read, given where the output begins; null for nothing.
    pub fn pointer(&self, output: *const f32) -> *const f32 {
        match self {
            Residual::None => std::ptr::null(),
            Residual::Output => output,
            Residual::Map(map) => map.as_ptr(),
        }
    }

    /// # Panics
    /// When another map is shorter than `len`.
    pub fn check(&self, len: usize) {
        if let Residual::Map(map) = self {
            assert!(map.len() >= len, "the residual is as long as the output");
        }
    }
}
