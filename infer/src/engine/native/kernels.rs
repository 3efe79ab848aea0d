//! The kernels as a ladder: [`plain`] first, then the same algorithms over vectors of rising width. [`Kernels::select`]
//! chooses the step at run time. All `unsafe` of the native engine is in this folder.
//!
//! An algorithm is written once over the trait [`Simd`](simd::Simd) ([`direct`], [`winograd`], [`linear`] for floats, [`bytes`]
//! and [`quantize`] for int8; [`windows`] says where the direct ones read); a macro below compiles it for each instruction set.
#![allow(unsafe_code)] // Loads, stores and instruction sets; each block says why it is sound.
#![allow(clippy::needless_range_loop)] // Indices are those of the formulas.

mod activation;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bytes;
mod direct;
mod linear;
mod map;
#[cfg(target_arch = "aarch64")]
mod neon;
mod peak;
mod plain;
mod portable;
mod quantize;
mod simd;
mod spec;
#[cfg(test)]
mod tests;
mod windows;
mod winograd;

pub use map::{BLOCK, Border, Map};
pub use peak::Numbers;
pub use plain::activate;
pub use spec::{Addend, ByteConvSpec, ConvSpec, LinearSpec, Output, Quant, Residual, Shortcut};

use bytes::ByteConv;
use direct::Direct;
use linear::Linear;
use windows::Tile;
use winograd::Winograd;

#[cfg(target_arch = "aarch64")]
use std::arch::is_aarch64_feature_detected;

/// Steps of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[non_exhaustive]
pub enum KernelKind {
    /// Scalar code as the definitions read.
    Plain,
    /// Vectors that the compiler makes for any CPU of the target.
    Portable,
    /// 256 bits: x86-64 with AVX2 and FMA.
    Avx2,
    /// 256 bits, and bytes by AVX-VNNI.
    AvxVnni,
    /// 512 bits: x86-64 with AVX-512F and BW.
    Avx512,
    /// 512 bits, and bytes by AVX-512-VNNI.
    Avx512Vnni,
    /// 128 bits: AArch64.
    Neon,
    /// 128 bits, and bytes by the dot product of ARMv8.2.
    NeonDotprod,
    /// 128 bits, and bytes by the dot product of mixed signs of ARMv8.6.
    NeonI8mm,
}

impl KernelKind {
    /// From the plainest to the fastest of each architecture.
    const ALL: [KernelKind; 9] = [
        KernelKind::Plain,
        KernelKind::Portable,
        KernelKind::Avx2,
        KernelKind::AvxVnni,
        KernelKind::Avx512,
        KernelKind::Avx512Vnni,
        KernelKind::Neon,
        KernelKind::NeonDotprod,
        KernelKind::NeonI8mm,
    ];

