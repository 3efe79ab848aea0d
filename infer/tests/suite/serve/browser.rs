//! A real browser draws on the page with real pointer events: headless Chromium, driven over its DevTools protocol.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use super::socket::Server;

/// Strokes of each digit, in per cent of the drawing area.
const DIGITS: [&[&[(f64, f64)]]; 10] = [
    &[&[
        (52., 20.),
        (40., 25.),
        (33., 40.),
        (32., 58.),
        (38., 74.),
        (50., 80.),
        (62., 74.),
        (68., 58.),
        (67., 40.),
        (61., 25.),
        (52., 20.),
    ]],
    &[&[(52., 18.), (51., 40.), (50., 60.), (49., 82.)]],
    &[&[
        (34., 32.),
        (40., 22.),
        (52., 19.),
        (63., 25.),
        (64., 38.),
        (55., 52.),
        (43., 66.),
        (33., 79.),
        (50., 78.),
        (70., 78.),
    ]],
    &[&[
        (35., 24.),
        (50., 18.),
        (63., 25.),
        (62., 38.),
        (48., 47.),
        (63., 54.),
        (66., 68.),
        (56., 79.),
        (42., 80.),
        (33., 73.),
    ]],
    &[
        &[(40., 20.), (36., 36.), (34., 50.), (50., 51.), (70., 49.)],
        &[(62., 22.), (61., 45.), (59., 65.), (58., 82.)],
    ],
    &[&[
        (64., 20.),
        (42., 21.),
        (39., 44.),
        (53., 42.),
        (65., 51.),
        (66., 66.),
        (56., 78.),
        (42., 80.),
        (33., 74.),
    ]],
    &[&[
        (60., 18.),
        (46., 30.),
        (37., 48.),
        (35., 66.),
        (43., 79.),
        (57., 79.),
        (65., 68.),
        (60., 57.),
        (48., 55.),
        (37., 64.),
    ]],
    &[&[(32., 22.), (50., 21.), (68., 21.), (60., 42.), (51., 62.), (45., 82.)]],
    &[&[
        (60., 24.),
        (48., 19.),
        (38., 27.),
        (42., 40.),
        (55., 50.),
        (64., 63.),
        (59., 77.),
        (46., 80.),
        (37., 70.),
        (41., 57.),
        (56., 45.),
        (64., 33.),
        (60., 24.),
    ]],
    &[&[
        (64., 34.),
        (56., 21.),
        (43., 22.),
        (36., 35.),
        (43., 47.),
        (56., 47.),
        (64., 35.),
        (63., 50.),
        (60., 66.),
        (56., 82.),
    ]],
];

