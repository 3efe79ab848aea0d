//! `infer serve`: the model over HTTP, until Ctrl-C or SIGTERM.

use std::io::{self, ErrorKind, Write};
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use infer::REJECT;
use infer::serve::{App, Settings, listen};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::{EngineArgs, finite};

/// Serve a page to draw digits on, pictures at /classify, the Open Inference Protocol at /v2, and metrics
#[derive(clap::Args)]
pub struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Largest body of a request, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    max_body: u16,
    /// Seconds for the header of a request, for its body, for its turn, and for a client to take the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3600))]
    timeout: u16,
    /// Requests that may wait; more are told to come again
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    queue: u16,
    /// Microseconds that a request waits for others to go through the engine with; at 0 those go together that wait already
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    max_delay: u32,
    #[arg(long, value_name = "EVIDENCE", allow_negative_numbers = true, value_parser = finite, help = format!(
        "Evidence below which there is no digit; a lower number refuses less [default: {REJECT}, and none for foreign models]"
    ))]
    reject: Option<f32>,
    #[command(flatten)]
    engine: EngineArgs,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let classifiers = args.engine.classifiers()?;
    let reject = args.reject.unwrap_or(classifiers[0].reject());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = bind(&args.listen).await?;
        let stop = stop()?;
        let app = App::new(classifiers, &args.settings(reject));
        // The address may be known already, and stdout closed.
        let _ = writeln!(io::stdout(), "http://{}", listener.local_addr()?);
        note("open it and draw; Ctrl-C stops");
        if !listen::serve(listener, &app, stop.notified()).await? {
            bail!("stopped, and some requests were cut: they took longer than four times --timeout");
        }
        note("stopped, every request is answered");
        Ok(ExitCode::SUCCESS)
    })
}

/// Is told of Ctrl-C and SIGTERM. The second time the program ends at once.
fn stop() -> anyhow::Result<Arc<Notify>> {
    let stop = Arc::new(Notify::new());
    let (told, mut again) = (stop.clone(), false);
    ctrlc::set_handler(move || {
        if std::mem::replace(&mut again, true) {
            exit(1);
        }
        told.notify_one();
    })?;
    Ok(stop)
}

impl Args {
    fn settings(&self, reject: f32) -> Settings {
        Settings {
            max_body: usize::from(self.max_body) << 20,
            timeout: Duration::from_secs(self.timeout.into()),
            queue: self.queue.into(),
            max_delay: Duration::from_micros(self.max_delay.into()),
            reject,
        }
    }
}

async fn bind(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "cannot listen on {address}, which another program does: stop it, or choose another port with --listen, 0 for a free one"
        ),
        ErrorKind::PermissionDenied => {
            anyhow!("cannot listen on {address}, which is not allowed: choose a port over 1023 with --listen")
        }
        _ => anyhow::Error::new(error).context(format!("cannot listen on {address:?}: --listen takes HOST:PORT")),
    })
}

/// A line on stderr; where stderr is closed, nobody listens.
fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
