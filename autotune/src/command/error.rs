//! Why a verb stopped.

use himuon::templates::{ParseError, SpecError};

/// Why a verb stopped; the exit code follows from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The request contradicts itself or asks for what this build does not have.
    #[error("{0}")]
    Request(String),
    /// The parts of the specification do not go together.
    #[error("{0}")]
    Spec(#[from] SpecError),
    /// A part of the specification does not read.
    #[error("{0}")]
    Parse(#[from] ParseError),
    /// Mapping a file failed.
    #[error("{0}")]
    Apply(#[from] crate::apply::ApplyError),
    /// Diagnosing a file failed.
    #[error("{0}")]
    Diagnose(#[from] crate::diagnose::DiagnosisError),
    /// A table of runs does not read.
    #[error("{0}")]
    BatchTable(#[from] crate::diagnose::BatchTableError),
    /// No variant of a table of runs has a fit.
    #[error("{0}")]
    NoFit(String),
    /// The kernel's text cannot be rendered.
    #[error("{0}")]
    Render(#[from] himuon_codegen::RenderError),
    /// A bundle cannot be made.
    #[error("{0}")]
    Emit(#[from] himuon_codegen::pipeline::EmitError),
    /// There is no compiler, or it refuses.
    #[error("{0}")]
    Compile(#[from] himuon_codegen::compile::CompileError),
    /// A kernel refused.
    #[error("{0}")]
    Kernel(himuon::cpu::CpuError),
    /// The optimizer cannot be built or planned.
    #[error("{0}")]
    Optimizer(himuon::Error),
    /// There is no such GPU, or it cannot be used.
    #[error("{0}")]
    Cuda(#[from] himuon::cuda::CudaError),
    /// Tuning, or its table.
    #[error("{0}")]
    Tuning(himuon::tuning::TuningError),
    /// Specifications or shapes cannot be read.
    #[error("{0}")]
    Workload(#[from] crate::workload::WorkloadError),
    /// A file that was named for one of tuning tables is none.
    #[error(
        "{path} holds no tuning tables: {reason}; it is left alone, name a file that `himuon cache export` has \
         written, or a table of a cache folder"
    )]
    NoTables {
        /// Its path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The report cannot be drawn.
    #[error("{0}")]
    Report(#[from] crate::report::ReportError),
    /// There is no advice.
    #[error("{0}")]
    Advise(#[from] crate::advise::AdviseError),
    /// Ctrl-C: what was done is kept.
    #[error("{0}")]
    Stopped(String),
    /// A file or folder cannot be written or read.
    #[error("{path}: {source}")]
    File {
        /// Its path.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
}

impl CommandError {
    /// Of a file or folder.
    pub(super) fn file(path: &std::path::Path, source: std::io::Error) -> CommandError {
        CommandError::File {
            path: path.display().to_string(),
            source,
        }
    }

    /// 2 where the request is wrong, 1 where the work failed.
    pub fn exit_code(&self) -> u8 {
        use crate::apply::ApplyError;
        use crate::diagnose::DiagnosisError;
        use himuon_codegen::RenderError;
        use himuon_codegen::pipeline::EmitError;
        match self {
            CommandError::Request(_)
            | CommandError::Spec(_)
            | CommandError::Parse(_)
            | CommandError::Workload(crate::workload::WorkloadError::UnknownModel { .. })
            | CommandError::Diagnose(DiagnosisError::Spec(_))
            | CommandError::Optimizer(himuon::Error::Build(_))
            | CommandError::Render(RenderError::Spec(_) | RenderError::Variant(_))
            | CommandError::Emit(EmitError::Render(
                RenderError::Spec(_) | RenderError::Variant(_),
            ))
            | CommandError::Apply(ApplyError::SamePath { .. } | ApplyError::Spec(_)) => 2,
            _ => 1,
        }
    }
}