    /// The steps of the architecture that this program is compiled for, from the plainest to the fastest.
    pub fn ladder() -> impl DoubleEndedIterator<Item = KernelKind> {
        KernelKind::ALL.into_iter().filter(|kind| {
            kind.architecture()
                .is_none_or(|needed| needed == std::env::consts::ARCH)
        })
    }

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            KernelKind::Plain => "plain",
            KernelKind::Portable => "portable",
            KernelKind::Avx2 => "avx2",
            KernelKind::AvxVnni => "avx-vnni",
            KernelKind::Avx512 => "avx512",
            KernelKind::Avx512Vnni => "avx512-vnni",
            KernelKind::Neon => "neon",
            KernelKind::NeonDotprod => "neon-dotprod",
            KernelKind::NeonI8mm => "neon-i8mm",
        }
    }

    /// What this CPU lacks for it; `None` where it can run.
    pub fn missing(self) -> Option<&'static str> {
        match self {
            KernelKind::Plain | KernelKind::Portable => None,
            #[cfg(target_arch = "x86_64")]
            KernelKind::Avx2 => {
                (!(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))).then_some("avx2 and fma")
            }
            #[cfg(target_arch = "x86_64")]
            KernelKind::AvxVnni => match KernelKind::Avx2.missing() {
                None => (!is_x86_feature_detected!("avxvnni")).then_some("avxvnni"),
                missing => missing,
            },
            #[cfg(target_arch = "x86_64")]
            KernelKind::Avx512 => {
                let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
                (!has).then_some("avx512f and avx512bw")
            }
            #[cfg(target_arch = "x86_64")]
            KernelKind::Avx512Vnni => match KernelKind::Avx512.missing() {
                None => (!is_x86_feature_detected!("avx512vnni")).then_some("avx512vnni"),
                missing => missing,
            },
            #[cfg(target_arch = "aarch64")]
            KernelKind::Neon => (!is_aarch64_feature_detected!("neon")).then_some("neon"),
            #[cfg(target_arch = "aarch64")]
            KernelKind::NeonDotprod => (!is_aarch64_feature_detected!("dotprod")).then_some("dotprod"),
            #[cfg(target_arch = "aarch64")]
            KernelKind::NeonI8mm => (!is_aarch64_feature_detected!("i8mm")).then_some("i8mm"),
            _ => self.architecture(),
        }
    }

    /// The architecture whose instructions it needs; `None` if any will do.
    fn architecture(self) -> Option<&'static str> {
        match self {
            KernelKind::Plain | KernelKind::Portable => None,
            KernelKind::Avx2 | KernelKind::AvxVnni | KernelKind::Avx512 | KernelKind::Avx512Vnni => Some("x86_64"),
            KernelKind::Neon | KernelKind::NeonDotprod | KernelKind::NeonI8mm => Some("aarch64"),
        }
    }
}

/// A step of the ladder that this CPU can run: only [`Kernels::select`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels(KernelKind);

/// This CPU cannot run the kernels that were asked for.
#[derive(Debug, thiserror::Error)]
#[error("this CPU has no {missing}, which the {} kernels need", kind.name())]
pub struct KernelsError {
    kind: KernelKind,
    missing: &'static str,
}

impl Kernels {
    /// The fastest kernels that this CPU can run, or those that are `forced`.
    ///
    /// # Errors
    /// When this CPU cannot run the forced ones.
    pub fn select(forced: Option<KernelKind>) -> Result<Kernels, KernelsError> {
        let fastest = || KernelKind::ladder().rfind(|kind| kind.missing().is_none());
        let kind = forced.or_else(fastest).expect("plain kernels run anywhere");
        match kind.missing() {
            None => Ok(Kernels(kind)),
            Some(missing) => Err(KernelsError { kind, missing }),
        }
    }

    /// The step.
    pub fn kind(self) -> KernelKind {
        self.0
    }

    /// Border that a convolution needs around its input of `height` and `width`.
    pub fn border(self, spec: &ConvSpec, height: usize, width: usize) -> Border {
        if self.uses_winograd(spec) {
            Winograd::border(spec, height, width)
        } else {
            spec.padding
        }
    }

    /// Packs a convolution for maps that lie so.
    pub fn pack(self, spec: &ConvSpec, input: &Map, output: &Map) -> Conv {
        if self.0 == KernelKind::Plain {
            Conv::Plain(spec.clone(), input.clone(), output.clone())
        } else if self.uses_winograd(spec) {
            Conv::Winograd(Winograd::new(spec, input, output, self.tiles()))
        } else {
            Conv::Direct(Direct::new(spec, input, output, self.tile(output)))
        }
    }

    /// Packs a convolution of bytes for maps that lie so: its input, that of its shortcut if it has one, its output.
    pub fn pack_bytes(self, spec: &ByteConvSpec, maps: [&Map; 3]) -> Bytes {
        if self.0 == KernelKind::Plain {
            Bytes::Plain(spec.clone(), maps.map(Map::clone))
        } else {
            Bytes::Direct(ByteConv::new(spec, maps, self.tile(maps[2])))
        }
    }

