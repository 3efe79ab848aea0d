//! Load and abuse of `infer serve`: the tables of docs/serve.md. Build `infer` in the same profile first; `make bench-serve`
//! does both.

use std::time::Duration;

use benches::serve::{abuse, load};
use benches::{table, workspace};
use clap::Parser;

/// Measure `infer serve` under load and under abuse, and write the tables of docs/serve.md
#[derive(Parser)]
struct Args {
    /// Turns of each service in each case of load; 0 leaves that table as it is
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a turn
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Minutes of the soak at the end of the abuse; 0 leaves that table as it is
    #[arg(long, default_value_t = 1.0)]
    soak_minutes: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let document = workspace("docs/serve.md");
    let publish = |name: &str, text: String| {
        print!("{text}");
        table::insert(&document, name, &text)
    };
    if args.rounds > 0 {
        publish("load", load::table(args.rounds, args.seconds)?)?;
    }
    if args.soak_minutes > 0.0 {
        let soak = Duration::try_from_secs_f64(60.0 * args.soak_minutes)?;
        publish("abuse", abuse::table(soak)?)?;
    }
    Ok(())
}
