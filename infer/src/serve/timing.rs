//! Where a request's time goes: one list of stages for the answer's `timing_us` and for the metrics.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

/// What a request goes through, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its body arrives.
    Receive,
    /// It waits for a thread of the front end.
    Wait,
    /// Its picture becomes grey pixels, or its tensor numbers.
    Decode,
    /// The digits on it are found and drawn as the network takes them.
    Find,
    /// It waits for an engine, and for others to go with.
    Queue,
    /// The engine runs, for it and those beside it.
    Infer,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Stage; 6] = [
        Stage::Receive,
        Stage::Wait,
        Stage::Decode,
        Stage::Find,
        Stage::Queue,
        Stage::Infer,
    ];

    /// Name in answers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Receive => "receive",
            Stage::Wait => "wait",
            Stage::Decode => "decode",
            Stage::Find => "find",
            Stage::Queue => "queue",
            Stage::Infer => "infer",
        }
    }
}

/// A request's time so far; stages that it skips have none.
#[derive(Clone, Debug)]
pub struct Timing {
    start: Instant,
    stages: [Option<Duration>; Stage::ALL.len()],
}

impl Timing {
    /// Begins now.
    pub fn start() -> Timing {
        Timing {
            start: Instant::now(),
            stages: [None; Stage::ALL.len()],
        }
    }

    /// Sets the time of a stage.
    pub fn set(&mut self, stage: Stage, time: Duration) {
        self.stages[stage as usize] = Some(time);
    }

    /// The stages that were gone through.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, Duration)> {
        let times = Stage::ALL.into_iter().zip(self.stages);
        times.filter_map(|(stage, time)| Some((stage, time?)))
    }

    /// Microseconds of each stage that was gone through, and `total` until now.
    pub fn to_json(&self) -> Value {
        let micros = |time: Duration| Value::from(time.as_nanos() as f64 / 1e3);
        let mut object: Map<_, _> = self
            .stages()
            .map(|(stage, time)| (stage.name().to_owned(), micros(time)))
            .collect();
        object.insert("total".into(), micros(self.start.elapsed()));
        Value::Object(object)
    }
}