    /// Convolves `digits` maps of bytes; `input` must be `SLACK` longer than its maps.
    ///
    /// # Panics
    /// When a slice is shorter than its maps.
    pub fn conv_bytes(self, layer: &Bytes, digits: usize, input: &[u8], addend: Addend, mut output: Output) {
        match layer {
            Bytes::Plain(spec, maps) => {
                let [from, short, to] = maps.each_ref();
                for digit in 0..digits {
                    let addend = match addend {
                        Addend::None => Addend::None,
                        Addend::Floats(floats) => Addend::Floats(&floats[digit * to.len()..]),
                        Addend::Bytes(bytes) => Addend::Bytes(&bytes[digit * short.len()..]),
                    };
                    let input = &input[digit * from.len()..];
                    plain::byte_conv(
                        spec,
                        [from, short, to],
                        input,
                        addend,
                        &mut output.from(digit * to.len()),
                    );
                }
            }
            Bytes::Direct(layer) => self.direct_bytes(layer, digits, input, addend, output),
        }
    }

    /// Packs a fully connected layer for maps that lie so; the output has one pixel.
    pub fn pack_linear(self, spec: &LinearSpec, input: &Map, output: &Map) -> FullyConnected {
        if self.0 == KernelKind::Plain {
            FullyConnected::Plain(spec.clone(), input.clone(), output.clone())
        } else {
            FullyConnected::Vectors(Linear::new(spec, input, output))
        }
    }

    /// Computes a fully connected layer of `digits` maps; `input` must be `SLACK` longer than its maps.
    ///
    /// # Panics
    /// When a slice is shorter than its maps.
    pub fn linear(self, layer: &FullyConnected, digits: usize, input: &[f32], output: &mut [f32]) {
        match layer {
            FullyConnected::Plain(spec, from, to) => {
                let maps = input.chunks(from.len()).zip(output.chunks_mut(to.len())).take(digits);
                maps.for_each(|(input, output)| plain::linear(spec, from, input, &mut output[to.at(0, 0)..]));
            }
            FullyConnected::Vectors(layer) => self.vector_linear(layer, digits, input, output),
        }
    }

    /// Tiles that go through the stages of Winograd's convolution together.
    fn tiles(self) -> usize {
        if matches!(self.0, KernelKind::Avx512 | KernelKind::Avx512Vnni) {
            16
        } else {
            10
        }
    }

    fn uses_winograd(self, spec: &ConvSpec) -> bool {
        self.0 != KernelKind::Plain && Winograd::fits(spec)
    }

    /// Convolves `digits` maps.
    ///
    /// # Panics
    /// When a slice is shorter than its maps.
    pub fn conv(
        self,
        layer: &Conv,
        digits: usize,
        input: &[f32],
        add: Residual,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        match layer {
            Conv::Plain(spec, from, to) => {
                let maps = input.chunks(from.len()).zip(output.chunks_mut(to.len())).take(digits);
                for (digit, (input, output)) in maps.enumerate() {
                    plain::conv(spec, from, to, input, add.from(digit * to.len()), output);
                }
            }
            Conv::Direct(layer) => self.direct(layer, digits, input, add, output),
            Conv::Winograd(layer) => self.winograd(layer, digits, input, add, output, scratch),
        }
    }
}

/// A convolution, packed for the algorithm that suits it.
#[derive(Clone, Debug)]
pub enum Conv {
    /// Scalar code.
    Plain(ConvSpec, Map, Map),
    /// Sums over the kernel.
    Direct(Direct),
    /// Sums over transformed tiles.
    Winograd(Winograd),
}

/// A convolution of bytes, packed for the algorithm that suits it.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// Scalar code.
    Plain(ByteConvSpec, [Map; 3]),
    /// Sums over the kernel.
    Direct(ByteConv),
}

/// A fully connected layer.
#[derive(Clone, Debug)]
pub enum FullyConnected {
    /// Scalar code.
    Plain(LinearSpec, Map, Map),
    /// Packed for vectors.
    Vectors(Linear),
}

/// Numbers that a kernel may read past the last map.
pub const SLACK: usize = BLOCK;

impl Conv {
    /// Numbers that it needs beside its maps.
    pub fn scratch(&self) -> usize {
        match self {
            Conv::Winograd(layer) => layer.scratch(),
            Conv::Plain(..) | Conv::Direct(_) => 0,
        }
    }

    /// Name of the algorithm.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Conv::Plain(..) => "plain",
            Conv::Direct(_) => "direct",
            Conv::Winograd(_) => "winograd",
        }
    }
}

