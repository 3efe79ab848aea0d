//! What a forward pass leaves for the gradients.

use std::collections::HashMap;

use aligned_vec::{AVec, avec};
use models::network::Activation;
use pulp::Arch;

use super::lanes;
use super::method::Method;
use super::norm::{Activate, Term};
use super::number::Number;

/// The maps and convolutions of a pass, in the order in which they were computed.
#[derive(Default)]
pub struct Tape<N> {
    /// Digits of the batch.
    pub digits: usize,
    /// The picture, and every activation's output.
    pub maps: Vec<Map<N>>,
    /// The convolutions.
    pub convs: Vec<ConvRecord<N>>,
    /// The last layer, of the last map.
    pub last: Option<Last>,
}

/// The picture, or an activation's output.
pub struct Map<N> {
    /// `[digits, side, side, channels]`
    pub values: Numbers<N>,
    /// Of one digit.
    pub size: Size,
    /// The activation, and of the sum of what; the picture has none.
    pub origin: Option<(Activation, Vec<Added>)>,
    /// Whether the values are computed, which they are when they are used for the first time, while they are in the cache.
    pub is_known: bool,
}

/// Of the map of one digit.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Height and width.
    pub side: usize,
    /// Channels.
    pub channels: usize,
}

/// A map that is not computed yet.
pub struct Unknown<'a, N> {
    activation: Activation,
    terms: [Option<Term<'a, N>>; 2],
}

impl<N: Number> Unknown<'_, N> {
    /// Computes the numbers of the map from `first` on.
    pub fn compute(&self, arch: Arch, first: usize, output: &mut [N]) {
        let terms = self.terms.map(|term| {
            term.map(|term| Term {
                values: &term.values[first..][..output.len()],
                ..term
            })
        });
        let activation = self.activation;
        lanes::run(
            arch,
            Activate {
                terms,
                activation,
                output,
            },
        );
    }
}

/// A convolution and its batch norm.
pub struct ConvRecord<N> {
    /// How it was computed.
    pub method: Method,
    /// The map that was convolved.
    pub input: usize,
    /// Of one digit of the output.
    pub size: Size,
    /// The output before the batch norm.
    pub values: Numbers<N>,
    /// The kernel for the way back.
    pub kernel: Numbers<f32>,
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Inverse standard deviation of each channel.
    pub inverse_deviation: Vec<f32>,
    /// By which the batch norm multiplies each channel.
    pub scale: Vec<f32>,
    /// What it adds then.
    pub shift: Vec<f32>,
}

/// The last layer: a convolution by kernels of the map's size, of as many channels as a block has.
pub struct Last {
    /// How it was computed.
    pub method: Method,
    /// The kernel for the way back.
    pub kernel: Numbers<f32>,
}

/// What is added up before an activation, by its number on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// A convolution after its batch norm.
    Conv(usize),
    /// A map.
    Map(usize),
}

impl<N: Number> Tape<N> {
    /// Keeps the memory for the next pass.
    pub fn give_back(self, maps: &mut Memory<N>, kernels: &mut Memory<f32>) {
        self.maps.into_iter().for_each(|map| maps.give(map.values));
        for conv in self.convs {
            maps.give(conv.values);
            kernels.give(conv.kernel);
        }
        self.last.into_iter().for_each(|last| kernels.give(last.kernel));
    }

    /// How a map is computed that is not known yet.
    pub fn unknown(&self, index: usize) -> Option<Unknown<'_, N>> {
        let map = &self.maps[index];
        let (activation, terms) = map.origin.as_ref().filter(|_| !map.is_known)?;
        let term = |term: &Added| match *term {
            Added::Conv(conv) => self.convs[conv].term(),
            Added::Map(map) => Term {
                values: &self.maps[map].values,
                scale: None,
            },
        };
        let mut terms = terms.iter().map(term);
        Some(Unknown {
            activation: *activation,
            terms: [terms.next(), terms.next()],
        })
    }

    /// The convolutions of a map.
    pub fn uses(&self, index: usize) -> impl Iterator<Item = usize> {
        (0..self.convs.len()).filter(move |&conv| self.convs[conv].input == index)
    }

    /// The maps to whose sums a map is added.
    pub fn added_to(&self, index: usize) -> impl Iterator<Item = usize> {
        let adds = move |map: &usize| {
            let origin = self.maps[*map].origin.as_ref();
            origin.is_some_and(|(_, terms)| terms.contains(&Added::Map(index)))
        };
        (0..self.maps.len()).filter(adds)
    }

    /// The convolutions whose batch norms are added up before a map's activation.
    pub fn normed(&self, index: usize) -> impl Iterator<Item = usize> {
        let terms = self.maps[index].origin.iter().flat_map(|(_, terms)| terms);
        terms.filter_map(|term| match term {
            Added::Conv(conv) => Some(*conv),
            Added::Map(_) => None,
        })
    }

    /// The map to whose sum a convolution is added.
    pub fn owner(&self, conv: usize) -> usize {
        let owns = |map: &usize| self.normed(*map).any(|other| other == conv);
        (0..self.maps.len())
            .find(owns)
            .expect("every convolution is added to a sum")
    }
}

impl<N> Map<N> {
    /// The digits themselves.
    pub fn picture(values: Numbers<N>, size: Size) -> Map<N> {
        Map {
            values,
            size,
            origin: None,
            is_known: true,
        }
    }
}

impl Size {
    /// A square map.
    pub fn new(side: usize, channels: usize) -> Size {
        Size { side, channels }
    }

    /// Numbers of one digit.
    pub fn len(self) -> usize {
        self.side * self.side * self.channels
    }
}

impl<N> ConvRecord<N> {
    /// The output after the batch norm.
    pub fn term(&self) -> Term<'_, N> {
        Term {
            values: &self.values,
            scale: Some([&self.scale, &self.shift]),
        }
    }
}

/// Numbers from where a line of the cache begins: a vector across two lines costs as much as two, and a tile's rows more.
pub type Numbers<N> = AVec<N>;

/// Maps of passes behind, for those to come: fresh memory would cost a page fault every few kilobytes.
#[derive(Default)]
pub struct Memory<N>(HashMap<usize, Vec<Numbers<N>>>);

impl<N: Number> Memory<N> {
    /// So many numbers, of any value.
    pub fn take(&mut self, len: usize) -> Numbers<N> {
        let free = self.0.get_mut(&len).and_then(Vec::pop);
        free.unwrap_or_else(|| avec![N::default(); len])
    }

    /// Keeps numbers for the next who takes as many.
    pub fn give(&mut self, numbers: Numbers<N>) {
        if !numbers.is_empty() {
            self.0.entry(numbers.len()).or_default().push(numbers);
        }
    }

    /// How many it keeps.
    #[cfg(test)]
    pub fn kept(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}
