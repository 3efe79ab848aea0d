//! Which way a convolution is computed: in bf16 by [`tiles`] where they fit; in f32 by [`winograd`] where it fits, else
//! [`direct`].

use std::cell::RefCell;

use models::network::Conv;
use pulp::Arch;

use super::lanes::{self, BLOCK};
use super::number::Number;
use super::tape::{Memory, Numbers, Size};
use super::{CHUNK, direct, tiles, winograd};
use crate::precision::Precision;

/// Rows that the matrices of a group of digits have at least.
const ROWS: usize = 32;

/// How a convolution is computed.
#[derive(Clone, Copy, Debug)]
pub enum Method {
    /// By products of transformed tiles; maps of f32 only, which need no room to be widened.
    Winograd(winograd::Sizes),
    /// By sums over the kernel.
    Direct(direct::Sizes),
    /// By sums over the kernel in bf16, with hardware for it.
    Tiles(direct::Sizes),
}

/// Maps of a convolution on the way back.
pub struct Back<'a, N> {
    /// The maps that were convolved.
    pub input: &'a [N],
    /// Gradient of the output.
    pub output: &'a [f32],
    /// The kernel for the way back.
    pub kernel: &'a [f32],
    /// Gradient of the input; the picture needs none.
    pub to_input: Option<&'a mut [f32]>,
    /// Whether it is added to what stands there.
    pub adds: bool,
    /// Gradient of the kernel as [`Method::unpack`] takes it, added to.
    pub to_kernel: &'a mut [f32],
}

impl Method {
    /// For maps of `side` x `side`. What convolves the picture is f32 in any precision: it is little, and has no blocks of channels.
    ///
    /// # Panics
    /// When there are more than one and yet no whole blocks of channels.
    pub fn new(conv: &Conv, side: usize, precision: Precision) -> Method {
        let &Conv {
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            ..
        } = conv;
        assert!(in_channels == 1 || in_channels.is_multiple_of(BLOCK));
        assert!(out_channels.is_multiple_of(BLOCK));
        let in_f32 = precision == Precision::F32;
        if (kernel_size, stride, padding) == (3, 1, 1) && in_channels > 1 && in_f32 {
            return Method::Winograd(winograd::Sizes {
                side,
                in_channels,
                out_channels,
            });
        }
        let out_side = (side + 2 * padding - kernel_size) / stride + 1;
        let sizes = direct::Sizes {
            side,
            in_channels,
            out_side,
            out_channels,
            kernel_size,
            stride,
            padding,
        };
        if in_channels == 1 || in_f32 {
            Method::Direct(sizes)
        } else {
            Method::Tiles(sizes)
        }
    }

    /// Height and width of the output.
    pub fn out_side(self) -> usize {
        match self {
            Method::Winograd(sizes) => sizes.side,
            Method::Direct(sizes) | Method::Tiles(sizes) => sizes.out_side,
        }
    }

    /// Digits that are computed together: enough rows for the matrices, few enough for the cache.
    pub fn group(self) -> usize {
        let (rows, enough) = match self {
            Method::Winograd(sizes) => (sizes.tiles(), ROWS),
            Method::Direct(sizes) => (sizes.out_side.pow(2), ROWS),
            Method::Tiles(sizes) => (sizes.out_side.pow(2), tiles::PIXELS),
        };
        enough.div_ceil(rows).min(CHUNK)
    }

    /// Numbers of scratch for so many digits.
    pub fn scratch(self, digits: usize) -> usize {
        match self {
            Method::Winograd(sizes) => sizes.scratch(digits * sizes.tiles()),
            Method::Direct(sizes) => sizes.scratch(digits),
            Method::Tiles(sizes) => tiles::scratch(sizes, digits),
        }
    }

    /// The last layer: every output sees the whole map.
    pub fn whole(map: Size, out_channels: usize) -> Method {
        Method::Direct(direct::Sizes {
            side: map.side,
            in_channels: map.channels,
            out_side: 1,
            out_channels,
            kernel_size: map.side,
            stride: 1,
            padding: 0,
        })
    }

