//! Maps every matrix of a safetensors file.

mod engine;
mod error;
pub(crate) mod file;
pub(crate) mod matrices;

pub use engine::Place;
pub use error::ApplyError;

use engine::Engine;

use file::{Output, OutputTensor};
use himuon::KernelSpec;
use himuon::cpu::ApplyScale;
use himuon::reference::tiles;
use himuon::templates::Element;
use matrices::{Matrices, Values};
use safetensors::tensor::TensorView;
use std::path::Path;
use std::time::Instant;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// File to read.
    pub input: &'a Path,
    /// File to write; another one.
    pub output: &'a Path,
    /// The map.
    pub spec: &'a KernelSpec,
    /// The type that the matrices are rounded to before they are mapped; by default their own.
    pub element: Option<Element>,
    /// Scale of the mapped tiles.
    pub scale: ApplyScale,
    /// Where to compute.
    pub place: Place,
}

/// A tensor that was mapped.
#[derive(Clone, Debug, PartialEq)]
pub struct AppliedTensor {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Rows of each of its matrices.
    pub rows: usize,
    /// Columns of each.
    pub columns: usize,
    /// How many matrices it holds.
    pub count: usize,
    /// Tiles of all of them.
    pub tiles: usize,
    /// Those with a NaN or an infinity, which are left as they are.
    pub non_finite_tiles: usize,
}

/// A tensor that is no matrix to be mapped.
#[derive(Clone, Debug, PartialEq)]
pub struct CopiedTensor {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Why not.
    pub why: String,
}

/// What was done.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The tensors that were mapped, by name.
    pub matrices: Vec<AppliedTensor>,
    /// Those that were copied, by name.
    pub copied: Vec<CopiedTensor>,
    /// Threads of this process that worked.
    pub threads: usize,
    /// What worked, for people.
    pub worker: String,
    /// Seconds in the map alone; on a device with the copies there and back.
    pub seconds: f64,
}

/// Maps every matrix of `request.input` and writes the file `request.output`, whole or not at all. Mapped
/// tensors are written as `f32`; the others, and the file's metadata, as they are.
///
/// `progress` is called with the elements that have been mapped since its last call, and with all there are.
///
/// # Errors
/// When the file cannot be read, is no safetensors file, or the other cannot be written; then that one is not
/// touched.
pub fn apply(
    request: &Request<'_>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Applied, ApplyError> {
    file::refuse_same_path(request.input, request.output)?;
    let bytes = file::read(request.input)?;
    let input = file::parse(request.input, &bytes)?;
    let mut mapper = Mapper {
        engine: Engine::new(request.place, request.spec)?,
        seconds: 0.0,
        request,
    };
    let mut applied = Applied {
        matrices: Vec::new(),
        copied: Vec::new(),
        threads: mapper.engine.threads(),
        worker: mapper.engine.name(),
        seconds: 0.0,
    };
    let total: usize = input
        .tensors
        .iter()
        .filter(|(_, view)| Matrices::of(view).is_ok())
        .map(|(_, view)| view.shape().iter().product::<usize>())
        .sum();
    let mut output = Output {
        tensors: Vec::with_capacity(input.tensors.len()),
        metadata: input.metadata,
    };
    for (name, view) in input.tensors {
        match Matrices::of(&view) {
            Ok(matrices) => {
                let mut done = |elements| progress(elements, total as u64);
                let (tensor, mapped) = mapper.tensor(&name, &view, matrices, &mut done)?;
                applied.matrices.push(tensor);
                output
                    .tensors
                    .push((name, OutputTensor::mapped(&view, mapped)));
            }
            Err(why) => {
                applied.copied.push(CopiedTensor {
                    name: name.clone(),
                    shape: view.shape().to_vec(),
                    why,
                });
                output.tensors.push((name, OutputTensor::copied(view)));
            }
        }
    }
    file::write(request.output, output)?;
    applied.seconds = mapper.seconds;
    Ok(applied)
}

/// A matrix of a file; of a stack of them the first.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedMatrix {
    /// The tensor's name.
    pub name: String,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Row by row.
    pub values: Vec<f32>,
}

impl NamedMatrix {
    /// The top left part of at most `edge` rows and columns.
    pub fn cut(&self, edge: usize) -> NamedMatrix {
        let (rows, columns) = (self.rows.min(edge), self.columns.min(edge));
        let lines = self.values.chunks(self.columns.max(1)).take(rows);
        NamedMatrix {
            name: self.name.clone(),
            rows,
            columns,
            values: lines.flat_map(|line| &line[..columns]).copied().collect(),
        }
    }
}

