//! `cargo bench --bench roofline`: what each layer of the native engine costs, and how near it comes to the core's peak.

use std::fmt::Write;

use benches::engines::Precision;
use infer::engine::{KernelKind, Native, Numbers};
use infer::numbers;
use models::golden::Golden;
use models::onnx::{InputKind, Model};

/// Runs of which the median is taken.
const RUNS: usize = 2000;

fn main() -> anyhow::Result<()> {
    let golden = Golden::from_bytes(models::GOLDEN)?;
    let digits = numbers(InputKind::Float32, &golden.digits);
    let mut text = String::new();
    for (precision, numbers) in [(Precision::F32, Numbers::Floats), (Precision::Int8, Numbers::Bytes)] {
        let model = Model::from_bytes(precision.onnx())?;
        for kind in KernelKind::ladder().filter(|kind| *kind != KernelKind::Plain) {
            match Native::new(&model, 1, Some(kind)) {
                Ok(mut engine) => {
                    writeln!(text, "## {}, {}\n", precision.name(), kind.name())?;
                    table(&mut text, &mut engine, numbers, &digits)?;
                }
                Err(error) => writeln!(text, "## {}, {}\n\n{error}\n", precision.name(), kind.name())?,
            }
        }
    }
    let path = benches::workspace("docs/roofline.md");
    let head = "# Roofline of the native engine\n\nWritten by `cargo bench --bench roofline`: batch 1, one thread, the median \
                of 2000 runs of each layer in turn. Products are those of the definition: Winograd does with a quarter of \
                them, and those with the padding are left out, so that a share of the peak may pass 100 %.\n\n";
    std::fs::write(&path, format!("{head}{text}"))?;
    print!("{text}");
    Ok(())
}

fn table(text: &mut String, engine: &mut Native, numbers: Numbers, digits: &[f32]) -> anyhow::Result<()> {
    let layers = engine.profile(&digits[..models::PIXELS], RUNS);
    let peak = engine.peak(numbers);
    writeln!(text, "The core's peak: {peak:.1} products/ns.\n")?;
    writeln!(text, "| layer | algorithm | products | us | products/ns | of peak |")?;
    writeln!(text, "|---|---|---:|---:|---:|---:|")?;
    for layer in &layers {
        let rate = layer.products as f64 / layer.us / 1e3;
        let share = 100.0 * rate / peak;
        let (name, algorithm, products, us) = (&layer.name, layer.algorithm, layer.products, layer.us);
        writeln!(
            text,
            "| {name} | {algorithm} | {products} | {us:.2} | {rate:.1} | {share:.0} % |"
        )?;
    }
    let (products, us) = layers
        .iter()
        .fold((0, 0.0), |(p, t), layer| (p + layer.products, t + layer.us));
    let rate = products as f64 / us / 1e3;
    writeln!(
        text,
        "| all | | {products} | {us:.2} | {rate:.1} | {:.0} % |\n",
        100.0 * rate / peak
    )?;
    Ok(())
}