    /// Numbers of a kernel `[out, height, width, in]`.
    fn kernel(self) -> usize {
        match self {
            Method::Winograd(sizes) => 9 * sizes.in_channels * sizes.out_channels,
            Method::Direct(sizes) | Method::Tiles(sizes) => sizes.window() * sizes.out_channels,
        }
    }

    /// Numbers of the packed kernels, forward and backward.
    fn packed(self) -> [usize; 2] {
        match self {
            Method::Winograd(sizes) => [sizes.points(); 2],
            Method::Direct(_) => [self.kernel(); 2],
            Method::Tiles(sizes) => tiles::packed(sizes),
        }
    }

    /// Numbers of a kernel's gradient as [`Method::unpack`] takes it.
    pub fn gradient(self) -> usize {
        match self {
            Method::Winograd(sizes) => sizes.points(),
            Method::Direct(_) | Method::Tiles(_) => self.kernel(),
        }
    }

    /// A kernel `[out, height, width, in]`, packed for the way forward and for the way back.
    pub fn pack(self, arch: Arch, kernel: &[f32], memory: &mut Memory<f32>) -> [Numbers<f32>; 2] {
        let [mut forward, mut backward] = self.packed().map(|len| memory.take(len));
        match self {
            Method::Winograd(sizes) => lanes::run(
                arch,
                winograd::Pack {
                    sizes,
                    kernel,
                    forward: &mut forward,
                    backward: &mut backward,
                },
            ),
            Method::Direct(sizes) => direct::pack(sizes, kernel, &mut forward, &mut backward),
            Method::Tiles(sizes) => lanes::run(
                arch,
                tiles::Pack {
                    sizes,
                    kernel,
                    forward: &mut forward,
                    backward: &mut backward,
                },
            ),
        }
        [forward, backward]
    }

    /// The gradient of a kernel `[out, height, width, in]` from that of the packed one.
    pub fn unpack(self, arch: Arch, gradient: &[f32]) -> Vec<f32> {
        let mut kernel = vec![0.0; self.kernel()];
        match self {
            Method::Winograd(sizes) => lanes::run(
                arch,
                winograd::Unpack {
                    sizes,
                    points: gradient,
                    kernel: &mut kernel,
                },
            ),
            Method::Direct(sizes) => direct::unpack(sizes, gradient, &mut kernel),
            Method::Tiles(_) => kernel.copy_from_slice(gradient),
        }
        kernel
    }

    /// Convolves maps.
    pub fn forward<N: Number>(self, arch: Arch, input: &[N], kernel: &[f32], output: &mut [f32], scratch: &mut [f32]) {
        match self {
            Method::Winograd(sizes) => lanes::run(
                arch,
                winograd::Forward {
                    sizes,
                    input: N::widen(input, &mut []),
                    kernel,
                    output,
                    scratch,
                },
            ),
            Method::Direct(sizes) => lanes::run(
                arch,
                direct::Forward {
                    sizes,
                    input,
                    kernel,
                    output,
                    scratch,
                },
            ),
            Method::Tiles(sizes) => lanes::run(
                arch,
                tiles::Forward {
                    sizes,
                    input,
                    kernel,
                    output,
                    scratch,
                },
            ),
        }
    }

    /// Adds the gradients.
    pub fn backward<N: Number>(self, arch: Arch, back: Back<N>, scratch: &mut [f32]) {
        match self {
            Method::Winograd(sizes) => {
                let back = Back {
                    input: N::widen(back.input, &mut []),
                    output: back.output,
                    kernel: back.kernel,
                    to_input: back.to_input,
                    adds: back.adds,
                    to_kernel: back.to_kernel,
                };
                lanes::run(arch, winograd::Backward { sizes, back, scratch });
            }
            Method::Direct(sizes) => lanes::run(arch, direct::Backward { sizes, back, scratch }),
            Method::Tiles(sizes) => lanes::run(arch, tiles::Backward { sizes, back, scratch }),
        }
    }
}

/// Lends a thread's own memory, of any value.
pub fn with_scratch(len: usize, work: impl FnOnce(&mut [f32])) {
    thread_local! {
        static SCRATCH: RefCell<Numbers<f32>> = RefCell::new(Numbers::new(0));
    }
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < len {
            scratch.resize(len, 0.0);
        }
        work(&mut scratch[..len]);
    });
}
