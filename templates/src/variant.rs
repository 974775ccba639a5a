//! How a specification is computed: everything that an autotuner may vary, and nothing that changes the
//! mathematics (the order of summation aside).

use crate::ParseError;
use crate::spec::{Criterion, KernelSpec, Measure, Scope};
use crate::target::{Architecture, DeviceLimits};
use std::fmt;
use std::str::FromStr;

/// A kernel family with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variant {
    /// One block per tile, matrices in a global workspace, plain fused multiply-adds: any specification.
    Plain(Plain),
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
    /// The criterion is decided on the host.
    HostCriterion {
        /// The criterion.
        criterion: Criterion,
    },
}

impl fmt::Display for VariantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VariantError::Threads { found, accepted } => write!(
                f,
                "threads of a block: found {found}, accepted are 32 to {accepted} in whole warps"
            ),
            VariantError::HostCriterion { criterion } => write!(
                f,
                "criterion {criterion} is decided on the host: found a kernel variant, accepted per tile are \
                 fro_norm, effective_rank and nuclear_rank with scope tile"
            ),
        }
    }
}

impl std::error::Error for VariantError {}

impl Variant {
    /// The variant that is rendered when nothing has been tuned.
    pub fn default_for(_spec: &KernelSpec, _architecture: Architecture) -> Variant {
        Variant::Plain(Plain { warps: 8 })
    }

    /// Whether this variant can compute `spec` within `limits`.
    ///
    /// # Errors
    /// The first limit that is exceeded.
    pub fn fits(&self, spec: &KernelSpec, limits: DeviceLimits) -> Result<(), VariantError> {
        decided_in_a_kernel(spec.criterion)?;
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
        }
    }

    /// The short form in a kernel's name: `w8`.
    pub fn slug(&self) -> String {
        match self {
            Variant::Plain(Plain { warps }) => format!("w{warps}"),
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
    /// `plain:warps=8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variant::Plain(Plain { warps }) => write!(f, "plain:warps={warps}"),
        }
    }
}

impl FromStr for Variant {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.strip_prefix("plain:warps=")
            .and_then(|warps| warps.parse().ok())
            .map(|warps| Variant::Plain(Plain { warps }))
            .ok_or_else(|| ParseError::Value {
                what: "variant",
                found: text.to_owned(),
                accepted: "plain:warps=N".to_owned(),
            })
    }
}
