//! The command as a user runs it.

use std::io::{BufRead, BufReader, Cursor};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use image::{GrayImage, ImageFormat, imageops};
use infer::REJECT;
use infer::engine::EngineKind;
use models::GOLDEN;
use models::golden::Golden;
use serde_json::Value;
use tempfile::TempDir;

use crate::{is_here, skipped};

/// The program.
pub const INFER: &str = env!("CARGO_BIN_EXE_infer");

/// A picture of `digit`.
pub fn sample(digit: u8) -> PathBuf {
    samples().join(format!("{digit}.png"))
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/samples")
}

pub fn infer<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    Command::new(INFER).args(args).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[track_caller]
pub fn check(output: &Output, code: i32, said: &str) {
    let text = format!("{}{}", stdout(output), stderr(output));
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(said), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// A picture without ink.
pub fn blank() -> Vec<u8> {
    [b"P5 28 28 255\n".as_slice(), &[255; 28 * 28]].concat()
}

#[test]
fn help_reads_well() {
    for command in ["", "classify", "eval", "info", "verify", "serve", "doctor"] {
        let args = [command, "--help"].into_iter().filter(|arg| !arg.is_empty());
        let name = if command.is_empty() { "infer" } else { command };
        let output = Command::new(INFER).args(args).env("COLUMNS", "100").output().unwrap();
        insta::assert_snapshot!(format!("help-{name}"), stdout(&output));
    }
}

#[test]
fn usage_errors_exit_with_2() {
    check(&infer(["classify"]), 2, "<FILE>");
    check(&infer(["classify", "--engine", "steam", "x.png"]), 2, "tract");
    check(&infer(["eval", "--threads", "0"]), 2, "--threads");
    for number in ["nan", "inf", "-inf", "much"] {
        for command in ["classify", "eval", "serve"] {
            let output = infer([command, &format!("--reject={number}")]);
            check(&output, 2, "a finite number is wanted");
        }
    }
    let kernels = ["classify", "--engine", "tract", "--kernels", "plain", "x.png"];
    check(&infer(kernels), 2, "--kernels are those of the native engine");
    check(&infer(["eval", "--misread", "sheet.jpg"]), 2, "must end in .png");
    check(&infer(["eval", "--reject", "3"]), 2, "--folder");
}

#[test]
fn classifies_a_folder_in_order() {
    let output = infer([Path::new("classify"), &samples()]);
    check(&output, 0, "top three");
    let digits: Vec<_> = stdout(&output)
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().nth(1).unwrap())
        .collect();
    assert_eq!(digits, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn prints_json_lines() {
    let output = infer(["classify".into(), "--format=json".into(), sample(3), sample(8)]);
    check(&output, 0, "");
    for (line, digit) in stdout(&output).lines().zip([3, 8]) {
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["digit"], digit);
        assert_eq!(row["file"], sample(digit).display().to_string());
        let probabilities: Vec<f64> = serde_json::from_value(row["probabilities"].clone()).unwrap();
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5);
        assert_eq!(row["confidence"], row["probabilities"][usize::from(digit)]);
    }
}

#[test]
fn prints_csv() {
    let picture = std::fs::read(sample(4)).unwrap();
    let folder = folder(&[("a, \"b\".png", &picture)]);
    let output = infer([Path::new("classify"), Path::new("--format=csv"), folder.path()]);
    let mut reader = csv::Reader::from_reader(&output.stdout[..]);
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 1);
    assert!(rows[0][0].ends_with("a, \"b\".png") && &rows[0][1] == "4" && rows[0].len() == 20);
    assert_eq!(&reader.headers().unwrap()[4], "evidence");
    assert!(rows[0][4].parse::<f32>().unwrap() > REJECT);
}

#[test]
fn shows_what_the_network_sees() {
    let output = infer(["classify".into(), "--show".into(), sample(1)]);
    check(&output, 0, "@@");
    assert_eq!(stdout(&output).lines().count(), 2 + 28);
}

#[test]
fn reads_standard_input() {
    let mut command = Command::new(INFER);
    let output = command
        .args(["classify", "-"])
        .stdin(std::fs::File::open(sample(5)).unwrap())
        .output()
        .unwrap();
    check(&output, 0, "-         5");
}

