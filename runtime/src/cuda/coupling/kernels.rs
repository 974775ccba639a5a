//! The kernels around mapped tiles, loaded.

use cudarc::driver::{CudaFunction, CudaStream};
use himuon_codegen::compile::Part;
use himuon_codegen::render::{Coupling, Rendered, coupling};
use himuon_templates::Storage;

use super::Form;
use super::layout::Layout;
use crate::cuda::driver::{Argument, Shape, launch};
use crate::cuda::error::CudaError;
use crate::cuda::kernel::function;
use crate::cuda::module::Loader;

/// Stages of the launches over factors, as `lib/coupling_factors.cuh` numbers them: both rounds of the left factor, the first of
/// the right one, its second with the polar factor behind it, and the products of the left one with what the tiles hold.
const LEFT: [u32; 2] = [0, 1];
const RIGHT: u32 = 2;
const POLAR: u32 = 3;
const PROJECT: u32 = 4;

/// What the launches of a chunk are handed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arguments {
    pub(super) matrices: u64,
    pub(super) matrix_count: u32,
    pub(super) groups: u64,
    /// Of tiles.
    pub(super) reports: u64,
    pub(super) counters: u64,
    /// The word that says whether the launch is to do anything; 0: it is.
    pub(super) active: u64,
}

/// The launches around the map of the remainder.
#[derive(Debug)]
pub(in crate::cuda) struct CouplingKernels {
    threads: u32,
    basis: CudaFunction,
    complete: CudaFunction,
    rows: CudaFunction,
    gram: CudaFunction,
    factor: CudaFunction,
    apply: CudaFunction,
    columns: CudaFunction,
    parts: CudaFunction,
    remainder: CudaFunction,
    fine_rows: CudaFunction,
    fine_columns: CudaFunction,
    correct: CudaFunction,
    sum: CudaFunction,
    moments: CudaFunction,
    normalise: CudaFunction,
    finish: CudaFunction,
}

/// A parameter that is not the same for all launches.
#[derive(Clone, Copy)]
enum With {
    Count,
    /// A number of its own.
    Word(u32),
    Groups,
    Reports,
    Counters,
}

impl CouplingKernels {
    /// The text that they are made of, all of it.
    pub(in crate::cuda) fn text(storage: &Storage) -> Result<(Rendered, Part), CudaError> {
        Ok((coupling(&Coupling::new(storage)?)?, Part::All))
    }

    pub(in crate::cuda) fn load(loader: Loader<'_>, storage: &Storage) -> Result<Self, CudaError> {
        let settings = Coupling::new(storage)?;
        let (text, part) = Self::text(storage)?;
        let module = loader.load(&text, part)?;
        let entry = |name: &str| function(&module, &format!("himuon_couple_{name}"), 0);
        Ok(CouplingKernels {
            threads: settings.threads,
            basis: entry("basis")?,
            complete: entry("complete")?,
            rows: entry("rows")?,
            gram: entry("gram")?,
            factor: entry("factor")?,
            apply: entry("apply")?,
            columns: entry("columns")?,
            parts: entry("parts")?,
            remainder: entry("remainder")?,
            fine_rows: entry("fine_rows")?,
            fine_columns: entry("fine_columns")?,
            correct: entry("correct")?,
            sum: entry("sum")?,
            moments: entry("moments")?,
            normalise: entry("normalise")?,
            finish: entry("finish")?,
        })
    }

    /// Both factors of every coarse part, and what they leave of the matrices where that is not for the tiles to find.
    pub(super) fn submit_before(
        &self,
        stream: &CudaStream,
        layout: &Layout,
        arguments: &Arguments,
    ) -> Result<(), CudaError> {
        use With::{Count, Counters, Groups, Word};
        let [rows, columns, patches, of_left, of_right, _] = layout.units;
        let matrices = arguments.matrix_count;
        let submit = |function, blocks, with: &[With]| {
            self.submit(stream, (function, blocks), with, arguments)
        };
        if layout.couples() {
            submit(&self.basis, columns, &[Count])?;
            submit(&self.complete, matrices, &[])?;
            submit(&self.rows, rows, &[Count, Groups])?;
            for stage in LEFT {
                submit(&self.gram, of_left, &[Count, Word(stage)])?;
                submit(&self.factor, matrices, &[Word(stage)])?;
                submit(&self.apply, rows, &[Count, Word(stage)])?;
            }
            submit(&self.columns, columns, &[Count, Groups])?;
            submit(&self.gram, of_right, &[Count, Word(RIGHT)])?;
            submit(&self.factor, matrices, &[Word(RIGHT)])?;
            submit(&self.apply, columns, &[Count, Word(RIGHT)])?;
            submit(&self.gram, of_right, &[Count, Word(POLAR)])?;
            submit(&self.factor, matrices, &[Word(POLAR)])?;
            submit(&self.parts, rows + columns, &[Count, Word(rows)])?;
        }
        if layout.form == Form::OnePass {
            return Ok(());
        }
        submit(&self.remainder, patches, &[Count, Groups, Counters])
    }

    /// What is done with the mapped tiles.
    pub(super) fn submit_after(
        &self,
        stream: &CudaStream,
        layout: &Layout,
        arguments: &Arguments,
    ) -> Result<(), CudaError> {
        use With::{Count, Groups, Reports, Word};
        if layout.form == Form::OnePass {
            return Ok(());
        }
        let [rows, columns, patches, of_left, _, row_blocks] = layout.units;
        let matrices = arguments.matrix_count;
        let all = [Count, Groups, Reports];
        let submit = |function, blocks, with: &[With]| {
            self.submit(stream, (function, blocks), with, arguments)
        };
        if layout.projected {
            submit(&self.fine_rows, rows, &all)?;
            submit(&self.fine_columns, columns, &all)?;
            submit(&self.gram, of_left, &[Count, Word(PROJECT)])?;
            submit(&self.factor, matrices, &[Word(PROJECT)])?;
            submit(&self.correct, rows, &[Count, Groups])?;
        }
        if layout.normalised {
            submit(&self.sum, patches, &all)?;
            submit(&self.moments, row_blocks, &[Count, Reports])?;
            submit(&self.normalise, matrices, &[Groups])?;
        }
        submit(&self.finish, patches, &all)
    }

    fn submit(
        &self,
        stream: &CudaStream,
        (function, blocks): (&CudaFunction, u32),
        with: &[With],
        arguments: &Arguments,
    ) -> Result<(), CudaError> {
        let mut values = vec![Argument::Pointer(arguments.matrices)];
        values.extend(with.iter().map(|with| match with {
            With::Count => Argument::Word(arguments.matrix_count),
            With::Word(word) => Argument::Word(*word),
            With::Groups => Argument::Pointer(arguments.groups),
            With::Reports => Argument::Pointer(arguments.reports),
            With::Counters => Argument::Pointer(arguments.counters),
        }));
        values.extend([
            Argument::Pointer(arguments.active),
            Argument::Word(1),
            Argument::Word(2),
        ]);
        let shape = Shape {
            blocks,
            threads: self.threads,
            shared_bytes: 0,
        };
        launch(stream, function, shape, &values)
    }
}