/// Compiles every algorithm for every instruction set, and calls the one that `Kernels` stands for.
///
/// `instruction set => (its features), its vectors, lanes, pixels and vectors of each tile of direct convolution,
/// tiles that Winograd's multiplies at once`
macro_rules! dispatch {
    ($($(#[$when:meta])* $kind:ident => ($($feature:literal)?), $simd:expr, $lanes:literal,
        [$pixels:literal x $vectors:literal $(, $more_pixels:literal x $more_vectors:literal)*], $tiles:literal;)*) => {
        impl Kernels {
            fn direct(self, layer: &Direct, digits: usize, input: &[f32], add: Residual, output: &mut [f32]) {
                match self.0 {
                    $($(#[$when])* KernelKind::$kind => {
                        $(#[target_feature(enable = $feature)])?
                        fn entry(layer: &Direct, digits: usize, input: &[f32], add: Residual, output: &mut [f32]) {
                            let tile = layer.tile();
                            match (tile.pixels, tile.channels / $lanes) {
                                (1, $vectors) => direct::run::<_, 1, $vectors>($simd, layer, digits, input, add, output),
                                ($pixels, $vectors) => direct::run::<_, $pixels, $vectors>($simd, layer, digits, input, add, output),
                                $(($more_pixels, $more_vectors) => {
                                    direct::run::<_, $more_pixels, $more_vectors>($simd, layer, digits, input, add, output)
                                })*
                                _ => unreachable!("no layer is packed for {tile:?}"),
                            }
                        }
                        // SAFETY: `select` hands out only what this CPU can run.
                        #[allow(unused_unsafe)]
                        unsafe { entry(layer, digits, input, add, output) }
                    })*
                    _ => unreachable!("plain kernels pack no layer"),
                }
            }

            fn winograd(
                self,
                layer: &Winograd,
                digits: usize,
                input: &[f32],
                add: Residual,
                output: &mut [f32],
                scratch: &mut [f32],
            ) {
                match self.0 {
                    $($(#[$when])* KernelKind::$kind => {
                        $(#[target_feature(enable = $feature)])?
                        fn entry(
                            layer: &Winograd,
                            digits: usize,
                            input: &[f32],
                            add: Residual,
                            output: &mut [f32],
                            scratch: &mut [f32],
                        ) {
                            winograd::run::<_, $tiles, $vectors>($simd, layer, digits, input, add, output, scratch);
                        }
                        // SAFETY: `select` hands out only what this CPU can run.
                        #[allow(unused_unsafe)]
                        unsafe { entry(layer, digits, input, add, output, scratch) }
                    })*
                    _ => unreachable!("plain kernels pack no layer"),
                }
            }

            fn direct_bytes(self, layer: &ByteConv, digits: usize, input: &[u8], addend: Addend, output: Output) {
                match self.0 {
                    $($(#[$when])* KernelKind::$kind => {
                        $(#[target_feature(enable = $feature)])?
                        fn entry(layer: &ByteConv, digits: usize, input: &[u8], addend: Addend, output: Output) {
                            let tile = layer.tile();
                            match (tile.pixels, tile.channels / $lanes) {
                                (1, $vectors) => bytes::run::<_, 1, $vectors>($simd, layer, digits, input, addend, output),
                                ($pixels, $vectors) => bytes::run::<_, $pixels, $vectors>($simd, layer, digits, input, addend, output),
                                $(($more_pixels, $more_vectors) => {
                                    bytes::run::<_, $more_pixels, $more_vectors>($simd, layer, digits, input, addend, output)
                                })*
                                _ => unreachable!("no layer is packed for {tile:?}"),
                            }
                        }
                        // SAFETY: `select` hands out only what this CPU can run.
                        #[allow(unused_unsafe)]
                        unsafe { entry(layer, digits, input, addend, output) }
                    })*
                    _ => unreachable!("plain kernels pack no layer"),
                }
            }

            /// Makes bytes of the floats of `digits` maps.
            ///
            /// # Panics
            /// When a slice is shorter than its maps.
            pub fn quantize(self, quant: Quant, maps: [&Map; 2], digits: usize, input: &[f32], output: &mut [u8]) {
                match self.0 {
                    $($(#[$when])* KernelKind::$kind => {
                        $(#[target_feature(enable = $feature)])?
                        fn entry(quant: Quant, maps: [&Map; 2], digits: usize, input: &[f32], output: &mut [u8]) {
                            quantize::run($simd, quant, maps, digits, input, output);
                        }
                        // SAFETY: `select` hands out only what this CPU can run.
                        #[allow(unused_unsafe)]
                        unsafe { entry(quant, maps, digits, input, output) }
                    })*
                    _ => plain::quantize_maps(quant, maps, digits, input, output),
                }
            }

            /// What is computed at once of a map: the tile of most channels that fill it.
            fn tile(self, output: &Map) -> Tile {
                let tiles: &[Tile] = match self.0 {
                    $($(#[$when])* KernelKind::$kind => const { &[
                        Tile { pixels: $pixels, channels: $vectors * $lanes },
                        $(Tile { pixels: $more_pixels, channels: $more_vectors * $lanes },)*
                    ] },)*
                    _ => &[],
                };
                if output.height * output.width == 1 {
                    return Tile { pixels: 1, ..tiles[0] };
                }
                let fits = tiles.iter().rev().find(|tile| output.depth.is_multiple_of(tile.channels));
                *fits.expect("the first tile has a block of channels")
            }

            /// Multiply-adds that this CPU does with these vectors in `rounds` rounds, done before it returns.
            pub fn saturate(self, numbers: Numbers, rounds: usize) -> usize {
                match self.0 {
                    $($(#[$when])* KernelKind::$kind => {
                        $(#[target_feature(enable = $feature)])?
                        fn entry(numbers: Numbers, rounds: usize) -> f32 {
                            peak::run($simd, numbers, std::hint::black_box(rounds))
                        }
                        // SAFETY: `select` hands out only what this CPU can run.
                        #[allow(unused_unsafe)]
                        std::hint::black_box(unsafe { entry(numbers, rounds) });
                        peak::products(numbers, $lanes, rounds)
                    })*
                    _ => 0,
                }
            }

            fn vector_linear(self, layer: &Linear, digits: usize, input: &[f32], output: &mut [f32]) {
                match self.0 {
                    $($(#[$when])* KernelKind::$kind => {
                        $(#[target_feature(enable = $feature)])?
                        fn entry(layer: &Linear, digits: usize, input: &[f32], output: &mut [f32]) {
                            linear::run::<_, $vectors>($simd, layer, digits, input, output);
                        }
                        // SAFETY: `select` hands out only what this CPU can run.
                        #[allow(unused_unsafe)]
                        unsafe { entry(layer, digits, input, output) }
                    })*
                    _ => unreachable!("plain kernels pack no layer"),
                }
            }
        }
    };
}

dispatch! {
    Portable => (), portable::Portable, 8, [2 x 2], 2;
    #[cfg(target_arch = "x86_64")]
    Avx2 => ("avx2,fma"), avx2::Avx2::new(), 8, [6 x 2], 6;
    #[cfg(target_arch = "x86_64")]
    AvxVnni => ("avx2,fma,avxvnni"), avx2::Avx2::with_vnni(), 8, [6 x 2], 6;
    #[cfg(target_arch = "x86_64")]
    Avx512 => ("avx512f,avx512bw"), avx512::Avx512::new(), 16, [14 x 1, 14 x 2, 7 x 4], 16;
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni => ("avx512f,avx512bw,avx512vnni"), avx512::Avx512::with_vnni(), 16, [28 x 1, 14 x 2, 7 x 4], 16;
    #[cfg(target_arch = "aarch64")]
    Neon => ("neon"), neon::Neon::new(), 4, [6 x 4], 6;
    #[cfg(target_arch = "aarch64")]
    NeonDotprod => ("neon,dotprod"), neon::Neon::with_dotprod(), 4, [6 x 4], 6;
    #[cfg(target_arch = "aarch64")]
    NeonI8mm => ("neon,i8mm"), neon::Neon::with_i8mm(), 4, [6 x 4], 6;
}
