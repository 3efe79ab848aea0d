//! Scalars as an event file of TensorBoard: records in TFRecord's framing, each an `Event` of `event.proto`.

use prost::{Message, Oneof};

use crate::metrics::Row;

/// Name of the file; TensorBoard looks for `tfevents` in it.
pub const EVENTS: &str = "events.out.tfevents.threeblock";

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// The file of these rows. More rows are appended with [`record`].
pub fn file(rows: &[Row]) -> Vec<u8> {
    let version = Event {
        wall_time: rows.first().map_or(0.0, |row| row.unix_seconds),
        step: 0,
        what: Some(What::FileVersion("brain.Event:2".into())),
    };
    [framed(&version)]
        .into_iter()
        .chain(rows.iter().map(record))
        .collect::<Vec<_>>()
        .concat()
}

/// The bytes that one more row adds to the file.
pub fn record(row: &Row) -> Vec<u8> {
    let value = |(name, value): (String, f64)| Value {
        // TensorBoard groups by what stands before the slash.
        tag: name.replacen('_', "/", 1),
        simple_value: Some(value as f32),
    };
    let value = row.scalars().into_iter().map(value).collect();
    framed(&Event {
        wall_time: row.unix_seconds,
        step: row.epoch.into(),
        what: Some(What::Summary(Summary { value })),
    })
}

/// Length, its checksum, the event, its checksum.
fn framed(event: &Event) -> Vec<u8> {
    let event = event.encode_to_vec();
    let length = (event.len() as u64).to_le_bytes();
    let checksum = |bytes: &[u8]| masked(crc32c::crc32c(bytes)).to_le_bytes();
    [&length[..], &checksum(&length), &event, &checksum(&event)].concat()
}

/// TFRecord's mask, so that the checksum of a checksum is no constant.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}
