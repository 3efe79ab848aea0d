//! Glue to ONNX Runtime: finds and loads the library once a process, with its telemetry off.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Mutex;
use std::{env, fs};

use models::SIDE;
use models::onnx::{InputKind, Model};
use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::value::TensorRef;

use super::{Engine, EngineError, EngineKind, bytes, count};

/// ONNX Runtime sends telemetry unless this is 1 before the library is loaded.
const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

/// A session.
pub struct Ort {
    session: Session,
    input: InputKind,
    input_name: String,
    logits_name: String,
}

/// Product, version or commit, and where the library was looked for.
pub fn version() -> Result<String, EngineError> {
    environment()?;
    // Only a build from a release branch says its version here; the call that always does is unsafe.
    let version = build_info("git-branch=rel-").or(build_info("git-commit-id="));
    Ok(format!(
        "ONNX Runtime {} from {}",
        version.unwrap_or("of unknown version"),
        library().display()
    ))
}

fn build_info(key: &str) -> Option<&'static str> {
    let (_, rest) = ort::info().split_once(key)?;
    rest.split([',', ' ']).next()
}

/// Makes sure that ONNX Runtime will be loaded with its telemetry off, by the variable `ORT_DISABLE_TELEMETRY`.
///
/// Opening an engine does this too. A program that starts threads of its own calls it first thing in `main`, or is
/// started with the variable set: a variable cannot safely be set while other threads run.
///
/// # Errors
/// When the variable is not set and cannot be.
pub fn disable_telemetry() -> Result<(), EngineError> {
    if env::var_os(NO_TELEMETRY).is_some_and(|value| value == "1") {
        return Ok(());
    }
    if !is_single_threaded() {
        return Err(EngineError::Telemetry);
    }
    // SAFETY: no other thread exists that could read the environment at the same time.
    #[allow(unsafe_code)]
    unsafe {
        env::set_var(NO_TELEMETRY, "1");
    }
    Ok(())
}

/// Whether this is certainly the only thread of the process.
fn is_single_threaded() -> bool {
    // Setting a variable is always safe on Windows; elsewhere only Linux can tell.
    cfg!(windows) || fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

impl Ort {
    /// Starts a session for `model`, whose bytes are `onnx`.
    pub fn new(model: &Model, onnx: &[u8], threads: usize) -> Result<Ort, EngineError> {
        let environment = environment()?;
        let session = session(&environment, onnx, threads).map_err(|error| EngineError::Load {
            engine: EngineKind::Ort,
            problem: error.to_string(),
        })?;
        Ok(Ort {
            session,
            input: model.input,
            input_name: model.input_name.clone(),
            logits_name: model.logits_name.clone(),
        })
    }

    fn try_run(&mut self, digits: &[f32], logits: &mut [f32]) -> Result<(), String> {
        let n = count(digits, logits);
        let raw;
        let input = match self.input {
            InputKind::Float32 => {
                TensorRef::from_array_view(([n, 1, SIDE, SIDE], digits)).map(|tensor| tensor.into_dyn())
            }
            InputKind::Uint8 => {
                raw = bytes(digits);
                TensorRef::from_array_view(([n, SIDE, SIDE], &raw[..])).map(|tensor| tensor.into_dyn())
            }
        };
        let inputs = ort::inputs![self.input_name.as_str() => input.map_err(text)?];
        let outputs = self.session.run(inputs).map_err(text)?;
        let (shape, output) = outputs[self.logits_name.as_str()]
            .try_extract_tensor::<f32>()
            .map_err(text)?;
        if output.len() != logits.len() {
            return Err(format!("its output has shape {shape}"));
        }
        logits.copy_from_slice(output);
        Ok(())
    }
}

impl Engine for Ort {
    fn run(&mut self, digits: &[f32], logits: &mut [f32]) -> Result<(), EngineError> {
        self.try_run(digits, logits).map_err(|problem| EngineError::Run {
            engine: EngineKind::Ort,
            problem,
        })
    }
}

fn text(error: ort::Error) -> String {
    error.to_string()
}

/// Threads that wait do not spin: the machine is shared.
fn session(environment: &Environment, onnx: &[u8], threads: usize) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_intra_threads(threads)?
        .with_intra_op_spinning(false)?
        .commit_from_memory(onnx)
}

/// The environment; a process can make only one.
fn environment() -> Result<Environment, EngineError> {
    static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);
    let mut slot = ENVIRONMENT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(environment) = &*slot {
        return Ok(environment.clone());
    }
    disable_telemetry()?;
    let path = library();
    // A pipe in the library's place would be waited for. A bare name is no place in the working directory.
    if path.components().count() > 1 && path.exists() && !path.is_file() {
        return Err(EngineError::Library(format!("{} is no file", path.display())));
    }
    // No `ort::Error` may exist before the library is loaded: it would itself load one, and panic where there is none.
    let builder = ort::init_from(&path).map_err(|error| EngineError::Library(load_problem(&error)))?;
    let environment = builder
        .with_telemetry(false)
        .build()
        .map_err(|error| EngineError::Library(error.to_string()))?;
    // What fails is returned as an error; ONNX Runtime would print it as well.
    environment.set_log_level(LogLevel::Fatal);
    Ok(slot.insert(environment).clone())
}

/// What the system's loader says is only in the source of its error.
fn load_problem(error: &LoadDynamicError) -> String {
    match error {
        LoadDynamicError::Dlopen { error: dlopen, .. } => match dlopen.source() {
            Some(source) => source.to_string(),
            None => error.to_string(),
        },
        _ => error.to_string(),
    }
}

/// What `ORT_DYLIB_PATH` names, else a name, which `ort` looks for beside the program and then where the system does: never
/// in the folder that one happens to stand in.
fn library() -> PathBuf {
    if let Some(path) = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        return path.into();
    }
    format!("{}onnxruntime{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX).into()
}
