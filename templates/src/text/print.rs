//! Printing.

use crate::spec::{
    Coarse, CoefficientSet, Criterion, Element, Fine, Finite, KernelSpec, Measure, Mode, Operand,
    Otherwise, Power, Recurrence, RecurrenceName, Scope, Tile,
};
use std::fmt;

impl fmt::Display for KernelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "tile={} steps={} power={} ",
            self.tile, self.steps, self.power
        )?;
        match &self.recurrence {
            Recurrence::NewtonSchulz(set) => write!(f, "coefficients={set}")?,
            other => write!(f, "recurrence={other}")?,
        }
        write!(
            f,
            " weight={} momentum={}",
            self.storage.weight, self.storage.momentum
        )?;
        if self.storage.master_weights {
            f.write_str(" master_weights=true")?;
        }
        write!(
            f,
            " operand={} mode={} criterion={}",
            self.operand, self.mode, self.criterion
        )?;
        if let Criterion::Tested {
            scope, otherwise, ..
        } = self.criterion
        {
            write!(f, " scope={scope} otherwise={otherwise}")?;
        }
        write!(f, " coarse={}", self.coarse.rank())?;
        match self.coarse {
            Coarse::Off => Ok(()),
            Coarse::Polar { fine, .. } => write!(f, " fine={fine}"),
        }
    }
}

impl fmt::Display for Tile {
    /// `128`, `64x256` (rows x columns) or `full`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tile::Sized { rows, columns } if rows == columns => write!(f, "{rows}"),
            Tile::Sized { rows, columns } => write!(f, "{rows}x{columns}"),
            Tile::Full => f.write_str("full"),
        }
    }
}

impl fmt::Display for Power {
    /// `0`, `1` or `1/2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator() {
            1 => write!(f, "{}", self.numerator()),
            denominator => write!(f, "{}/{denominator}", self.numerator()),
        }
    }
}

impl fmt::Display for Finite {
    /// The shortest decimal that reads back as the same bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.get())
    }
}

impl fmt::Display for CoefficientSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CoefficientSet::Muon => "muon",
            CoefficientSet::Cubic => "cubic",
            CoefficientSet::Quintic => "quintic",
            CoefficientSet::PolarExpress => "polar-express",
            CoefficientSet::Minimax { lower } => return write!(f, "minimax({lower})"),
            CoefficientSet::You => "you",
            CoefficientSet::Turbo => "turbo",
            CoefficientSet::Cans => "cans",
            CoefficientSet::Custom(list) => return write_list(f, list),
        })
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, list: &[[Finite; 3]]) -> fmt::Result {
    f.write_str("[")?;
    for (index, [a, b, c]) in list.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        write!(f, "{separator}({a},{b},{c})")?;
    }
    f.write_str("]")
}

impl fmt::Display for Recurrence {
    /// The name alone; the coefficients of `newton-schulz` are the set's own text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recurrence::NewtonSchulz(set) => write!(f, "newton-schulz with coefficients {set}"),
            Recurrence::Fitted => RecurrenceName::Fitted.fmt(f),
            Recurrence::Coupled => RecurrenceName::Coupled.fmt(f),
            Recurrence::Authors => RecurrenceName::Authors.fmt(f),
            Recurrence::Identity => RecurrenceName::Identity.fmt(f),
        }
    }
}

impl fmt::Display for Criterion {
    /// `always`, or measure and threshold as in `effective_rank(0.1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Criterion::Always => f.write_str("always"),
            Criterion::Tested {
                measure, threshold, ..
            } => write!(f, "{measure}({threshold})"),
        }
    }
}

/// Names of the plain enumerations, used for printing, reading and the list of accepted values.
pub(super) trait Named: Sized + Copy + PartialEq + 'static {
    /// What the values are, for an error.
    const WHAT: &'static str;
    /// Every value with its name.
    const NAMES: &'static [(Self, &'static str)];

    /// The name of a value.
    fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(value, _)| *value == self)
            .map_or("", |(_, name)| name)
    }
}

macro_rules! named {
    ($type:ident, $what:literal: $($variant:ident = $name:literal),+) => {
        impl Named for $type {
            const WHAT: &'static str = $what;
            const NAMES: &'static [(Self, &'static str)] = &[$(($type::$variant, $name)),+];
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

named!(Element, "element type": F32 = "f32", Bf16 = "bf16", F16 = "f16");
named!(Operand, "operand type": F32 = "f32", Tf32 = "tf32", Bf16 = "bf16", F16 = "f16");
named!(Mode, "mode": Accurate = "accurate", Reference = "reference");
named!(Measure, "criterion": FroNorm = "fro_norm", EffectiveRank = "effective_rank",
    NuclearRank = "nuclear_rank", MinGap = "min_gap");
named!(Scope, "scope": Tile = "tile", Matrix = "matrix");
named!(Otherwise, "otherwise": Momentum = "momentum", RmsMatched = "rms-matched");
named!(Fine, "fine part": Projected = "projected", Fused = "fused", Nothing = "none");
named!(RecurrenceName, "recurrence": NewtonSchulz = "newton-schulz", Fitted = "fitted",
    Coupled = "coupled", Authors = "authors", Identity = "identity");

impl CoefficientSet {
    /// The sets that a name alone stands for.
    pub(super) const NAMES: [(&'static str, CoefficientSet); 7] = [
        ("muon", CoefficientSet::Muon),
        ("cubic", CoefficientSet::Cubic),
        ("quintic", CoefficientSet::Quintic),
        ("polar-express", CoefficientSet::PolarExpress),
        ("you", CoefficientSet::You),
        ("turbo", CoefficientSet::Turbo),
        ("cans", CoefficientSet::Cans),
    ];
}
