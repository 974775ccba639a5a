//! How a specification is computed: everything that an autotuner may vary, and nothing that changes the
//! mathematics (the order of summation aside).

mod resident;
mod streamed;

pub use resident::{Resident, ResidentShape, effective_operand};
pub use streamed::{
    Streamed, StreamedEntry, StreamedItems, StreamedLaunch, StreamedMatrices, StreamedTile,
};

use crate::ParseError;
use crate::spec::{Coarse, Criterion, KernelSpec, Measure, Scope};
use crate::target::{Architecture, DeviceLimits};
use std::fmt;
use std::str::FromStr;

/// A kernel family with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variant {
    /// One block per tile, matrices in a global workspace, plain fused multiply-adds: any specification.
    Plain(Plain),
    /// The whole step of a tile on chip: registers, shared memory and tensor cores.
    Resident(Resident),
    /// Tiles of any size in a workspace, tensor cores, a step as a sequence of launches.
    Streamed(Streamed),
}

/// Settings of [`Variant::Plain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plain {
    /// Warps of a block, 1 to 32.
    pub warps: u32,
}

/// Why a variant cannot compute a specification, or not on this device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VariantError {
    /// The block has more threads than the device runs.
    Threads {
        /// Threads of the block.
        found: u32,
        /// The device's limit.
        accepted: u32,
    },
    /// The block needs more shared memory than it may have.
    SharedMemory {
        /// Bytes.
        found: u32,
        /// The device's limit, in bytes.
        accepted: u32,
    },
    /// A thread needs more registers than it may have.
    Registers {
        /// At least so many.
        found: u32,
        /// The device's limit.
        accepted: u32,
    },
    /// The resident family does not compute this.
    Resident {
        /// What was asked for.
        found: String,
        /// What it computes.
        accepted: &'static str,
    },
    /// The streamed family does not compute this.
    Streamed {
        /// What was asked for.
        found: String,
        /// What it computes.
        accepted: &'static str,
    },
    /// The criterion is decided on the host.
    HostCriterion {
        /// The criterion.
        criterion: Criterion,
    },
    /// No tile kernel computes this beside a coarse part.
    Coarse {
        /// Its rank.
        rank: u32,
    },
}

impl fmt::Display for VariantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VariantError::Threads { found, accepted } => write!(
                f,
                "threads of a block: found {found}, accepted are 32 to {accepted} in whole warps"
            ),
            VariantError::SharedMemory { found, accepted } => write!(
                f,
                "shared memory of a block: found {found} bytes, accepted are at most {accepted}"
            ),
            VariantError::Registers { found, accepted } => write!(
                f,
                "registers of a thread: found at least {found}, accepted are at most {accepted}"
            ),
            VariantError::Resident { found, accepted } => {
                write!(f, "resident kernel: found {found}, accepted is {accepted}")
            }
            VariantError::Streamed { found, accepted } => {
                write!(f, "streamed kernel: found {found}, accepted is {accepted}")
            }
            VariantError::HostCriterion { criterion } => write!(
                f,
                "criterion {criterion} is decided on the host: found a kernel variant, accepted per tile are \
                 fro_norm, effective_rank and nuclear_rank with scope tile"
            ),
            VariantError::Coarse { rank } => write!(
                f,
                "coarse rank: found {rank}, accepted for a tile kernel is 0, and for a resident one any with fine=fused or none at \
                 power 0 without a criterion; on CUDA other coarse parts at power 0 have launches of their own around the kernel \
                 of their tiles alone, and other powers run on the CPU"
            ),
        }
    }
}

impl std::error::Error for VariantError {}

impl Variant {
    /// The variant that is rendered when nothing has been tuned.
    ///
    /// The resident family where the tile fits on chip, else the streamed one; the plain one for operands that the
    /// tensor cores of the architecture do not take.
    pub fn default_for(spec: &KernelSpec, architecture: Architecture) -> Variant {
        let resident = Resident::default_for(spec, architecture).map(Variant::Resident);
        let streamed = || Streamed::default_for(spec, architecture).map(Variant::Streamed);
        resident
            .or_else(streamed)
            .unwrap_or(Variant::Plain(Plain { warps: 8 }))
    }

    /// Whether this variant can compute `spec` within `limits`.
    ///
    /// # Errors
    /// The first limit that is exceeded.
    pub fn fits(&self, spec: &KernelSpec, limits: DeviceLimits) -> Result<(), VariantError> {
        decided_in_a_kernel(spec.criterion)?;
        let is_resident = matches!(self, Variant::Resident(_));
        if spec.coarse != Coarse::Off && !(is_resident && spec.couples_in_one_pass()) {
            let rank = spec.coarse.rank();
            return Err(VariantError::Coarse { rank });
        }
        match self {
            Variant::Plain(Plain { warps }) => {
                let found = warps.saturating_mul(32);
                if (32..=limits.threads).contains(&found) {
                    Ok(())
                } else {
                    Err(VariantError::Threads {
                        found,
                        accepted: limits.threads,
                    })
                }
            }
            Variant::Resident(settings) => settings.fits(spec, limits),
            Variant::Streamed(settings) => settings.fits(spec, limits),
        }
    }

    /// The short form in a kernel's name: `w8`.
    pub fn slug(&self) -> String {
        match self {
            Variant::Plain(Plain { warps }) => format!("w{warps}"),
            Variant::Resident(settings) => settings.slug(),
            Variant::Streamed(settings) => settings.slug(),
        }
    }
}

/// Per-matrix decisions and gaps of singular values are the host's.
fn decided_in_a_kernel(criterion: Criterion) -> Result<(), VariantError> {
    match criterion {
        Criterion::Tested {
            measure: Measure::MinGap,
            ..
        }
        | Criterion::Tested {
            scope: Scope::Matrix,
            ..
        } => Err(VariantError::HostCriterion { criterion }),
        _ => Ok(()),
    }
}

impl fmt::Display for Variant {
    /// `plain:warps=8`, `resident:rows=32,chunk=2,tiles=1,symmetric` or `streamed:block=128,warps=8,stages=3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variant::Plain(Plain { warps }) => write!(f, "plain:warps={warps}"),
            Variant::Resident(settings) => write!(f, "resident:{settings}"),
            Variant::Streamed(settings) => write!(f, "streamed:{settings}"),
        }
    }
}

impl FromStr for Variant {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let plain = text
            .strip_prefix("plain:warps=")
            .and_then(|warps| warps.parse().ok())
            .map(|warps| Variant::Plain(Plain { warps }));
        plain
            .or_else(|| {
                let settings = text.strip_prefix("resident:")?;
                Resident::read(settings).map(Variant::Resident)
            })
            .or_else(|| {
                let settings = text.strip_prefix("streamed:")?;
                Streamed::read(settings).map(Variant::Streamed)
            })
            .ok_or_else(|| ParseError::Value {
                what: "variant",
                found: text.to_owned(),
                accepted: "plain:warps=N, resident:rows=R,chunk=C,tiles=N and switches, or \
                           streamed:block=B,warps=N,stages=S"
                    .to_owned(),
            })
    }
}