/// Names of the tensors of a safetensors file that are matrices, sorted.
///
/// # Errors
/// When the file cannot be read or is no safetensors file.
pub fn matrix_names(path: &Path) -> Result<Vec<String>, ApplyError> {
    let bytes = file::read(path)?;
    let input = file::parse(path, &bytes)?;
    let matrices = input.tensors.into_iter();
    Ok(matrices
        .filter(|(_, view)| Matrices::of(view).is_ok())
        .map(|(name, _)| name)
        .collect())
}

/// Hands over the matrices of these names, one after the other.
///
/// # Errors
/// As [`matrix_names`].
pub fn visit_matrices(
    path: &Path,
    names: &[String],
    mut visit: impl FnMut(NamedMatrix),
) -> Result<(), ApplyError> {
    let bytes = file::read(path)?;
    let input = file::parse(path, &bytes)?;
    for (name, view) in input.tensors {
        let Some(matrices) = Matrices::of(&view).ok().filter(|_| names.contains(&name)) else {
            continue;
        };
        let length = matrices.rows * matrices.columns * matrices.element.bytes();
        let Some(first) = view.data().get(..length) else {
            continue;
        };
        visit(NamedMatrix {
            name,
            rows: matrices.rows,
            columns: matrices.columns,
            values: Values::read(first, matrices.element, None).to_f32(),
        });
    }
    Ok(())
}

/// What the tensors of a file are to an optimizer, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileShapes {
    /// Names and shapes of those that can be parameters.
    pub parameters: Vec<(String, Vec<usize>)>,
    /// The others: masks, counters, empty ones.
    pub others: Vec<CopiedTensor>,
}

/// Names and shapes of the tensors of a safetensors file, by name. Its numbers are not read.
///
/// # Errors
/// When the file cannot be read or is no safetensors file.
pub fn shapes_of(path: &Path) -> Result<FileShapes, ApplyError> {
    let header = file::header(path)?;
    let mut tensors: Vec<_> = header.tensors().into_iter().collect();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut shapes = FileShapes::default();
    for (name, tensor) in tensors {
        let shape = tensor.shape.clone();
        let why = match matrices::element_of(tensor.dtype) {
            Ok(_) if shape.contains(&0) => matrices::EMPTY.to_owned(),
            Ok(_) => {
                shapes.parameters.push((name, shape));
                continue;
            }
            Err(why) => why,
        };
        shapes.others.push(CopiedTensor { name, shape, why });
    }
    Ok(shapes)
}

/// What maps one tensor after another.
struct Mapper<'a> {
    engine: Engine,
    /// Spent in the kernel so far.
    seconds: f64,
    request: &'a Request<'a>,
}

impl Mapper<'_> {
    /// Maps every matrix of a tensor.
    fn tensor(
        &mut self,
        name: &str,
        view: &TensorView<'_>,
        matrices: Matrices,
        done: &mut dyn FnMut(u64),
    ) -> Result<(AppliedTensor, Vec<f32>), ApplyError> {
        let Matrices {
            element,
            count,
            rows,
            columns,
        } = matrices;
        let bounds = tiles(self.request.spec.tile, rows, columns);
        let size = rows * columns;
        let mut mapped = vec![0.0f32; count * size];
        let mut non_finite_tiles = 0;
        let bytes = view.data().chunks_exact(size * element.bytes());
        for (bytes, output) in bytes.zip(mapped.chunks_exact_mut(size)) {
            let values = Values::read(bytes, element, self.request.element);
            let started = Instant::now();
            let shape = (rows, columns);
            let skipped = self
                .engine
                .map(&values, shape, output, self.request.scale)?;
            self.seconds += started.elapsed().as_secs_f64();
            if skipped > 0 {
                non_finite_tiles += skipped;
                let original = Values::read(bytes, element, None);
                original.restore_non_finite(&values, &bounds, columns, output);
            }
            done(size as u64);
        }
        let tensor = AppliedTensor {
            name: name.to_owned(),
            shape: view.shape().to_vec(),
            rows,
            columns,
            count,
            tiles: count * bounds.len(),
            non_finite_tiles,
        };
        Ok((tensor, mapped))
    }
}
