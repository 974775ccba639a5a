//! Every tolerance of the suite, with the worst case that was measured beside it.
//!
//! A bound is about three times the worst error that any judged backend has shown on the seeded inputs of
//! the suite; `cargo test -p himuon-tests -- --nocapture` prints the worst of a run. Where the worst is
//! above [`LARGEST_BOUND`] there is no bound, and the reason is printed instead.

mod table;

use crate::inputs::Input;
use crate::judge::Norm;
use himuon::templates::{CoefficientSet, KernelSpec, Mode, Operand, Recurrence};

/// Above this a bound says nothing: an output with the wrong K would pass.
pub const LARGEST_BOUND: f64 = 0.1;

/// Recurrences that are judged alike: by how much they magnify a relative rounding error, above all of
/// singular values near 1, where tiles of low rank have theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `cubic`, `quintic`: flat at 1, hardly at all.
    Flat,
    /// `muon`, `you`, `turbo` and custom lists: ten to thirty times.
    Odd,
    /// `polar-express`: the first step is steep at 1, more than twenty times by itself.
    PolarExpress,
    /// `minimax`: the same without a margin above 1.
    Minimax,
    /// `cans`: the first step maps 1 to 0.0044, more than a thousand times.
    Cans,
    /// 0 < p < 1, fitted and the authors'.
    Fitted,
    /// 0 < p < 1, coupled.
    Coupled,
    /// p = 1.
    Identity,
}

/// Size of a tile. On a tile with a few singular values rounding does not average out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// min(h, w) < 16.
    Few,
    /// min(h, w) >= 16.
    Many,
}

/// Inputs that are judged alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InputClass {
    /// Gaussian, huge and tiny: the size of the numbers is no excuse.
    Regular,
    /// Low rank and noise.
    NearLowRank,
    /// Low rank and rank 1.
    Deficient,
    /// Rows scaled down to 1e-4.
    IllConditioned,
    /// Zero: exactly zero comes out.
    Zero,
}

/// What an error is compared within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// Recurrence.
    pub family: Family,
    /// Operand of the products.
    pub operand: Operand,
    /// Rounding points.
    pub mode: Mode,
    /// Size of the tile.
    pub size: Size,
    /// Input class.
    pub input: InputClass,
    /// The norm of the error.
    pub norm: Norm,
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} {:?} {:?} {:?} {:?} {:?}",
            self.family, self.operand, self.mode, self.size, self.input, self.norm
        )
    }
}

/// A bound that was earned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// An error above this fails.
    pub bound: f64,
    /// The worst error of all backends that were measured.
    pub worst: f64,
}

/// Why a class has no tolerance.
#[derive(Clone, Debug, PartialEq)]
pub enum NoTolerance {
    /// Nobody measured it: the case fails.
    Unmeasured(String),
    /// Rounding alone leaves no bound that would say something: the case is skipped.
    Unbounded(String),
}

impl Class {
    /// The class of a specification on a tile of smaller edge `edge`.
    pub fn of(spec: &KernelSpec, edge: usize, input: Input, norm: Norm) -> Class {
        Class {
            family: match &spec.recurrence {
                Recurrence::NewtonSchulz(set) => match set {
                    CoefficientSet::Cubic | CoefficientSet::Quintic => Family::Flat,
                    CoefficientSet::PolarExpress => Family::PolarExpress,
                    CoefficientSet::Minimax { .. } => Family::Minimax,
                    CoefficientSet::Cans => Family::Cans,
                    _ => Family::Odd,
                },
                Recurrence::Fitted | Recurrence::Authors => Family::Fitted,
                Recurrence::Coupled => Family::Coupled,
                Recurrence::Identity => Family::Identity,
            },
            operand: spec.operand,
            mode: spec.mode,
            size: if edge < 16 { Size::Few } else { Size::Many },
            input: match input {
                Input::Gaussian | Input::Huge | Input::Tiny => InputClass::Regular,
                Input::NearLowRank => InputClass::NearLowRank,
                Input::LowRank | Input::RankOne => InputClass::Deficient,
                Input::IllConditioned => InputClass::IllConditioned,
                Input::Zero => InputClass::Zero,
            },
            norm,
        }
    }

