//! `cargo bench --bench glyph`: from the bytes of a picture to the answer, on one core, whole and by stage.

use std::hint::black_box;
use std::io::Cursor;
use std::time::{Duration, Instant};

use criterion::Criterion;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, RgbImage, RgbaImage};
use infer::engine::EngineKind;
use infer::{Classifier, glyph};
use models::RELEASED_ONNX;

/// Runs from which a stage's median is taken.
const RUNS: usize = 51;

fn main() -> anyhow::Result<()> {
    infer::engine::disable_telemetry()?;
    let mut classifier = Classifier::open(EngineKind::default(), RELEASED_ONNX, 1)?;
    let pictures = [
        ("1-megapixel photo, JPEG", encoded(photo(), ImageFormat::Jpeg)?),
        ("280x280 canvas, PNG", encoded(canvas(), ImageFormat::Png)?),
        (
            "280x280 transparent canvas, PNG",
            encoded(transparent_canvas(), ImageFormat::Png)?,
        ),
    ];
    let mut criterion = Criterion::default()
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    for (name, bytes) in &pictures {
        anyhow::ensure!(answer(&mut classifier, bytes)? == 7, "{name} is not read");
        criterion.bench_function(&format!("bytes to answer, {name}"), |bencher| {
            bencher.iter(|| answer(&mut classifier, black_box(bytes)));
        });
        println!("{name}, median of {RUNS} runs up to the end of each stage:");
        for (stage, time) in stages(bytes)? {
            println!("  {stage:<8} {:>8.3} ms", time.as_secs_f64() * 1e3);
        }
    }
    criterion.final_summary();
    Ok(())
}

fn answer(classifier: &mut Classifier, bytes: &[u8]) -> anyhow::Result<u8> {
    Ok(classifier.classify(&glyph::read(bytes)?)?.digit)
}

/// Median time from the start to the end of each stage.
fn stages(bytes: &[u8]) -> anyhow::Result<Vec<(String, Duration)>> {
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let (start, mut run) = (Instant::now(), Vec::new());
        glyph::read_watched(bytes, &mut |name, _| run.push((name.to_owned(), start.elapsed())))?;
        runs.push(run);
    }
    let median = |stage: usize| {
        let mut times: Vec<Duration> = runs.iter().map(|run| run[stage].1).collect();
        times.sort();
        (runs[0][stage].0.clone(), times[RUNS / 2])
    };
    Ok((0..runs[0].len()).map(median).collect())
}

/// A seven on paper in uneven light, with grain.
fn photo() -> RgbImage {
    let mut state = 7u32;
    RgbImage::from_fn(1000, 1000, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let light = 150.0 + 0.08 * x as f32 + (state >> 29) as f32;
        let level = if seven(x, y, 1000.0) { light * 0.3 } else { light };
        image::Rgb([level as u8, (level * 0.97) as u8, (level * 0.9) as u8])
    })
}

fn canvas() -> GrayImage {
    GrayImage::from_fn(280, 280, |x, y| Luma([if seven(x, y, 280.0) { 0 } else { 255 }]))
}

fn transparent_canvas() -> RgbaImage {
    RgbaImage::from_fn(280, 280, |x, y| {
        image::Rgba([0, 0, 0, if seven(x, y, 280.0) { 255 } else { 0 }])
    })
}

/// Whether a pixel of a square picture belongs to a seven.
fn seven(x: u32, y: u32, side: f32) -> bool {
    let (x, y) = (x as f32 / side, y as f32 / side);
    let bar = (0.3..0.7).contains(&x) && (0.2..0.26).contains(&y);
    let stem = (0.2..0.8).contains(&y) && (x + 0.45 * (y - 0.2) - 0.66).abs() < 0.03;
    bar || stem
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}
