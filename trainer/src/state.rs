//! Where a training stands between two epochs, and its file `checkpoint.safetensors`, from which it goes on to the very
//! bytes that it would have come to without the interruption.
//!
//! Chance needs no state: each epoch draws from ChaCha streams of the seed and its own number.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use models::weights::{floats, le_bytes};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::average::Average;
use crate::net::{self, Net};
use crate::optim::Optimizer;
use crate::settings::Settings;

/// The one key in the file's `__metadata__`.
const HEADER_KEY: &str = "threeblock-checkpoint";

/// Everything that the next epoch begins with.
pub struct State {
    /// The network.
    pub net: Net,
    /// The optimizer of its tensors.
    pub optimizer: Optimizer,
    /// The averaged network, where the settings ask for one.
    pub average: Option<Average>,
    /// Epochs behind.
    pub epoch: u32,
}

/// The numbers of the file that are no tensors.
#[derive(Serialize, Deserialize)]
struct Header {
    epoch: u32,
    optimizer_steps: i32,
    average_steps: Option<u32>,
}

impl State {
    /// The state before the first epoch.
    pub fn new(settings: &Settings, device: Device) -> State {
        let net = Net::new(settings.network(), settings.seed, device);
        let decays = (settings.weight_decay > 0.0).then(|| net.weight_decays(settings.weight_decay));
        State {
            optimizer: Optimizer::new(settings.optimizer, net.trained_numbers(), decays),
            average: (settings.average > 0.0).then(|| Average::new(&net, settings.average)),
            net,
            epoch: 0,
        }
    }

    /// The state that [`State::to_bytes`] wrote, of a training with the same settings.
    ///
    /// # Errors
    /// When the bytes are no checkpoint, or one of other settings.
    pub fn from_bytes(bytes: &[u8], settings: &Settings, device: Device) -> anyhow::Result<State> {
        let header = header(bytes)?;
        let file = SafeTensors::deserialize(bytes)?;
        let mut state = State::new(settings, device);
        let _no_grad = tch::no_grad_guard();
        for (name, mut tensor) in state.tensors() {
            let view = file.tensor(&name)?;
            let shape: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
            ensure!(
                view.dtype() == Dtype::F32 && shape == tensor.size(),
                "tensor {name} is {:?} {shape:?}, expected F32 {:?}",
                view.dtype(),
                tensor.size()
            );
            let values = Tensor::from_slice(&floats(view.data())).view(&shape[..]);
            tensor.copy_(&values);
        }
        state.epoch = header.epoch;
        state.optimizer.resume(header.optimizer_steps);
        if let (Some(average), Some(steps)) = (&mut state.average, header.average_steps) {
            average.resume(steps);
        }
        Ok(state)
    }

    /// The file; equal states give equal bytes. Numbers of a diverged training are kept as they are.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = Header {
            epoch: self.epoch,
            optimizer_steps: self.optimizer.steps(),
            average_steps: self.average.as_ref().map(Average::steps),
        };
        let header = serde_json::to_string(&header).expect("plain fields always serialise");
        let tensors: Vec<_> = self.tensors();
        let bytes: Vec<_> = tensors.iter().map(|(_, t)| le_bytes(&net::values(t))).collect();
        let views = tensors.into_iter().zip(&bytes).map(|((name, tensor), bytes)| {
            let shape = tensor.size().iter().map(|&side| side as usize).collect();
            let view = TensorView::new(Dtype::F32, shape, bytes).expect("as many bytes as the shape says");
            (name, view)
        });
        safetensors::serialize(views, Some(HashMap::from([(HEADER_KEY.to_owned(), header)])))
            .expect("the views are consistent")
    }

    /// The network that the training has come to: the averaged one where there is one.
    pub fn reached(&self) -> &Net {
        self.average.as_ref().map_or(&self.net, Average::net)
    }

    /// Every tensor under a name of its own; the memory is shared.
    fn tensors(&self) -> Vec<(String, Tensor)> {
        let of = |part: &'static str, net: &Net| {
            let tensors = net.tensors().iter();
            tensors
                .map(move |(name, tensor)| (format!("{part}.{name}"), tensor.shallow_clone()))
                .collect::<Vec<_>>()
        };
        let mut tensors = of("network", &self.net);
        for (part, numbers) in self.optimizer.memory() {
            let parts = self.net.trained_parts(numbers);
            tensors.extend(parts.map(|(name, tensor)| (format!("{part}.{name}"), tensor)));
        }
        if let Some(average) = &self.average {
            tensors.extend(of("average", average.net()));
        }
        tensors
    }
}

/// Epochs behind a checkpoint.
///
/// # Errors
/// When the bytes are no checkpoint.
pub fn epoch(bytes: &[u8]) -> anyhow::Result<u32> {
    Ok(header(bytes)?.epoch)
}

fn header(bytes: &[u8]) -> anyhow::Result<Header> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let header = metadata.metadata().as_ref().and_then(|map| map.get(HEADER_KEY));
    Ok(serde_json::from_str(header.context("not a checkpoint of `trainer`")?)?)
}