    /// The tolerance of the class.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn tolerance(self) -> Result<Tolerance, NoTolerance> {
        if self.input == InputClass::Zero {
            return Ok(Tolerance {
                bound: 0.0,
                worst: 0.0,
            });
        }
        let row = table::ROWS.iter().find(|row| {
            (row.family, row.operand, row.mode, row.size)
                == (self.family, self.operand, self.mode, self.size)
        });
        let Some(row) = row else {
            return Err(NoTolerance::Unmeasured(format!(
                "no tolerance has been measured for {self}"
            )));
        };
        let worst = match self.input {
            InputClass::Regular | InputClass::Zero => row.regular,
            InputClass::NearLowRank => row.near_low_rank,
            InputClass::Deficient => row.deficient,
            InputClass::IllConditioned => row.ill_conditioned,
        };
        let bound = 3.0 * worst;
        if bound <= LARGEST_BOUND {
            Ok(Tolerance { bound, worst })
        } else if worst <= LARGEST_BOUND {
            Ok(Tolerance {
                bound: LARGEST_BOUND,
                worst,
            })
        } else {
            Err(NoTolerance::Unbounded(format!(
                "{self}: rounding alone reaches {worst:.2}, and a bound above {LARGEST_BOUND} is no bound"
            )))
        }
    }
}

/// ||W - W_ref||_F of one `f32` tile over ||W_ref - W_before||_F, besides the last bit of W; of 16-bit weights
/// what an element may be off beyond its rounding, over the largest change. Both in units of ||buf|| / ||M|| where M's two
/// terms cancel.
///
/// The worst of 830,000 launches drawn at random (edges up to 69, half of the matrices with a row or column of at most 3) is
/// `cans` on a 1 x 38 tile; without `cans` it is 6.5e-5.
pub const STEP: Tolerance = Tolerance {
    bound: 3.5e-4,
    worst: 1.15e-4,
};

/// Relative error of the second moment of a row, a mean of squares: twice that of the map where a row has a single element.
/// The worst of the same launches is `cans` on a 15 x 1 tile; without `cans` it is 1.6e-4.
pub const SECOND_MOMENT: Tolerance = Tolerance {
    bound: 9.5e-4,
    worst: 3.2e-4,
};

/// |buf - buf_ref| of one element of Gaussian momentum, beyond its rounding to storage. With one rounding (a
/// fused multiply-add) next to nothing; the bound leaves room for a second one of numbers up to 4.
pub const MOMENTUM: Tolerance = Tolerance {
    bound: 2.4e-7,
    worst: 5.6e-9,
};

/// Relative error of ||M||_F, in units of ||buf|| / ||M|| where M's two terms cancel. The worst of the same launches is a
/// 6 x 1 tile.
pub const NORM: Tolerance = Tolerance {
    bound: 5.7e-7,
    worst: 1.9e-7,
};

/// Relative error of <X, O> and ||O||_F^2. The worst of the same launches is ||O||_F^2 of `cans` on a 46 x 1 tile.
pub const DIAGNOSTICS: Tolerance = Tolerance {
    bound: 4.2e-4,
    worst: 1.4e-4,
};

/// Relative error of <X, O> where the momentum is bfloat16 and a kernel reads M again from it as stored: its own rounding,
/// 2^-9 of each element, averaged over the tile. The worst is a 1 x 4 tile.
pub const INNER_PRODUCT_OF_BF16_MOMENTUM: Tolerance = Tolerance {
    bound: 5.7e-3,
    worst: 1.9e-3,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f32_class_has_a_bound_that_a_wrong_map_exceeds() {
        let accurate =
            |row: &&table::Row| (row.operand, row.mode) == (Operand::F32, Mode::Accurate);
        let mut rows = 0;
        for row in table::ROWS.iter().filter(accurate) {
            let errors = [
                row.regular,
                row.near_low_rank,
                row.deficient,
                row.ill_conditioned,
            ];
            assert!(errors.iter().all(|error| *error < 2e-4), "{:?}", row.family);
            rows += 1;
        }
        // Eight families, two sizes.
        assert_eq!(rows, 16);
    }
}
