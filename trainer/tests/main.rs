//! The program `trainer` as its user meets it, on tiny made-up digits.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use models::golden::Golden;
use models::weights::Weights;
use rand::{Rng, SeedableRng};
use tch::Device;
use tempfile::TempDir;
use trainer::backend::Backend;
use trainer::precision::Precision;

/// A folder with MNIST's four files: digits are noise, with a bright row that tells the label.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    for (prefix, n) in [("train", 130u32), ("t10k", 70)] {
        let labels: Vec<u8> = (0..n).map(|i| (i * 7 % 10) as u8).collect();
        let mut pixels = vec![0u8; n as usize * models::PIXELS];
        rng.fill_bytes(&mut pixels);
        for (digit, label) in pixels.chunks_mut(models::PIXELS).zip(&labels) {
            digit.iter_mut().for_each(|pixel| *pixel /= 8);
            let row = (usize::from(*label) * 2 + 4) * models::SIDE;
            digit[row..row + models::SIDE].fill(255);
        }
        write_idx(
            &folder,
            &format!("{prefix}-images-idx3-ubyte"),
            &[0x803, n, 28, 28],
            &pixels,
        );
        write_idx(&folder, &format!("{prefix}-labels-idx1-ubyte"), &[0x801, n], &labels);
    }
    folder
}

fn write_idx(folder: &TempDir, name: &str, header: &[u32], data: &[u8]) {
    let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.extend(data);
    std::fs::write(folder.path().join(name), bytes).unwrap();
}

