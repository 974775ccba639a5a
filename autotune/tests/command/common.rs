//! Running the command and making files for it.

use himuon::reference::Matrix;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// What a run of the command left.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

/// Runs `himuon`.
pub(crate) fn himuon<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    run(Command::new(env!("CARGO_BIN_EXE_himuon")).args(arguments))
}

/// Runs `himuon` with more in its environment.
pub(crate) fn himuon_with(environment: &[(&str, &std::ffi::OsStr)], arguments: &[&str]) -> Run {
    run(Command::new(env!("CARGO_BIN_EXE_himuon"))
        .args(arguments)
        .envs(environment.iter().copied()))
}

/// Runs `himuon` with its cache in `cache`.
pub(crate) fn himuon_with_cache(cache: &Path, arguments: &[&str]) -> Run {
    run(Command::new(env!("CARGO_BIN_EXE_himuon"))
        .args(arguments)
        .env("HIMUON_CACHE_DIR", cache))
}

/// Runs `himuon` with these variables.
pub(crate) fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Run {
    run(Command::new(env!("CARGO_BIN_EXE_himuon"))
        .args(arguments)
        .envs(environment.iter().copied()))
}

/// Runs a command.
pub(crate) fn run(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder that goes away, with files in it.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Writes a safetensors file of tensors (name, type, shape, bytes).
    pub(crate) fn write(
        &self,
        name: &str,
        tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)],
    ) -> PathBuf {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (
                *name,
                TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
            )
        });
        let metadata = [("format".to_owned(), "pt".to_owned())];
        let bytes = serialize(views, Some(metadata.into_iter().collect())).unwrap();
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes a safetensors file with one f32 matrix `w`.
    pub(crate) fn write_matrix(&self, name: &str, matrix: &Matrix) -> PathBuf {
        let shape = vec![matrix.rows(), matrix.columns()];
        self.write(
            name,
            &[("w", Dtype::F32, shape, f32_bytes(&matrix.to_f32()))],
        )
    }
}

pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A tensor of a file: type, shape, bytes.
pub(crate) fn read(path: &Path, tensor: &str) -> (Dtype, Vec<usize>, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(tensor).unwrap();
    (view.dtype(), view.shape().to_vec(), view.data().to_vec())
}

/// An f32 tensor of a file seen as a matrix.
pub(crate) fn read_matrix(path: &Path, tensor: &str, rows: usize, columns: usize) -> Matrix {
    let (dtype, _, bytes) = read(path, tensor);
    assert_eq!(dtype, Dtype::F32);
    let (values, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    let values: Vec<f32> = values.iter().map(|v| f32::from_le_bytes(*v)).collect();
    assert_eq!(values.len(), rows * columns);
    Matrix::from_f32(rows, columns, &values)
}

/// The arguments of `himuon apply` from `input` to `output`, with more after them.
pub(crate) fn apply(input: &Path, output: &Path, more: &[&str]) -> Run {
    let paths = [
        "apply",
        "--in",
        input.to_str().unwrap(),
        "--out",
        output.to_str().unwrap(),
    ];
    himuon(paths.into_iter().chain(more.iter().copied()))
}