#[test]
fn answers_the_good_files_among_bad_ones() {
    let bad = folder(&[("broken.png", b"\x89PNG\r\n\x1a\nno"), ("blank.pgm", &blank())]);
    let files = [
        sample(2),
        bad.path().join("broken.png"),
        bad.path().join("blank.pgm"),
        bad.path().join("none.png"),
    ];
    let output = infer([PathBuf::from("classify")].iter().chain(&files));
    check(&output, 1, "  2  ");
    check(&output, 1, "-  no digit found: the picture is blank");
    let errors: Vec<_> = stderr(&output).lines().collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    for (error, problem) in errors.iter().zip(["not a readable picture", "No such file"]) {
        assert!(error.starts_with("error: ") && error.contains(problem), "{error}");
    }
}

#[test]
fn an_unreadable_file_has_a_row_like_every_other() {
    let bad = folder(&[("broken.png", b"\x89PNG\r\n\x1a\nno")]);
    let empty = bad.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let files = [
        bad.path().join("broken.png"),
        sample(2),
        bad.path().join("none.png"),
        empty,
    ];
    let classify = |format: &str| {
        infer(
            [Path::new("classify"), Path::new(format)]
                .into_iter()
                .chain(files.iter().map(PathBuf::as_path)),
        )
    };

    let json = classify("--format=json");
    check(&json, 1, "not a readable picture");
    let rows: Vec<Value> = stdout(&json)
        .lines()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect();
    let named: Vec<_> = rows.iter().map(|row| row["file"].as_str().unwrap()).collect();
    assert_eq!(named, files.each_ref().map(|file| file.to_str().unwrap()));
    assert!(rows[0]["error"].as_str().unwrap().starts_with("not a readable picture"));
    assert!(rows[2]["error"].as_str().unwrap().contains("No such file"));
    let error = "no pictures in this folder, where links to folders are not followed";
    assert_eq!(rows[3]["error"], error);
    assert!(rows[1].get("error").is_none() && rows[0].get("text").is_none());

    let csv = classify("--format=csv");
    check(&csv, 1, "not a readable picture");
    let mut reader = csv::Reader::from_reader(&csv.stdout[..]);
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let read: Vec<_> = rows.iter().map(|row| (&row[1], row[19].is_empty())).collect();
    assert_eq!(read, [("", false), ("2", true), ("", false), ("", false)]);
}

#[test]
fn a_truncated_picture_is_told_on_one_line() {
    let whole = encoded(&GrayImage::new(200, 200), ImageFormat::Jpeg);
    let folder = folder(&[("broken.jpg", &whole[..100])]);
    let classify = |format: &str| infer([Path::new("classify"), Path::new(format), folder.path()]);
    let text = classify("--format=text");
    check(&text, 1, "not a readable picture");
    assert_eq!((stdout(&text), stderr(&text).lines().count()), ("", 1));
    let json: Value = serde_json::from_slice(&classify("--format=json").stdout).unwrap();
    let error = json["error"].as_str().unwrap();
    assert_eq!(error, error.trim());
    assert_eq!(stdout(&classify("--format=csv")).lines().count(), 2);
}

#[test]
#[cfg(unix)]
fn a_folder_is_read_as_far_as_it_can_be() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::copy(sample(3), closed.join("3.png")).unwrap();
    std::fs::copy(sample(4), folder.path().join("d.png")).unwrap();
    symlink("gone", folder.path().join("e.png")).unwrap();
    let classify = || infer([Path::new("classify"), folder.path()]);
    check(&classify(), 1, "d.png  ");
    check(&classify(), 1, "e.png: No such file");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o000)).unwrap();
    if std::fs::read_dir(&closed).is_ok() {
        return skipped("a folder without permissions: root reads it");
    }
    check(&classify(), 1, "d.png  ");
    check(&classify(), 1, "closed: Permission denied");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn a_blank_picture_exits_with_3() {
    let folder = folder(&[("blank.pgm", &blank())]);
    check(&infer([Path::new("classify"), folder.path()]), 3, "no digit found");
}

