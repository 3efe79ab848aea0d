//! What the exporter says: the result on stdout, all else on stderr.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use exporter::int8::Report;
use exporter::verify::Check;
use infer::verify::BATCHES;
use models::{artefact, golden};

/// What int8 costs and saves.
pub fn int8(report: &Report) {
    let (loss, ratio) = (report.loss(), report.time_ratio);
    note(format_args!(
        "int8: {loss:+.2} points of accuracy lost on {} digits ({} lost, {} won, McNemar p {:.2}); {ratio:.2} of f32's time",
        report.digits, report.lost, report.won, report.p
    ));
    for (engine, share) in &report.agreement {
        match share {
            Ok(share) => note(format_args!(
                "{engine}: reads {:.2} % of the digits alike",
                100.0 * share
            )),
            Err(missing) => note(format_args!("{engine}: not checked. {missing}")),
        }
    }
}

/// `graph` says which was checked, where it is not the one that was written.
pub fn check(check: &Check, graph: &str) {
    let engine = check.engine;
    match &check.outcome {
        Ok(comparison) => note(format_args!(
            "{engine}{graph}: {comparison}, at batch {BATCHES:?}; allowed {:.0e}",
            golden::TOLERANCE
        )),
        Err(missing) => note(format_args!("{engine}{graph}: not checked. {missing}")),
    }
}

/// The result on stdout, where a closed pipe is no failure.
pub fn report(model: &Path, onnx: &[u8]) -> io::Result<()> {
    let sum = artefact::sha256(onnx);
    match writeln!(io::stdout(), "{}: {} bytes, SHA-256 {sum}", model.display(), onnx.len()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// `verify` compares with libtorch's logits, which int8 does not reach.
pub fn next(model: &Path, golden: Option<&Path>, int8: bool) {
    let model = model.display();
    note(format_args!(
        "next: cargo run -p infer -- classify --model {model} FILE..."
    ));
    if !int8 {
        let golden = golden.map_or(String::new(), |path| format!(" --golden {}", path.display()));
        note(format_args!(
            "      cargo run -p infer -- verify --model {model}{golden}"
        ));
    }
}

/// A line on stderr; where stderr is closed, nobody listens.
pub fn note(line: std::fmt::Arguments) {
    let _ = writeln!(io::stderr(), "{line}");
}
