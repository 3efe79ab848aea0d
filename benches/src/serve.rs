//! Servers as subjects of a measurement: `infer serve` and the usual Python service, and a client that speaks just enough
//! HTTP. [`load`] times them with wrk, [`abuse`] treats ours badly.

pub mod abuse;
pub mod load;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::workspace;

/// Where pictures go.
pub const CLASSIFY: &str = "/classify";
/// Where tensors go.
pub const INFER: &str = "/v2/models/digits/infer";
/// Says that a body is a tensor alone.
pub const RAW: &str = "Inference-Header-Content-Length: 0\r\n";

/// A running server, which is stopped with its owner.
pub struct Server {
    child: Child,
    /// `127.0.0.1:<port>`
    pub address: String,
}

impl Server {
    /// `infer serve` on one thread a core, from beside this program.
    ///
    /// # Errors
    /// When it is not built, or does not start.
    pub fn infer(flags: &[&str]) -> anyhow::Result<Server> {
        let program = std::env::current_exe()?.with_file_name("infer");
        ensure!(
            program.exists(),
            "{} is missing: run `make bench-serve`",
            program.display()
        );
        let mut command = Command::new(program);
        command
            .args(["serve", "--listen=127.0.0.1:0"])
            .args(flags)
            .stderr(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("stdout is piped")?).read_line(&mut line)?;
        let address = line
            .trim()
            .strip_prefix("http://")
            .context("infer serve does not start")?;
        Ok(Server {
            child,
            address: address.to_owned(),
        })
    }

    /// The usual Python service, as it is usually started.
    ///
    /// # Errors
    /// When its packages are missing, or it does not start.
    pub fn python() -> anyhow::Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("python3");
        command.arg(workspace("benches/peers/service.py")).arg(port.to_string());
        command.env("PYTHONPATH", workspace(".deps/python-serve"));
        let mut server = Server {
            child: command.spawn()?,
            address: format!("127.0.0.1:{port}"),
        };
        let start = Instant::now();
        while TcpStream::connect(&server.address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the Python service ends with {status}: run `make setup`");
            }
            ensure!(
                start.elapsed() < Duration::from_secs(60),
                "the Python service does not start"
            );
            sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// Megabytes in memory: now, and at most so far.
    ///
    /// # Errors
    /// Where there is no /proc.
    pub fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| -> anyhow::Result<f64> {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .context("no such field")?;
            let kib: f64 = line.split_whitespace().next().context("no number")?.parse()?;
            Ok(kib / 1024.0)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// Sends SIGTERM and waits until the program ends; whether it does so with success.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn stop(&mut self) -> anyhow::Result<bool> {
        self.terminate()?;
        Ok(self.child.wait()?.success())
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn terminate(&self) -> anyhow::Result<()> {
        let status = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()?;
        ensure!(status.success(), "SIGTERM cannot be sent");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection.
pub struct Client(BufReader<TcpStream>);

/// What came back.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the server closes the connection after it.
    pub closes: bool,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(address: &str) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Client(BufReader::new(stream)))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is cut.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Posts a body, with more header lines, and reads the answer.
    ///
    /// # Errors
    /// When the connection is cut before the answer is whole.
    pub fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> anyhow::Result<Reply> {
        self.send(&post(path, headers, body))?;
        self.read()
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// When the connection is cut before the answer is whole.
    pub fn read(&mut self) -> anyhow::Result<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).context("the connection is cut")?.parse()?;
        let (mut length, mut closes) = (0, false);
        loop {
            line.clear();
            ensure!(self.0.read_line(&mut line)? > 0, "the connection is cut in the header");
            let header = line.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse()?;
            }
            closes |= header == "connection: close";
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(Reply { status, body, closes })
    }
}

/// The bytes of a request.
pub fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

/// A picture of a seven.
///
/// # Errors
/// When it cannot be read.
pub fn picture() -> anyhow::Result<Vec<u8>> {
    let path: PathBuf = workspace("models/samples/7.png");
    std::fs::read(&path).with_context(|| path.display().to_string())
}

/// The same seven as a tensor.
///
/// # Errors
/// When it cannot be read.
pub fn tensor() -> anyhow::Result<Vec<u8>> {
    let digit = models::glyph::read(&picture()?)?;
    Ok(digit
        .normalized()
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect())
}

/// Whether a program is there.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).exists())
}
