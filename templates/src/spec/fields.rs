//! A specification as its author states it: some fields, the rest by default.

use super::{
    Coarse, CoefficientSet, Criterion, Element, Field, Fine, Finite, KernelSpec, Measure, Mode,
    Operand, Otherwise, Power, Recurrence, Scope, SpecError, Storage, Tile,
};

/// The stated fields. The attribute, the text form and the command line fill one and call
/// [`SpecFields::resolve`], so that a field left out means the same everywhere.
///
/// ```
/// use himuon_templates::{Power, Recurrence, SpecFields, Tile};
/// let fields = SpecFields { tile: Some(Tile::square(64)), power: Power::new(1, 2), ..SpecFields::default() };
/// let spec = fields.resolve().unwrap();
/// assert_eq!((spec.steps, spec.recurrence), (6, Recurrence::Fitted));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecFields {
    /// Required.
    pub tile: Option<Tile>,
    /// By default the recurrence's own number of steps.
    pub steps: Option<u32>,
    /// 0 by default (1 for [`RecurrenceName::Identity`]).
    pub power: Option<Power>,
    /// By default the one that goes with the power.
    pub recurrence: Option<RecurrenceName>,
    /// `muon` by default; power 0 only.
    pub coefficients: Option<CoefficientSet>,
    /// Short for weight, gradient and operand in this type, momentum in f32.
    pub element: Option<Element>,
    /// Type of weight and gradient; by default `element`, else f32.
    pub weight: Option<Element>,
    /// Type of the momentum; f32 by default, the weight's in reference mode.
    pub momentum: Option<Element>,
    /// No by default; for bf16 weights.
    pub master_weights: Option<bool>,
    /// Operand of the products; by default `element`, else f32.
    pub operand: Option<Operand>,
    /// `accurate` by default.
    pub mode: Option<Mode>,
    /// None by default. `Some(None)` states that there is none.
    pub criterion: Option<Option<(Measure, Finite)>>,
    /// Per tile by default; needs a criterion.
    pub scope: Option<Scope>,
    /// The momentum by default; needs a criterion.
    pub otherwise: Option<Otherwise>,
    /// Rank of the coarse part, 0 (tiles alone) by default.
    pub coarse: Option<u32>,
    /// Fused by default; needs a coarse part.
    pub fine: Option<Fine>,
}

/// The kinds of [`Recurrence`], without coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecurrenceName {
    /// [`Recurrence::NewtonSchulz`].
    NewtonSchulz,
    /// [`Recurrence::Fitted`].
    Fitted,
    /// [`Recurrence::Coupled`].
    Coupled,
    /// [`Recurrence::Authors`].
    Authors,
    /// [`Recurrence::Identity`].
    Identity,
}

impl SpecFields {
    /// The specification, with defaults for what was not stated.
    ///
    /// # Errors
    /// The first rule that is broken; see [`KernelSpec::check`].
    pub fn resolve(&self) -> Result<KernelSpec, SpecError> {
        let power = self.power.unwrap_or(match self.recurrence {
            Some(RecurrenceName::Identity) => Power::ONE,
            _ => Power::ZERO,
        });
        let recurrence = self.recurrence(power)?;
        let mode = self.mode.unwrap_or(Mode::Accurate);
        let weight = self.weight.or(self.element).unwrap_or(Element::F32);
        let momentum = self.momentum.unwrap_or(match mode {
            Mode::Accurate => Element::F32,
            Mode::Reference => weight,
        });
        let spec = KernelSpec {
            tile: self.tile.ok_or(SpecError::MissingTile)?,
            steps: self.steps.unwrap_or_else(|| recurrence.default_steps()),
            power,
            recurrence,
            storage: Storage {
                weight,
                momentum,
                master_weights: self.master_weights.unwrap_or(false),
            },
            operand: self.operand.unwrap_or(match self.element {
                None | Some(Element::F32) => Operand::F32,
                Some(Element::Bf16) => Operand::Bf16,
                Some(Element::F16) => Operand::F16,
            }),
            mode,
            criterion: self.criterion()?,
            coarse: self.coarse()?,
        };
        spec.check()?;
        Ok(spec)
    }

    fn recurrence(&self, power: Power) -> Result<Recurrence, SpecError> {
        let named = match (self.recurrence, &self.coefficients) {
            (None, None) => return Ok(Recurrence::default_for(power)),
            (None | Some(RecurrenceName::NewtonSchulz), set) => {
                return Ok(Recurrence::NewtonSchulz(
                    set.clone().unwrap_or(CoefficientSet::Muon),
                ));
            }
            (Some(RecurrenceName::Fitted), _) => Recurrence::Fitted,
            (Some(RecurrenceName::Coupled), _) => Recurrence::Coupled,
            (Some(RecurrenceName::Authors), _) => Recurrence::Authors,
            (Some(RecurrenceName::Identity), _) => Recurrence::Identity,
        };
        if self.coefficients.is_some() {
            return Err(SpecError::CoefficientsWithRecurrence { recurrence: named });
        }
        Ok(named)
    }

    fn coarse(&self) -> Result<Coarse, SpecError> {
        match (self.coarse.unwrap_or(0), self.fine) {
            (0, None) => Ok(Coarse::Off),
            (0, Some(_)) => Err(SpecError::FineWithoutCoarse),
            (rank, fine) => Ok(Coarse::Polar {
                rank,
                fine: fine.unwrap_or(Fine::Fused),
            }),
        }
    }

    fn criterion(&self) -> Result<Criterion, SpecError> {
        let Some((measure, threshold)) = self.criterion.flatten() else {
            let orphan = [
                self.scope.map(|_| Field::Scope),
                self.otherwise.map(|_| Field::Otherwise),
            ];
            return match orphan.into_iter().flatten().next() {
                Some(field) => Err(SpecError::WithoutCriterion { field }),
                None => Ok(Criterion::Always),
            };
        };
        Ok(Criterion::Tested {
            measure,
            threshold,
            scope: self.scope.unwrap_or(Scope::Tile),
            otherwise: self.otherwise.unwrap_or(Otherwise::Momentum),
        })
    }
}
