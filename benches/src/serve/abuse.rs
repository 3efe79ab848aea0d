//! What clients that misbehave do to others and to memory: all on loopback, bounded in number and time.

use std::io::Cursor;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::ensure;
use image::{GrayImage, ImageFormat, Luma};

use super::{CLASSIFY, Client, INFER, RAW, Server, picture, post, tensor};
use crate::stats;

/// Requests of the well-behaved client in each trial.
const ASKED: usize = 500;
/// Clients that send one byte a second.
const SLOW: usize = 200;
/// Connections that send bombs.
const BOMBERS: usize = 64;
/// Requests that are broken off, and requests that are nonsense.
const BROKEN: usize = 1000;

/// The table of all trials.
///
/// # Errors
/// When the server does not start, a well-behaved client is not answered, or a request is lost.
pub fn table(soak: Duration) -> anyhow::Result<String> {
    let mut rows = vec![alone()?, slow()?, bombs()?, oversize()?, nonsense()?, broken_off()?];
    rows.push(stopped()?);
    rows.push(soaked(soak)?);
    let rows = rows.iter().map(|(trial, outcome)| format!("| {trial} | {outcome} |\n"));
    Ok(format!("| trial | outcome |\n|---|---|\n{}", rows.collect::<String>()))
}

type Row = (String, String);

/// The 99th percentile, in milliseconds, of a client that asks again and again.
fn p99(server: &Server) -> anyhow::Result<f64> {
    let (mut client, picture) = (Client::connect(&server.address)?, picture()?);
    let mut times = Vec::new();
    for _ in 0..ASKED {
        let start = Instant::now();
        let reply = client.post(CLASSIFY, "", &picture)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(reply.status == 200, "a well-behaved client gets {}", reply.status);
    }
    Ok(stats::quantile(&times, 0.99))
}

fn alone() -> anyhow::Result<Row> {
    let server = Server::infer(&[])?;
    p99(&server)?;
    Ok((
        "none; one client sends PNG".into(),
        format!("p99 {:.2} ms", p99(&server)?),
    ))
}

fn slow() -> anyhow::Result<Row> {
    let server = Server::infer(&[])?;
    let done = AtomicBool::new(false);
    let p99 = thread::scope(|scope| {
        for index in 0..SLOW {
            let (server, done) = (&server, &done);
            scope.spawn(move || trickle(server, done, index.is_multiple_of(2)));
        }
        sleep(Duration::from_secs(2));
        let p99 = p99(&server);
        done.store(true, Ordering::Relaxed);
        p99
    })?;
    let trial = format!("{SLOW} clients that send one byte a second, in the header or the body; one client sends PNG");
    Ok((trial, format!("p99 {p99:.2} ms")))
}

/// One byte a second, and again when the server hangs up.
fn trickle(server: &Server, done: &AtomicBool, in_header: bool) {
    let request = post(CLASSIFY, "", &[0; 1000]);
    let head = request.len() - 1000;
    while !done.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::connect(&server.address) else {
            continue;
        };
        let rest = match in_header {
            true => &request[..],
            false if client.send(&request[..head]).is_ok() => &request[head..],
            false => continue,
        };
        for byte in rest.chunks(1) {
            if done.load(Ordering::Relaxed) || client.send(byte).is_err() {
                break;
            }
            sleep(Duration::from_secs(1));
        }
    }
}

/// Pictures of few bytes and many pixels: as many as are read, and more.
fn bombs() -> anyhow::Result<Row> {
    let server = Server::infer(&[])?;
    let start = server.memory()?.0;
    let largest = png(16_000, 4_600)?;
    let too_large = png(16_384, 16_384)?;
    let (bytes, mut statuses) = (largest.len() / 1000, Vec::new());
    thread::scope(|scope| {
        let send = |index: usize| {
            let (server, bomb) = (&server, if index.is_multiple_of(2) { &largest } else { &too_large });
            scope.spawn(move || Client::connect(&server.address).ok()?.post(CLASSIFY, "", bomb).ok())
        };
        let threads: Vec<_> = (0..BOMBERS).map(send).collect();
        let replies = threads.into_iter().filter_map(|thread| thread.join().ok().flatten());
        statuses.extend(replies.map(|reply| reply.status));
    });
    let peak = server.memory()?.1;
    let trial = format!("PNGs of {bytes} kB and 74 megapixels, and of 268, in {BOMBERS} connections");
    let outcome = format!(
        "{}; {start:.0} MB in memory before, {peak:.0} MB at most",
        counted(&statuses)
    );
    Ok((trial, outcome))
}