/// Chromium with one page open.
struct Browser {
    child: Child,
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    session: String,
    calls: u64,
    /// What the page's console said.
    complaints: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    fn start(url: &str) -> Option<Browser> {
        let found = ["chromium", "chromium-browser", "google-chrome"];
        let path = found
            .into_iter()
            .find(|name| Command::new(name).arg("--version").output().is_ok());
        let Some(path) = path else {
            let required = std::env::var_os("THREEBLOCK_REQUIRE_CHROMIUM").is_some();
            assert!(!required, "chromium is missing: run make setup");
            crate::skipped("chromium is missing: run make setup");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(path);
        command.args("--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run".split(' '));
        command.args("--disable-background-networking --disable-component-update --disable-sync".split(' '));
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.args(["--remote-debugging-port=0", "about:blank"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut lines = lines.map(Result::unwrap);
        let devtools = lines.find_map(|line| Some(line.strip_prefix("DevTools listening on ")?.to_owned()));
        // Somebody must listen, or Chromium ends.
        thread::spawn(move || lines.for_each(drop));
        let (socket, _) = tungstenite::connect(devtools.expect("Chromium tells its address")).unwrap();
        let mut browser = Browser {
            child,
            socket,
            session: String::new(),
            calls: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        browser.session = browser.call("Target.attachToTarget", attach)["sessionId"]
            .as_str()
            .unwrap()
            .into();
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.screen(1280, 800, false);
        browser.call("Page.navigate", json!({ "url": url }));
        browser.wait_for("document.readyState == 'complete' && !!document.querySelector('#bars li')");
        Some(browser)
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else {
                continue;
            };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            let spoken = ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"];
            if spoken.iter().any(|event| message["method"] == *event) {
                self.complaints.push(message["params"].take());
            }
        }
    }

    fn eval(&mut self, script: &str) -> Value {
        let params = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let mut result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{script}: {result}");
        result["result"]["value"].take()
    }

    #[track_caller]
    fn wait_for(&mut self, condition: &str) {
        let start = Instant::now();
        while self.eval(condition) != json!(true) {
            if start.elapsed() > Duration::from_secs(20) {
                let text = self.eval("document.body?.innerText");
                panic!("{condition} does not come: {text} {:?}", self.complaints);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn screen(&mut self, width: u32, height: u32, mobile: bool) {
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", screen);
        self.call("Emulation.setTouchEmulationEnabled", json!({ "enabled": mobile }));
    }

    fn scheme(&mut self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    fn mouse(&mut self, kind: &str, x: f64, y: f64, pointer: &str) {
        let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1, "pointerType": pointer, "force": 0.6 });
        self.call("Input.dispatchMouseEvent", event);
    }

    fn touch(&mut self, kind: &str, points: Value) {
        self.call(
            "Input.dispatchTouchEvent",
            json!({ "type": kind, "touchPoints": points }),
        );
    }

    /// Draws a digit into a part of the area, from `left` on and `width` wide, all in fractions of it.
    fn draw(&mut self, digit: usize, (left, top, size): (f64, f64, f64), with: &str) {
        let area = self.eval("(({x, y, width}) => [x, y, width])(ink.getBoundingClientRect())");
        let number = |at: usize| area[at].as_f64().unwrap();
        let (x, y, width) = (number(0), number(1), number(2));
        for stroke in DIGITS[digit] {
            let points = stroke.iter().map(|(px, py)| {
                (
                    x + width * (left + size * px / 100.0),
                    y + width * (top + size * py / 100.0),
                )
            });
            let points: Vec<_> = points.collect();
            for (i, &(x, y)) in points.iter().enumerate() {
                match with {
                    "touch" => self.touch(
                        if i == 0 { "touchStart" } else { "touchMove" },
                        json!([{ "x": x, "y": y }]),
                    ),
                    _ => self.mouse(if i == 0 { "mousePressed" } else { "mouseMoved" }, x, y, with),
                }
            }
            let &(x, y) = points.last().unwrap();
            match with {
                "touch" => self.touch("touchEnd", json!([])),
                _ => self.mouse("mouseReleased", x, y, with),
            }
        }
    }

    fn key(&mut self, key: &str, modifiers: u8) {
        for kind in ["keyDown", "keyUp"] {
            let text = if key == " " && kind == "keyDown" { " " } else { "" };
            self.call(
                "Input.dispatchKeyEvent",
                json!({ "type": kind, "key": key, "text": text, "modifiers": modifiers }),
            );
        }
    }

    /// Chooses a picture's file.
    fn choose(&mut self, path: &Path) {
        let document = self.call("DOM.getDocument", json!({}));
        let file = json!({ "nodeId": document["root"]["nodeId"], "selector": "#file" });
        let file = self.call("DOM.querySelector", file);
        self.call(
            "DOM.setFileInputFiles",
            json!({ "nodeId": file["nodeId"], "files": [path] }),
        );
    }

    #[track_caller]
    fn reads(&mut self, text: &str) {
        let expected = json!(text);
        self.wait_for(&format!(
            "!busy && !dirty && document.getElementById('answer').textContent == {expected}"
        ));
    }

    /// Keeps a picture of the page, where a folder for them is named.
    fn screenshot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("THREEBLOCK_SCREENSHOTS").map(PathBuf::from) else {
            return;
        };
        thread::sleep(Duration::from_millis(250));
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes = BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const WHOLE: (f64, f64, f64) = (0.0, 0.0, 1.0);

#[test]
fn the_page_reads_what_is_drawn() {
    let server = Server::start(&[]);
    let Some(mut browser) = Browser::start(&format!("http://{}/", server.address)) else {
        return;
    };
    browser.screenshot("empty.png");
    for digit in 0..10 {
        browser.draw(digit, WHOLE, if digit % 2 == 0 { "mouse" } else { "pen" });
        browser.reads(&digit.to_string());
        if digit == 2 {
            browser.screenshot("light.png");
            browser.scheme("dark");
            browser.screenshot("dark.png");
            browser.scheme("light");
        }
        browser.key("Escape", 0);
        browser.reads("–");
    }

    // Several, one taken back.
    browser.draw(4, (0.0, 0.25, 0.5), "mouse");
    browser.draw(7, (0.3, 0.25, 0.5), "mouse");
    browser.draw(2, (0.6, 0.25, 0.5), "mouse");
    browser.reads("472");
    assert_eq!(browser.eval("document.querySelectorAll('#picks button').length"), 3);
    browser.screenshot("several.png");
    browser.key("z", 2);
    browser.reads("47");
    browser.key("Escape", 0);

    // A scribble is no digit.
    for _ in 0..6 {
        browser.draw(8, (0.1, 0.0, 0.9), "mouse");
        browser.draw(3, (0.0, 0.1, 0.8), "mouse");
        browser.draw(4, (0.1, 0.1, 0.9), "mouse");
        browser.draw(2, (0.05, 0.0, 0.95), "mouse");
    }
    browser.wait_for("document.getElementById('headline').textContent == 'No digit'");
    browser.screenshot("none.png");

    // The keyboard alone: a one.
    browser.key("Escape", 0);
    browser.eval("document.getElementById('ink').focus()");
    browser.key(" ", 0);
    for _ in 0..14 {
        browser.key("ArrowDown", 0);
    }
    browser.key(" ", 0);
    browser.reads("1");
    browser.key("Escape", 0);

    // A picture that is chosen.
    browser.choose(&crate::cli::sample(6).canonicalize().unwrap());
    browser.reads("6");
    browser.key("Escape", 0);

    // A finger on a phone.
    browser.screen(390, 844, true);
    browser.draw(3, WHOLE, "touch");
    browser.reads("3");
    assert_eq!(browser.eval("document.documentElement.scrollWidth <= innerWidth"), true);
    browser.screenshot("phone.png");
    browser.scheme("dark");
    browser.screenshot("phone-dark.png");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);

    drop(server);
    browser.draw(1, WHOLE, "touch");
    browser.wait_for("document.getElementById('headline').textContent == 'No answer'");
    browser.screenshot("offline.png");
}

/// No boxes stand on nothing, and a stroke takes the picture's place.
#[test]
fn a_picture_that_the_browser_cannot_show_is_read() {
    let server = Server::start(&[]);
    let Some(mut browser) = Browser::start(&format!("http://{}/", server.address)) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let tiff = folder.path().join("page.tiff");
    image::load_from_memory(&crate::cli::page())
        .unwrap()
        .save(&tiff)
        .unwrap();
    browser.choose(&tiff);
    browser.reads("20\n7");
    let boxes = "marker.getImageData(0, 0, boxes.width, boxes.height).data.some(Boolean)";
    assert_eq!(browser.eval(boxes), false);
    browser.draw(3, WHOLE, "mouse");
    browser.reads("3");
    assert_eq!(browser.eval("picture"), Value::Null);
}