/// `20` above `7`, from the samples.
pub fn page() -> Vec<u8> {
    let mut page = GrayImage::from_pixel(400, 400, image::Luma([255]));
    for (digit, x, y) in [(2, 40, 30), (0, 200, 40), (7, 50, 220)] {
        paste(&mut page, digit, x, y);
    }
    encoded(&page, ImageFormat::Png)
}

/// A large cross, which is refused, and a smaller 7 on its right.
pub fn cross_and_seven() -> Vec<u8> {
    let mut page = GrayImage::from_pixel(700, 300, image::Luma([255]));
    let dot = GrayImage::new(18, 18);
    for step in 0..220 {
        imageops::replace(&mut page, &dot, 30 + step, 30 + step);
        imageops::replace(&mut page, &dot, 250 - step, 30 + step);
    }
    paste(&mut page, 7, 420, 90);
    encoded(&page, ImageFormat::Png)
}

fn paste(page: &mut GrayImage, digit: u8, x: i64, y: i64) {
    let one = image::open(sample(digit)).unwrap().into_luma8();
    let one = imageops::resize(&one, 140, 140, imageops::FilterType::Triangle);
    imageops::replace(page, &one, x, y);
}

fn encoded(picture: &GrayImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn what_is_refused_beside_a_digit_is_told_and_hides_none() {
    let folder = folder(&[("page.png", &cross_and_seven())]);
    let classify = |flags: &[&str]| {
        let flags = ["classify"].iter().chain(flags).map(Path::new);
        infer(flags.chain([folder.path()]))
    };
    let json = |flags: &[&str]| -> Value { serde_json::from_slice(&classify(flags).stdout).unwrap() };
    check(&classify(&[]), 0, "page.png  ?7\n");
    let all = json(&["--format=json"]);
    assert_eq!((&all["text"], &all["digit"]), (&Value::from("?7"), &Value::from(7)));
    assert_eq!(all["refused"].as_array().map(Vec::len), Some(1));
    check(&classify(&["--single"]), 0, "page.png      7  ");
    assert_eq!(json(&["--single", "--format=json"])["text"], "7");
}

#[test]
fn reads_several_digits_line_by_line() {
    let folder = folder(&[("page.png", &page())]);
    let page = folder.path().join("page.png");
    let classify = |flags: &[&str]| {
        let flags = ["classify"].iter().chain(flags).map(Path::new);
        infer(flags.chain([page.as_path()]))
    };
    check(&classify(&[]), 0, "20  7");
    let json = |flags: &[&str]| -> Value { serde_json::from_slice(&classify(flags).stdout).unwrap() };
    let several = json(&["--format=json"]);
    assert_eq!(several["text"], "20\n7");
    assert!(several["reason"].is_null() && several.get("digit").is_none());
    let boxes: Vec<_> = several["digits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|digit| &digit["box"])
        .collect();
    assert!(boxes[0]["left"].as_u64() < boxes[1]["left"].as_u64(), "{boxes:?}");
    assert!(boxes[2]["top"].as_u64() > Some(200), "{boxes:?}");
    assert_eq!(
        json(&["--format=json", "--single"])["digits"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn refuses_what_has_too_little_evidence() {
    let output = infer([
        "classify".into(),
        "--reject=1000".into(),
        "--format=json".into(),
        sample(3),
    ]);
    check(&output, 3, "1000.00 is asked for");
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (row["text"].as_str(), row["digits"].as_array().map(Vec::len)),
        (Some(""), Some(0))
    );
}

#[test]
fn annotates_and_saves_every_step() {
    let folder = folder(&[("page.png", &page())]);
    let (picture, copy, steps) = (
        folder.path().join("page.png"),
        folder.path().join("copy.png"),
        folder.path().join("steps"),
    );
    let flags = [Path::new("--annotate"), &copy, Path::new("--debug-dir"), &steps];
    let classify = |files: &[&Path]| infer([Path::new("classify")].iter().chain(&flags).chain(files));
    check(&classify(&[&picture]), 0, "20  7");
    let annotated = image::open(&copy).unwrap().into_rgb8();
    let red = |pixel: &&image::Rgb<u8>| pixel.0[0] > 200 && pixel.0[1] < 100;
    assert!(annotated.pixels().filter(red).count() > 500);
    let saved = steps.join(picture.strip_prefix("/").unwrap_or(&picture));
    let names = || {
        let entries = std::fs::read_dir(&saved).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names().first().unwrap(), "01-grey.png");
    let of_three = names().len();
    std::fs::copy(sample(7), &picture).unwrap();
    check(&classify(&[&picture]), 0, "7");
    assert_eq!(names().len(), of_three - 2);
    let not_a_folder = [Path::new("classify"), Path::new("--debug-dir"), &picture, &picture];
    check(&infer(not_a_folder), 1, "--debug-dir");
}

#[test]
fn annotates_what_can_be_read_only_once() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.png");
    let output = Command::new(INFER)
        .args(["classify", "-", "--annotate"])
        .arg(&copy)
        .stdin(std::fs::File::open(sample(7)).unwrap())
        .output()
        .unwrap();
    check(&output, 0, "-         7");
    assert_eq!(
        image::image_dimensions(copy).unwrap(),
        image::image_dimensions(sample(7)).unwrap()
    );
}

#[test]
fn an_annotated_copy_is_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("digit.png");
    std::fs::copy(sample(7), &picture).unwrap();
    let respelt = folder.path().join(".").join("digit.png");
    let other = folder.path().join("copy.jpg");
    let annotate = |files: &[&Path], copy: &Path| {
        let flags = [Path::new("classify"), Path::new("--annotate"), copy];
        infer(flags.iter().chain(files))
    };
    check(&annotate(&[&picture], &picture), 2, "would overwrite the picture");
    check(&annotate(&[&respelt], &picture), 2, "would overwrite the picture");
    check(&annotate(&[&picture], &other), 2, "must end in .png");
    let copy = folder.path().join("copy.PNG");
    check(
        &annotate(&[&picture, &picture], &copy),
        2,
        "--annotate takes one picture",
    );
    check(&annotate(&[folder.path()], &copy), 2, "no folder");
    check(&annotate(&[&picture], &copy), 0, "7");
    assert_eq!(std::fs::read(picture).unwrap(), std::fs::read(sample(7)).unwrap());
}

#[test]
fn the_steps_of_files_with_one_name_stay_apart() {
    let folder = tempfile::tempdir().unwrap();
    for (name, digit) in [("a", 3), ("b", 4)] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::copy(sample(digit), folder.path().join(name).join("digit.png")).unwrap();
    }
    let mut command = Command::new(INFER);
    command
        .current_dir(&folder)
        .args(["classify", "--debug-dir", "steps", "a", "b"]);
    check(&command.output().unwrap(), 0, "4");
    let steps = |name: &str| folder.path().join("steps").join(name).join("digit.png/01-grey.png");
    assert_ne!(std::fs::read(steps("a")).unwrap(), std::fs::read(steps("b")).unwrap());
}

#[test]
fn saved_steps_are_not_read_again() {
    let folder = folder(&[("page.png", &page())]);
    let steps = folder.path().join("steps");
    for _ in 0..2 {
        let [classify, json, debug_dir] = ["classify", "--format=json", "--debug-dir"].map(Path::new);
        let output = infer([classify, json, folder.path(), debug_dir, &steps]);
        check(&output, 0, "page.png");
        assert_eq!(stdout(&output).lines().count(), 1);
    }
    let [classify, debug_dir] = ["classify", "--debug-dir"].map(Path::new);
    let output = infer([classify, folder.path(), debug_dir, folder.path()]);
    check(&output, 2, "--debug-dir is the folder that is read");
}

#[test]
fn many_pictures_are_summed_up() {
    let folder = folder(&[("a.pgm", &blank()), ("b.png", b"")]);
    let files = ["a.pgm", "b.png"].map(|name| folder.path().join(name)).into_iter();
    let files = files.chain(vec![sample(6); 98]);
    let output = infer(
        [PathBuf::from("classify"), "--format=csv".into()]
            .into_iter()
            .chain(files),
    );
    check(&output, 1, "100 pictures, 1 of them without a digit, 1 unreadable");
    check(&output, 1, "b.png: the file is empty");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_told_of() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(INFER);
    let output = command.arg("classify").arg(sample(3)).stdout(full).output().unwrap();
    check(&output, 1, "error: standard output: No space left on device");
}

#[test]
fn an_empty_folder_is_an_error() {
    let folder = folder(&[("notes.txt", b"no picture")]);
    check(
        &infer([Path::new("classify"), folder.path()]),
        1,
        "no pictures in this folder",
    );
}

#[test]
fn a_closed_pipe_is_success() {
    let mut command = Command::new(INFER);
    command
        .arg("classify")
        .args(vec![sample(6); 2000])
        .args(["--format", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    check(&output, 0, "");
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_model_must_be_a_model_file() {
    let folder = folder(&[("text.onnx", b"no model")]);
    let model = |path: &Path| infer([Path::new("info"), Path::new("--model"), path]);
    check(&model(&folder.path().join("text.onnx")), 1, "it is not an ONNX file");
    check(&model(&folder.path().join("none.onnx")), 1, "No such file");
    check(&model(folder.path()), 1, "not a file");
    #[cfg(unix)]
    {
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        check(&model(&pipe), 1, "not a file");
    }
}

#[test]
fn info_says_what_the_file_says() {
    let output = infer(["info"]);
    check(&output, 0, "contract      version 1");
    check(&output, 0, "input         input float32 [batch, 1, 28, 28]");
}

/// The golden digits as MNIST's test set.
fn golden_as_mnist() -> TempDir {
    let golden = Golden::from_bytes(GOLDEN).unwrap();
    let n = golden.digits.len() as u32;
    let header = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let mut images = header(&[0x803, n, 28, 28]);
    images.extend(golden.digits.iter().flat_map(|digit| digit.0));
    let labels = [header(&[0x801, n]), golden.labels].concat();
    folder(&[("t10k-images-idx3-ubyte", &images), ("t10k-labels-idx1-ubyte", &labels)])
}

#[test]
fn evaluates_in_every_format() {
    let data = golden_as_mnist();
    let eval = |format: &str| {
        let args = ["eval", "--format", format, "--data"].map(Path::new);
        infer(args.into_iter().chain([data.path()]))
    };
    check(&eval("text"), 0, "95 % interval");
    check(&eval("csv"), 0, "digit,n,accuracy");
    let json: Value = serde_json::from_slice(&eval("json").stdout).unwrap();
    assert!(json["accuracy"].as_f64().unwrap() > 0.95, "{json}");
    check(&infer(["eval", "--data", "no/such/folder"]), 1, "run `make setup`");
}

#[test]
fn evaluates_a_folder() {
    let pictures = folder(&[
        ("labels.csv", b"path,label\na.png,4\nb.png,20\nc.pgm,none\n"),
        ("b.png", &page()),
        ("c.pgm", &blank()),
    ]);
    std::fs::copy(sample(4), pictures.path().join("a.png")).unwrap();
    let eval = |format: &str| {
        let args = ["eval", "--format", format, "--folder"].map(Path::new);
        infer(args.into_iter().chain([pictures.path()]))
    };
    check(&eval("text"), 0, "1 of 2 read right, 1 wrong, 0 refused");
    check(&eval("text"), 0, "      20       207  ");
    check(&eval("csv"), 0, "b.png,20,207,");
    let json: Value = serde_json::from_slice(&eval("json").stdout).unwrap();
    assert_eq!(json["at_reject"]["none_refused"], 1);
    assert_eq!(json["misread"][0]["text"], "207");
    let nowhere = pictures.path().join("nowhere");
    check(
        &infer([Path::new("eval"), Path::new("--folder"), &nowhere]),
        1,
        "nowhere: No such file",
    );
    let empty = folder(&[]);
    check(
        &infer([Path::new("eval"), Path::new("--folder"), empty.path()]),
        1,
        "no labelled pictures",
    );
}

#[test]
fn an_evaluation_tells_of_what_it_cannot_read() {
    let labels = b"path,label\na.png,4\nb.png,5\nc.png,none\n";
    let pictures = folder(&[("labels.csv", labels), ("b.png", b""), ("c.png", b"")]);
    std::fs::copy(sample(4), pictures.path().join("a.png")).unwrap();
    let eval = |format: &str| {
        infer([
            Path::new("eval"),
            Path::new(format),
            Path::new("--folder"),
            pictures.path(),
        ])
    };
    let text = eval("--format=text");
    for said in [
        "1 of 2 read right, 0 wrong, 1 refused",
        "unreadable  2, of which",
        "b.png: the file is empty",
    ] {
        check(&text, 1, said);
    }
    assert!(
        !stdout(&text).contains("no digit  "),
        "what was not read was not refused"
    );
    check(&eval("--format=csv"), 1, "b.png,5,,-inf,0,the file is empty");
}

/// Larger than any memory; classify refuses it too.
#[test]
fn no_more_of_a_picture_is_read_than_is_decoded() {
    let pictures = folder(&[("labels.csv", b"path,label\nhuge.png,4\n")]);
    let huge = std::fs::File::create(pictures.path().join("huge.png")).unwrap();
    huge.set_len(1 << 42).unwrap();
    let output = infer([Path::new("eval"), Path::new("--folder"), pictures.path()]);
    check(&output, 1, "0 of 1 read right, 0 wrong, 1 refused");
    check(&output, 1, "huge.png: the picture is too large");
    check(&infer([Path::new("classify"), pictures.path()]), 1, "too large");
}

#[test]
fn verifies_every_engine() {
    let output = infer(["verify"]);
    check(&output, 0, "tract  equal");
    check(
        &output,
        0,
        if is_here(EngineKind::Ort) {
            "ort    equal"
        } else {
            "ort    missing"
        },
    );
}

#[test]
fn verifies_int8_by_its_digits() {
    let output = infer(["verify", "--int8", "--engine", "native"]);
    check(&output, 0, "native alike");
    let mut golden = Golden::from_bytes(GOLDEN).unwrap();
    golden.logits[..10].rotate_left(1);
    let folder = folder(&[("off.safetensors", &golden.to_bytes())]);
    let off = folder.path().join("off.safetensors");
    let args = ["verify", "--int8", "--engine", "native", "--golden"].map(Path::new);
    check(&infer(args.into_iter().chain([off.as_path()])), 1, "native DIFFERS");
}

#[test]
fn verify_tells_other_logits_and_other_weights() {
    let mut golden = Golden::from_bytes(GOLDEN).unwrap();
    golden.logits[0] += 0.001;
    let folder = folder(&[("off.safetensors", &golden.to_bytes())]);
    let verify = |name: &str| infer([Path::new("verify"), Path::new("--golden"), &folder.path().join(name)]);
    check(&verify("off.safetensors"), 1, "tract  DIFFERS");
    golden.weights_sha256 = "0".repeat(64);
    std::fs::write(folder.path().join("other.safetensors"), golden.to_bytes()).unwrap();
    check(&verify("other.safetensors"), 1, "belong to different weights");
}

#[test]
fn says_what_is_wrong_with_onnx_runtime() {
    let folder = folder(&[("text.so", b"no library")]);
    for library in [Path::new("/nonexistent"), &folder.path().join("text.so"), folder.path()] {
        let infer = |args: &[&str]| {
            let mut command = Command::new(INFER);
            command.args(args).arg(sample(0)).env("ORT_DYLIB_PATH", library);
            command.output().unwrap()
        };
        let output = infer(&["classify", "--engine", "ort"]);
        check(&output, 1, "error: ONNX Runtime cannot be used");
        check(&output, 1, "run `make setup`");
        check(&infer(&["classify", "--engine", "tract"]), 0, "");
    }
    let verify = Command::new(INFER)
        .arg("verify")
        .env("ORT_DYLIB_PATH", "/nonexistent")
        .output()
        .unwrap();
    check(&verify, 0, "ort    missing");
}

#[test]
fn the_doctor_finds_the_built_in_engine() {
    check(&infer(["doctor"]), 0, "tract  ok");
}

#[test]
fn telemetry_is_off_whatever_the_environment_says() {
    if !is_here(EngineKind::Ort) {
        return;
    }
    let mut command = Command::new(INFER);
    command
        .args(["classify", "--engine", "ort"])
        .arg(sample(9))
        .env_remove("ORT_DISABLE_TELEMETRY");
    check(&command.output().unwrap(), 0, "  9  ");
}