fn png(width: u32, height: u32) -> anyhow::Result<Vec<u8>> {
    let mut image = GrayImage::from_pixel(width, height, Luma([255]));
    for at in 0..height / 2 {
        image.put_pixel(width / 2, height / 4 + at, Luma([0]));
    }
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

fn oversize() -> anyhow::Result<Row> {
    let server = Server::infer(&["--max-body=1"])?;
    let body = vec![0; 3 << 20];
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(Client::connect(&server.address)?.post(CLASSIFY, "", &body)?.status);
        let mut client = Client::connect(&server.address)?;
        let head = format!(
            "POST {CLASSIFY} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            body.len()
        );
        client.send(&[head.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat())?;
        statuses.push(client.read()?.status);
    }
    let outcome = format!("{}; {:.0} MB in memory at most", counted(&statuses), server.memory()?.1);
    Ok(("3 MiB where 1 MiB is read, plain and chunked".into(), outcome))
}

/// Requests and tensors with two bytes changed, each on a connection of its own.
fn nonsense() -> anyhow::Result<Row> {
    let server = Server::infer(&["--timeout=1"])?;
    let json = br#"{"inputs":[{"name":"input","datatype":"FP32","shape":[1,1,28,28],"data":[[1,2],3]}]}"#;
    let good = [
        post(INFER, "", json),
        post(INFER, RAW, &tensor()?),
        post(CLASSIFY, "", &picture()?),
    ];
    let (mut statuses, mut random) = (Vec::new(), 1u64);
    for index in 0..BROKEN {
        let mut request = good[index % good.len()].clone();
        for _ in 0..2 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 33) as usize % request.len().min(400);
            request[at] = (random >> 25) as u8;
        }
        let mut client = Client::connect(&server.address)?;
        client.send(&request)?;
        statuses.push(client.read().map_or(0, |reply| reply.status));
    }
    ensure!(
        !statuses.iter().any(|status| *status >= 500),
        "nonsense breaks the server: {}",
        counted(&statuses)
    );
    let trial = format!("{BROKEN} requests with two bytes changed: JSON, raw tensors and PNG");
    Ok((
        trial,
        format!("{}; then p99 {:.2} ms", counted(&statuses), p99(&server)?),
    ))
}

fn broken_off() -> anyhow::Result<Row> {
    let server = Server::infer(&[])?;
    p99(&server)?;
    let (before, request) = (server.memory()?.0, post(CLASSIFY, "", &picture()?));
    for index in 0..BROKEN {
        Client::connect(&server.address)?.send(&request[..request.len() * (index % 10) / 10])?;
    }
    let p99 = p99(&server)?;
    let trial = format!("{BROKEN} clients that leave half way");
    Ok((
        trial,
        format!(
            "{before:.0} MB in memory before, {:.0} MB after; then p99 {p99:.2} ms",
            server.memory()?.0
        ),
    ))
}

/// SIGTERM while clients ask as fast as they can.
fn stopped() -> anyhow::Result<Row> {
    let mut server = Server::infer(&[])?;
    let picture = picture()?;
    let (asked, answered) = thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| until_closed(&server.address, &picture)))
            .collect();
        sleep(Duration::from_secs(2));
        let sent = server.terminate();
        let counts = clients.into_iter().filter_map(|client| client.join().ok());
        let counts = counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        sent.map(|()| counts)
    })?;
    let success = server.child.wait()?.success();
    ensure!(
        asked == answered && success,
        "{answered} of {asked} requests are answered, success is {success}"
    );
    let outcome = format!("{answered} of {asked} requests answered, then every connection closed, exit code 0");
    Ok(("SIGTERM while 16 clients send PNG".into(), outcome))
}

/// Requests sent, and answered, on one connection until the server says that it closes it.
fn until_closed(address: &str, picture: &[u8]) -> (usize, usize) {
    let Ok(mut client) = Client::connect(address) else {
        return (0, 0);
    };
    let (mut asked, mut answered) = (0, 0);
    loop {
        asked += 1;
        match client.post(CLASSIFY, "", picture) {
            Ok(reply) if reply.status == 200 => {
                answered += 1;
                if reply.closes {
                    return (asked, answered);
                }
            }
            _ => return (asked, answered),
        }
    }
}

/// Pictures, tensors and nonsense for a long time.
fn soaked(time: Duration) -> anyhow::Result<Row> {
    let mut server = Server::infer(&[])?;
    let (picture, tensor) = (picture()?, tensor()?);
    let warm_up = (time / 10).min(Duration::from_secs(60));
    let requests = mixed(&server, &picture, &tensor, warm_up);
    let before = server.memory()?.0;
    let requests = requests + mixed(&server, &picture, &tensor, time - warm_up);
    let after = server.memory()?.0;
    ensure!(server.stop()?, "the server does not stop well");
    let trial = format!(
        "{:.1} minutes of pictures, tensors and nonsense from 8 clients",
        time.as_secs_f64() / 60.0
    );
    Ok((
        trial,
        format!("{requests} requests; {before:.1} MB in memory after the warm-up, {after:.1} MB at the end"),
    ))
}

fn mixed(server: &Server, picture: &[u8], tensor: &[u8], time: Duration) -> usize {
    let end = Instant::now() + time;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|index| scope.spawn(move || ask(server, picture, tensor, end, index)))
            .collect();
        clients.into_iter().filter_map(|client| client.join().ok()).sum()
    })
}

/// A new connection for every hundred requests.
fn ask(server: &Server, picture: &[u8], tensor: &[u8], end: Instant, index: usize) -> usize {
    let mut asked = 0;
    while Instant::now() < end {
        let Ok(mut client) = Client::connect(&server.address) else {
            continue;
        };
        for _ in 0..100 {
            let sent = match (asked + index) % 4 {
                0 | 1 => client.post(CLASSIFY, "", picture),
                2 => client.post(INFER, RAW, tensor),
                _ => client.post(CLASSIFY, "", &tensor[..100]),
            };
            asked += 1;
            if sent.is_err() || Instant::now() >= end {
                break;
            }
        }
    }
    asked
}

/// How often each status came; 0 is a closed connection.
fn counted(statuses: &[u16]) -> String {
    let mut kinds = statuses.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    let count = |kind: &u16| {
        let n = statuses.iter().filter(|status| *status == kind).count();
        match kind {
            0 => format!("{n} closed"),
            kind => format!("{n} x {kind}"),
        }
    };
    kinds.iter().map(count).collect::<Vec<_>>().join(", ")
}
