//! The running program: what it prints, clients that misbehave, its stop, and the commands of docs/serve.md.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::{INFER, check, infer, sample};

const DOCS: &str = include_str!("../../../../docs/serve.md");

/// A running `infer serve`, which is stopped with its owner.
pub struct Server {
    child: Child,
    /// `127.0.0.1:<port>`
    pub address: String,
}

impl Server {
    pub fn start(flags: &[&str]) -> Server {
        let mut command = Command::new(INFER);
        command
            .args(["serve", "--listen=127.0.0.1:0", "--threads=1"])
            .args(flags);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("http://").expect(&line).to_owned();
        Server { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// What comes back until the server closes.
    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        read_all(stream)
    }

    /// Waits until the program ends; the exit code and stderr.
    #[cfg(unix)]
    fn wait(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (code, said)
    }

    #[cfg(unix)]
    fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whatever could be read.
fn read_all(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /classify HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn a_port_in_use_is_an_error_that_says_what_to_do() {
    let server = Server::start(&[]);
    check(
        &infer(["serve", "--listen", &server.address]),
        1,
        "choose another port with --listen",
    );
    check(&infer(["serve", "--listen", "nonsense"]), 1, "--listen takes HOST:PORT");
    check(&infer(["serve", "--max-body", "0"]), 2, "--max-body");
}

#[test]
fn slow_clients_are_cut_and_others_answered() {
    let server = Server::start(&["--timeout=1"]);
    let start = Instant::now();
    let (mut header, mut body) = (server.connect(), server.connect());
    header.write_all(b"POST /classify HTTP/1.1\r\nHo").unwrap();
    body.write_all(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")
        .unwrap();
    let picture = std::fs::read(sample(5)).unwrap();
    assert!(server.exchange(&request(&picture)).contains("\"digit\":5"));
    read_all(header);
    assert!(read_all(body).starts_with("HTTP/1.1 408"));
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn too_much_and_nonsense_is_refused() {
    let server = Server::start(&["--max-body=1"]);
    let large = vec![0; 3 << 20];
    assert!(server.exchange(&request(&large)).starts_with("HTTP/1.1 413"));
    let chunk = [b"100000\r\n".as_slice(), &vec![0; 1 << 20], b"\r\n"].concat();
    let head = b"POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = [head.as_slice(), &chunk.repeat(2), b"0\r\n\r\n"].concat();
    assert!(server.exchange(&chunked).starts_with("HTTP/1.1 413"));
    for nonsense in [
        "\r\n\r\nGET",
        "BREW / COFFEE\r\n\r\n",
        "POST /classify HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /classify HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
    ] {
        let answer = server.exchange(nonsense.as_bytes());
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{nonsense:?}: {answer}"
        );
    }
    // Half a request, and gone.
    server.connect().write_all(&request(&large)[..1000]).unwrap();
    let picture = std::fs::read(sample(6)).unwrap();
    assert!(server.exchange(&request(&picture)).contains("\"digit\":6"));
}

#[test]
fn a_refusal_reaches_clients_that_send_all_first() {
    let server = Server::start(&[]);
    let body = vec![0; 12 << 20];
    for (line, header, status) in [
        ("POST /nothing", "", 404),
        ("PUT /classify", "", 405),
        ("POST /classify?color=red", "", 400),
        ("POST /classify", "Content-Encoding: gzip\r\n", 415),
        ("POST /v2/models/cats/infer", "", 404),
    ] {
        let length = body.len();
        let head =
            format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}Content-Length: {length}\r\n\r\n");
        let answer = server.exchange(&[head.as_bytes(), &body].concat());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
    }
}

#[cfg(unix)]
#[test]
fn a_stop_loses_no_request() {
    let server = Server::start(&[]);
    let picture = std::fs::read(sample(8)).unwrap();
    let answered: usize = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| ask_until_closed(server.connect(), &picture)))
            .collect();
        thread::sleep(Duration::from_millis(300));
        server.terminate();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(answered >= 8, "{answered}");
    let (code, said) = server.wait();
    assert_eq!(code, Some(0));
    assert!(said.contains("every request is answered"), "{said}");
}

#[cfg(unix)]
#[test]
fn serves_where_nobody_reads_its_address() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(INFER);
    command.args(["serve", "--listen=127.0.0.1:0", "--threads=1"]);
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("Ctrl-C stops"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Asks on one connection until the server says that it closes it; every request must be answered.
fn ask_until_closed(stream: TcpStream, picture: &[u8]) -> usize {
    let request = format!(
        "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        picture.len()
    );
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone().unwrap()), stream);
    for answered in 1.. {
        writer.write_all(&[request.as_bytes(), picture].concat()).unwrap();
        let (mut length, mut closes) = (0, false);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim().to_ascii_lowercase();
            assert!(length > 0 || closes || !line.is_empty(), "the connection is cut");
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            closes |= line == "connection: close";
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        assert!(String::from_utf8_lossy(&body).contains("\"digit\":8"));
        if closes {
            return answered;
        }
    }
    unreachable!("a server that stops closes")
}

#[test]
fn the_curl_commands_of_the_docs_work() {
    if Command::new("curl").arg("--version").output().is_err() {
        return crate::skipped("curl is not here");
    }
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(sample(7), folder.path().join("digit.png")).unwrap();
    let (commands, expected): (Vec<_>, Vec<_>) = DOCS
        .split("```sh\n")
        .skip(1)
        .filter_map(|block| block.split_once("\n```"))
        .filter(|(block, _)| block.contains("curl"))
        .filter_map(|(block, _)| block.rsplit_once("\n# "))
        .unzip();
    assert!(commands.len() >= 4, "{commands:?}");
    for (command, expected) in commands.iter().zip(expected) {
        let command = command.replace("localhost:8080", &server.address);
        let output = Command::new("bash")
            .args(["-c", &command])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && answer.contains(expected),
            "{command}: {answer}"
        );
    }
}