fn start(folder: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_trainer"))
        .args(arguments)
        .env("OMP_NUM_THREADS", "1")
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    start(folder, arguments).wait_with_output().unwrap()
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn fails(folder: &Path, arguments: &[&str], code: i32, message: &str) {
    let output = run(folder, arguments);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(message), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a_run_keeps_everything_and_overwrites_nothing() {
    let folder = folder();
    let arguments = ["--data", ".", "--epochs", "2", "--batch-size", "16"];
    let output = run(folder.path(), &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("cargo run -p exporter -- model.onnx"));

    let file = |name: &str| std::fs::read(folder.path().join("runs/1").join(name)).unwrap();
    let weights = Weights::from_bytes(&file("weights.safetensors")).unwrap();
    assert_eq!((weights.training.epochs, weights.training.train_digits), (2, 130));
    let golden = Golden::from_bytes(&file("golden.safetensors")).unwrap();
    assert_eq!(golden.digits.len(), 70, "as many as there are");
    assert_eq!(golden.weights_sha256, weights.sha256());
    let settings: serde_json::Value = serde_json::from_slice(&file("settings.json")).unwrap();
    assert_eq!(settings["settings"]["batch_size"], 16);
    assert_eq!(settings["libtorch"], env!("LIBTORCH_VERSION"));
    assert_eq!(text(&file("metrics.jsonl")).lines().count(), 2);
    let csv = text(&file("metrics.csv"));
    let columns: Vec<_> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [32, 32, 32]);
    assert!(csv.contains("gradient_norm_block1,gradient_norm_block2,gradient_norm_block3,gradient_norm_fc"));

    let elsewhere = run(folder.path(), &["--data", ".", "--epochs", "1", "--runs", "other"]);
    let next = "cargo run -p exporter -- --weights other/1/weights.safetensors model.onnx";
    assert!(text(&elsewhere.stderr).contains(next), "{}", text(&elsewhere.stderr));
    run(folder.path(), &arguments);
    assert_eq!(file("weights.safetensors"), weights.to_bytes());
    let again = std::fs::read(folder.path().join("runs/2/weights.safetensors")).unwrap();
    assert!(
        again == weights.to_bytes(),
        "the same seed gives the same weights, bit for bit"
    );
    run(
        folder.path(),
        &["--data", ".", "--epochs", "2", "--batch-size", "16", "--seed", "1"],
    );
    let other = std::fs::read(folder.path().join("runs/3/weights.safetensors")).unwrap();
    assert!(other != again, "another seed gives other weights");
}

#[test]
fn learns() {
    let folder = folder();
    let teachers = "runs/1/weights.safetensors";
    let flags = [
        ["--epochs", "8"].as_slice(),
        &["--epochs", "8", "--crop", "0.5"],
        &["--epochs", "5", "--precision", "bf16"],
        &["--epochs", "8", "--taught", "1", "--teachers", teachers, teachers],
    ];
    for (number, other) in flags.into_iter().enumerate() {
        let arguments = [&["--data", ".", "--batch-size", "16"], other].concat();
        let output = run(folder.path(), &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let weights = std::fs::read(folder.path().join(format!("runs/{}/weights.safetensors", number + 1))).unwrap();
        let training = Weights::from_bytes(&weights).unwrap().training;
        assert!(training.test_accuracy > 0.9, "{other:?} {training:?}");
    }
}

#[test]
fn the_best_recipe_learns_the_same_from_the_same_seed() {
    let folder = folder();
    let arguments = ["--data", ".", "--recipe", "best", "--batch-size", "16", "--epochs", "3"];
    let weights = |run: u32| std::fs::read(folder.path().join(format!("runs/{run}/weights.safetensors"))).unwrap();
    let output = run(folder.path(), &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    run(folder.path(), &arguments);
    assert!(weights(1) == weights(2), "bit for bit");
    let training = Weights::from_bytes(&weights(1)).unwrap().training;
    assert_eq!((training.recipe.as_str(), training.optimizer.as_str()), ("best", "sgd"));
    assert_eq!((training.learning_rate, training.epochs), (0.1, 3));
}

#[test]
fn held_out_digits_take_the_place_of_the_test_digits() {
    let folder = folder();
    let arguments = [
        "--data",
        ".",
        "--epochs",
        "1",
        "--holdout",
        "30",
        "--train-digits",
        "90",
    ];
    let output = run(folder.path(), &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("done: held-out accuracy"));
    let epoch = text(&output.stdout);
    assert!(epoch.contains("held-out loss") && !epoch.contains("test"), "{epoch}");
    let weights = std::fs::read(folder.path().join("runs/1/weights.safetensors")).unwrap();
    assert_eq!(Weights::from_bytes(&weights).unwrap().training.holdout, 30);
    let settings = std::fs::read(folder.path().join("runs/1/settings.json")).unwrap();
    let settings: serde_json::Value = serde_json::from_slice(&settings).unwrap();
    assert_eq!(
        (&settings["train_digits"], &settings["test_digits"]),
        (&90.into(), &30.into())
    );
    fails(
        folder.path(),
        &["--data", ".", "--holdout", "130"],
        1,
        "--holdout leaves 0 digits",
    );
}

#[test]
fn golden_logits_are_computed_anew() {
    let folder = folder();
    run(folder.path(), &["--data", ".", "--epochs", "1"]);
    let weights = "runs/1/weights.safetensors";
    let output = run(
        folder.path(),
        &[
            "golden",
            "--weights",
            weights,
            "--data",
            ".",
            "--output",
            "g",
            "--digits",
            "65",
        ],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let golden = |name: &str| Golden::from_bytes(&std::fs::read(folder.path().join(name)).unwrap()).unwrap();
    let (kept, anew) = (golden("runs/1/golden.safetensors"), golden("g"));
    assert_eq!(anew.digits.len(), 65);
    for (a, b) in anew.logits.iter().zip(&kept.logits) {
        assert!((a - b).abs() < 1e-4);
    }
}

#[test]
fn stress_holds_weights_against_each_other() {
    let folder = folder();
    run(folder.path(), &["--data", ".", "--epochs", "1"]);
    let weights = "runs/1/weights.safetensors";
    let arguments = [
        "stress",
        "--data",
        ".",
        "--weights",
        weights,
        "--weights",
        weights,
        "--strangers",
        ".",
    ];
    let output = run(folder.path(), &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains(&format!("| test digits | {weights} | {weights} |")),
        "{stdout}"
    );
    let no_strangers = [&arguments[..7], &["--strangers", "none"]].concat();
    fails(folder.path(), &no_strangers, 1, "--strangers none: ");
    let row = |name: &str| {
        let line = stdout
            .lines()
            .find(|line| line.starts_with(&format!("| {name} |")))
            .unwrap();
        line.split(" | ").map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("unaltered").len(), 3);
    assert_eq!(row("no digits")[1], "n");
    assert_eq!(row("noise")[1], "70", "as many as there are test digits");
    let strangers = row("pictures in .");
    assert!(
        strangers[2].starts_with("0.5000, "),
        "test digits are as sure as themselves: {strangers:?}"
    );
}

#[test]
fn seeds_are_those_of_one_training() {
    let folder = folder();
    for flags in [["--seed", "0"], ["--seed", "1"], ["--batch-size", "16"]] {
        let output = run(folder.path(), &[&["--data", ".", "--epochs", "1"], &flags[..]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let weights = |run: u32| format!("runs/{run}/weights.safetensors");
    let [first, second, other] = [1, 2, 3].map(weights);
    let names = |arguments: &[&str]| -> Vec<String> {
        let output = run(folder.path(), &[&["seeds", "--data", "."], arguments].concat());
        let stdout = text(&output.stdout);
        assert!(output.status.success() && !stdout.contains("NaN"), "{stdout}");
        let name = |line: &str| line.split(" | ").next().unwrap().trim_start_matches("| ").to_owned();
        stdout.lines().skip(2).map(name).collect()
    };
    let rows = ["0", "1", "mean", "deviation", "mean, five places", "all together"];
    assert_eq!(names(&[&first, &second]), rows);
    assert_eq!(names(&[&first]), ["0", "mean", "mean, five places", "all together"]);
    fails(folder.path(), &["seeds", &first, &first], 1, "both have seed 0");
    fails(folder.path(), &["seeds", &first, &other], 1, "batch size 16");
    let augmented = run(
        folder.path(),
        &["--data", ".", "--epochs", "1", "--seed", "1", "--augment", "on"],
    );
    assert!(augmented.status.success(), "{}", text(&augmented.stderr));
    fails(folder.path(), &["seeds", &first, &weights(4)], 1, "augment on");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_after_the_step_and_keeps_what_was_reached() {
    let folder = folder();
    let child = start(
        folder.path(),
        &["--data", ".", "--epochs", "10000", "--batch-size", "2"],
    );
    let weights = folder.path().join("runs/1/weights.safetensors");
    while !weights.exists() {
        std::thread::yield_now();
    }
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("whole epochs, go on with"));
    Weights::from_bytes(&std::fs::read(weights).unwrap()).unwrap();
    assert!(folder.path().join("runs/1/golden.safetensors").exists());
}

#[cfg(unix)]
#[test]
fn a_training_under_nohup_outlives_the_terminal() {
    let folder = folder();
    let mut child = Command::new("nohup")
        .arg(env!("CARGO_BIN_EXE_trainer"))
        .args(["--data", ".", "--epochs", "10000", "--batch-size", "2"])
        .env("OMP_NUM_THREADS", "1")
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let run = folder.path().join("runs/1");
    let wait_for_epochs = |child: &mut Child, n| {
        while trainer::metrics::read(&run).map_or(0, |rows| rows.len()) < n {
            assert!(child.try_wait().unwrap().is_none(), "the training ended");
            std::thread::yield_now();
        }
    };
    wait_for_epochs(&mut child, 1);
    signal(&child, "-HUP");
    wait_for_epochs(&mut child, 3);
    signal(&child, "-INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
}

#[test]
fn a_closed_stderr_ends_no_training() {
    let folder = folder();
    std::fs::write(
        folder.path().join("a.toml"),
        "[defaults]\nepochs = 1\n[[experiment]]\nname = \"a\"\n",
    )
    .unwrap();
    for arguments in [["--data", ".", "--epochs", "1"], ["study", "a.toml", "--data", "."]] {
        let mut child = start(folder.path(), &arguments);
        drop(child.stderr.take());
        assert!(child.wait_with_output().unwrap().status.success(), "{arguments:?}");
    }
}

/// No file may grow, as on a disk that is full.
#[cfg(unix)]
#[test]
fn a_full_stdout_is_a_failure() {
    let folder = folder();
    run(folder.path(), &["--data", ".", "--epochs", "1"]);
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\" > table", "sh"])
        .arg(env!("CARGO_BIN_EXE_trainer"))
        .args(["seeds", "--data", ".", "runs/1/weights.safetensors"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("cannot write to stdout"),
        "{}",
        text(&output.stderr)
    );
}

/// A tiny run killed in the middle and resumed ends with the bytes of one that was left alone.
#[cfg(unix)]
#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    let folder = folder();
    let arguments = [
        "--data",
        ".",
        "--threads",
        "1",
        "--batch-size",
        "8",
        "--epochs",
        "6",
        "--recipe",
        "best",
    ];
    assert!(run(folder.path(), &arguments).status.success());
    let mut child = start(folder.path(), &arguments);
    let checkpoint = folder.path().join("runs/2/checkpoint.safetensors");
    while !checkpoint.exists() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let resumed = run(folder.path(), &["--resume", "runs/2"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    same_run(&folder.path().join("runs/1"), &folder.path().join("runs/2"));
    let finished = run(folder.path(), &["--resume", "runs/2"]);
    assert!(text(&finished.stderr).contains("epochs 6, all of them behind"));

    let moved = folder.path().join("moved");
    std::fs::create_dir(&moved).unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap().flatten() {
        if entry.file_name().to_string_lossy().ends_with("ubyte") {
            std::fs::rename(entry.path(), moved.join(entry.file_name())).unwrap();
        }
    }
    fails(folder.path(), &["--resume", "runs/2"], 1, "run `make setup`");
    let resumed = run(folder.path(), &["--resume", "runs/2", "--data", "moved"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    for name in ["images-idx3-ubyte", "labels-idx1-ubyte"] {
        std::fs::copy(moved.join(format!("t10k-{name}")), moved.join(format!("train-{name}"))).unwrap();
    }
    let changed = ["--resume", "runs/2", "--data", "moved"];
    fails(
        folder.path(),
        &changed,
        1,
        "was begun on other digits than those in moved",
    );
    std::fs::remove_file(&checkpoint).unwrap();
    fails(folder.path(), &changed, 1, "a run without checkpoint.safetensors");

    fails(folder.path(), &["--resume", "runs/3"], 1, "runs/3 holds no run");
    fails(
        folder.path(),
        &["--resume", "runs/1", "--epochs", "7"],
        2,
        "cannot be used with",
    );
}

/// A study killed at several moments, and worked on by two processes at once, ends with the bytes of one left alone.
#[cfg(unix)]
#[test]
fn a_killed_study_goes_on_to_the_same_bytes() {
    let folder = folder();
    let study = "[defaults]\nepochs = 3\nbatch-size = 8\n\
        [[experiment]]\nname = \"a\"\noptimizer = [\"adam\", \"adamw\", \"sgd\", \"momentum\"]\n\
        [[experiment]]\nname = \"b\"\nlearning-rate = [0.001, 1e30]\noptimizer = \"sgd\"\n";
    std::fs::write(folder.path().join("study.toml"), study).unwrap();
    let arguments = |out| ["study", "study.toml", "--data", ".", "--threads", "1", "--out", out];
    let whole = run(folder.path(), &arguments("whole"));
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    assert!(text(&whole.stderr).contains("diverged"), "{}", text(&whole.stderr));

    for milliseconds in [150, 250, 400, 650] {
        let mut child = start(folder.path(), &arguments("killed"));
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let both = [0, 1].map(|_| start(folder.path(), &arguments("killed")));
    for child in both {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let runs: Vec<_> = std::fs::read_dir(folder.path().join("whole"))
        .unwrap()
        .flatten()
        .collect();
    let runs: Vec<_> = runs
        .iter()
        .map(|entry| entry.path())
        .filter(|path| path.join("lock").exists())
        .collect();
    assert_eq!(runs.len(), 5);
    for run in runs {
        same_run(&run, &folder.path().join("killed").join(run.file_name().unwrap()));
    }
    let page = std::fs::read_to_string(folder.path().join("killed/report.html")).unwrap();
    assert!(page.contains("diverges, its loss being no number from epoch 1"));
    for request in ["src=", "href=\"http", "@import", "url(http"] {
        assert!(!page.contains(request), "{request}");
    }
    let markdown = std::fs::read_to_string(folder.path().join("killed/report.md")).unwrap();
    assert!(markdown.contains("![a-curves](figures/a-curves.svg)"));
    assert!(folder.path().join("killed/figures/a-curves.svg").exists());
    fails(folder.path(), &["report", "."], 1, "no run in . is finished yet");
    fails(folder.path(), &["report", "nowhere"], 1, "is it the folder of a study?");
    let again = run(folder.path(), &arguments("killed"));
    assert!(
        text(&again.stderr).contains("5 runs in killed, of which 5 are finished"),
        "{}",
        text(&again.stderr)
    );
}

#[cfg(unix)]
#[test]
fn a_study_says_that_others_hold_its_runs_and_that_it_was_stopped() {
    let folder = folder();
    let study = "[defaults]\nepochs = 10000\nbatch-size = 2\n[[experiment]]\nname = \"a\"\n";
    std::fs::write(folder.path().join("a.toml"), study).unwrap();
    let arguments = ["study", "a.toml", "--data", ".", "--out", "a"];
    let first = start(folder.path(), &arguments);
    let run_folder = folder
        .path()
        .join("a/relu-residual-adam-lr0.001-batchsize2-epochs10000-seed0");
    while !run_folder.join("settings.json").exists() {
        std::thread::yield_now();
    }
    let second = run(folder.path(), &arguments);
    assert!(second.status.success(), "{}", text(&second.stderr));
    assert!(
        text(&second.stderr).contains("runs that other processes hold: 1"),
        "{}",
        text(&second.stderr)
    );
    signal(&first, "-INT");
    let first = first.wait_with_output().unwrap();
    assert_eq!(first.status.code(), Some(130));
    assert!(
        text(&first.stderr).contains("stopped, the same command goes on"),
        "{}",
        text(&first.stderr)
    );
}

#[test]
fn a_study_is_a_table_that_holds_all_against_the_first() {
    let folder = folder();
    let study = "[defaults]\nepochs = 1\nseed = [0, 1]\n[[experiment]]\nname = \"the-reference\"\n\
        [[experiment]]\nname = \"a\"\nbatch-size = [16, 64]\n[[experiment]]\nname = \"no-residual\"\nresidual = \"off\"\n";
    std::fs::write(folder.path().join("parts.toml"), study).unwrap();
    let trained = run(folder.path(), &["study", "parts.toml", "--data", ".", "--out", "parts"]);
    assert!(trained.status.success(), "{}", text(&trained.stderr));
    let output = run(folder.path(), &["report", "parts", "--table"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    let cells = |line: &str| -> Vec<String> { line.split('|').map(|cell| cell.trim().to_owned()).collect() };
    let rows: Vec<_> = table.lines().skip(2).take(3).map(cells).collect();
    let names: Vec<_> = rows.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(names, ["the reference", "batch-size 16", "no residual"], "{table}");

    let loss = |name: &str, seed: u64| {
        let run = folder.path().join(format!("parts/relu-{name}-epochs1-seed{seed}"));
        trainer::metrics::read(&run).unwrap()[0].test_loss
    };
    let difference = |seed| loss("plain-adam-lr0.001", seed) - loss("residual-adam-lr0.001", seed);
    let mean = f64::midpoint(difference(0), difference(1));
    assert!(rows[2][6].starts_with(&format!("{mean:+.4} ± ")), "{table}");
    assert_eq!((rows[0][4].as_str(), rows[0][6].as_str()), ("", ""));

    std::fs::write(folder.path().join("a.md"), "<!-- parts:start -->\n<!-- parts:end -->\n").unwrap();
    run(folder.path(), &["report", "parts", "--table", "--into", "a.md"]);
    assert!(
        std::fs::read_to_string(folder.path().join("a.md"))
            .unwrap()
            .contains(table.trim())
    );
}

#[test]
fn a_report_says_what_its_figures_are_of() {
    let folder = folder();
    let study = "[defaults]\nepochs = 1\nholdout = 30\n[[experiment]]\nname = \"a\"\nbatch-size = [16, 64]\n";
    std::fs::write(folder.path().join("a.toml"), study).unwrap();
    std::fs::create_dir(folder.path().join("docs")).unwrap();
    let document = |text: &str| std::fs::write(folder.path().join("docs/a.md"), text).unwrap();
    document("");
    let trained = run(folder.path(), &["study", "a.toml", "--data", ".", "--out", "a"]);
    assert!(trained.status.success(), "{}", text(&trained.stderr));
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let page = read("a/report.md");
    assert!(
        page.contains("held-out digits are taken after the epoch. One seed has no spread"),
        "{page}"
    );
    assert!(!page.contains("Nothing was chosen"), "{page}");

    let arguments = ["report", "a", "--out", "docs/out", "--into", "docs/a.md"];
    fails(folder.path(), &arguments, 1, "the marker <!-- a:start --> is missing");
    assert!(
        folder.path().join("docs/out/report.html").exists(),
        "all that belongs to the report is there"
    );
    document("<!-- a:start -->\n<!-- a:end -->\n");
    assert!(run(folder.path(), &arguments).status.success());
    assert!(
        read("docs/a.md").contains("](out/figures/a-curves.svg)"),
        "{}",
        read("docs/a.md")
    );
}

/// Every file but the times in the metrics.
#[track_caller]
fn same_run(one: &Path, other: &Path) {
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(one), names(other));
    for name in ["weights", "golden", "checkpoint"].map(|name| format!("{name}.safetensors")) {
        let bytes = [one, other].map(|folder| std::fs::read(folder.join(&name)).ok());
        assert!(
            bytes[0] == bytes[1],
            "{name} in {} and {}",
            one.display(),
            other.display()
        );
    }
    let metrics = |folder: &Path| {
        let mut rows = trainer::metrics::read(folder).unwrap();
        for row in &mut rows {
            (row.train_seconds, row.test_seconds, row.unix_seconds) = (0.0, 0.0, 0.0);
        }
        String::from_utf8(trainer::metrics::json_lines(&rows).unwrap()).unwrap()
    };
    assert_eq!(metrics(one), metrics(other));
}

/// What the Python package `tensorboard` reads is what stands in the metrics.
#[test]
fn tensorboard_reads_the_metrics() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let packages = root.join(".deps/python");
    if !packages.join("tensorboard").is_dir() {
        let required = std::env::var_os("THREEBLOCK_REQUIRE_ORT").is_some();
        assert!(!required, "the Python package tensorboard is missing: run make setup");
        return println!("skipped: the Python package tensorboard is missing, run make setup");
    }
    let folder = folder();
    run(folder.path(), &["--data", ".", "--epochs", "2"]);
    let output = Command::new("python3")
        .args([
            "trainer/tests/read_events.py".as_ref(),
            folder.path().join("runs/1").as_os_str(),
        ])
        .env("PYTHONPATH", &packages)
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let read: std::collections::BTreeMap<String, Vec<(i64, f64)>> = serde_json::from_slice(&output.stdout).unwrap();
    let rows = trainer::metrics::read(&folder.path().join("runs/1")).unwrap();
    assert_eq!((rows.len(), read.len()), (2, rows[0].scalars().len()));
    for row in &rows {
        for (name, value) in row.scalars() {
            let (step, found) = read[&name.replacen('_', "/", 1)][row.epoch as usize - 1];
            assert_eq!((step, found as f32), (row.epoch.into(), value as f32), "{name}");
        }
    }
}

#[test]
fn a_diverged_training_says_so() {
    let folder = folder();
    let arguments = [
        "--data",
        ".",
        "--learning-rate",
        "1e30",
        "--optimizer",
        "sgd",
        "--epochs",
        "1",
    ];
    fails(folder.path(), &arguments, 1, "the training diverged");
    assert!(folder.path().join("runs/1/metrics.csv").exists());
}

#[test]
fn mistakes_are_answered_clearly() {
    let folder = folder();
    fails(folder.path(), &[], 1, "run `make setup`");
    fails(
        folder.path(),
        &["--learning-rate", "NaN"],
        2,
        "expected a number over 0",
    );
    fails(folder.path(), &["--epochs", "0"], 2, "--epochs");
    fails(
        folder.path(),
        &["--activation", "gelu"],
        2,
        "possible values: relu, sigmoid, tanh",
    );
    fails(folder.path(), &["golden", "--weights", "none"], 1, "cannot read none");
    fails(
        folder.path(),
        &["golden", "--weights", "none", "--digits", "0"],
        2,
        "0 is not in 64..",
    );
    fails(folder.path(), &["stress"], 2, "--weights");
    fails(
        folder.path(),
        &["--recipe", "worst"],
        2,
        "possible values: published, best",
    );
    fails(folder.path(), &["--average", "1"], 2, "from 0 to under 1");
    fails(
        folder.path(),
        &["golden", "--weights", "t10k-labels-idx1-ubyte"],
        1,
        "not a safetensors file",
    );
    fails(
        folder.path(),
        &["--data", ".", "--teachers", "none"],
        1,
        "cannot read none",
    );
    if Backend::Native.resolve(Device::Cpu, Precision::Bf16).is_err() {
        fails(
            folder.path(),
            &["--data", ".", "--backend", "native", "--precision", "bf16"],
            1,
            "use --backend libtorch",
        );
    }
    assert!(!folder.path().join("runs").exists(), "no run was begun");
    if !tch::Cuda::is_available() {
        fails(
            folder.path(),
            &["--data", ".", "--device", "cuda"],
            1,
            "finds no CUDA device",
        );
    }
}

#[test]
fn help() {
    let output = run(Path::new("."), &["--help"]);
    insta::assert_snapshot!(text(&output.stdout));
}
