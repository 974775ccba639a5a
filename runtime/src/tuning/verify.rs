//! Is a candidate right? Asked before it is timed, of a fused step and of tiles chosen to be hard.

use half::{bf16, f16};
use himuon_templates::{Criterion, Element, KernelSpec, Mode, Operand, Tile};

use super::hard::{Kind, fill};
use super::samples::Gaussian;
use super::target::{StepCase, TuningTarget};
use crate::launch::{GroupScalars, ScaleRule};
use crate::reference::{Matrix, ReferenceMap, StepState, TileBounds, step, tiles};

/// Edge of the largest tile that is computed in f64 to judge a candidate.
const LARGEST_VERIFIED: usize = 384;
/// Tiles of up to this many elements are judged on every kind of input; larger ones on the first three.
const EVERY_KIND: usize = 128 * 128;

/// Bounds of the relative Frobenius error of a tile.
#[derive(Clone, Copy, Debug)]
struct Tolerance {
    /// Of tiles whose singular values lie close together, and of the step.
    plain: f64,
    /// Of tiles with tiny singular values, whose rounding errors the map amplifies by its slope at zero.
    graded: f64,
}

impl Tolerance {
    /// Of chains of fused multiply-adds, the worst measured on the CPU against the map in f64 (tiles of 8 to 384, every
    /// recurrence, f32 operands): 4.4e-6 plain, 1.1e-4 graded.
    const FUSED: Tolerance = Tolerance {
        plain: 2e-5,
        graded: 1e-3,
    };
    /// Of three tf32 terms with sums that are cut off, the worst of a model of tensor cores (tiles of 16 to 128, `muon` and
    /// `polar-express`): 2.2e-5 plain, 1.1e-2 graded.
    const CUT_OFF: Tolerance = Tolerance {
        plain: 1e-4,
        graded: 5e-2,
    };
    /// Where each intermediate matrix is rounded to 16 bits, another order of summation flips some of the roundings: 2.1e-2
    /// plain; graded tiles are not judged there, since the amplified roundings are as large as the result.
    const ROUNDED: Tolerance = Tolerance {
        plain: 4e-2,
        graded: f64::INFINITY,
    };

    fn of(spec: &KernelSpec, target: &(impl TuningTarget + ?Sized)) -> Tolerance {
        let exact = spec.mode == Mode::Accurate && target.operand(spec) == Operand::F32;
        // Whose candidates all give the same bits sum in one order, without tensor cores.
        match (exact, target.same_bits()) {
            (false, _) => Tolerance::ROUNDED,
            (true, true) => Tolerance::FUSED,
            (true, false) => Tolerance::CUT_OFF,
        }
    }
}

/// One matrix with its map in f64.
struct MapCase {
    shape: (usize, usize),
    input: Vec<f32>,
    expected: Vec<(TileBounds, Kind, Matrix)>,
}

/// The cases that every candidate of a specification must pass.
pub(super) struct Judge {
    spec: KernelSpec,
    tolerance: Tolerance,
    maps: Vec<MapCase>,
    step: StepCase,
    /// Weight and momentum after the step.
    expected_step: (Matrix, Matrix),
    /// Bits of the first candidate's results.
    first: Option<Vec<u32>>,
}

/// Why a candidate is excluded.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    /// It did not load or launch.
    Failed(String),
    /// It disagrees, by this error.
    Wrong(String, f64),
}

impl Judge {
    /// Computes the cases of a specification on `target`. `shapes` say how large whole-matrix tiles are.
    pub(super) fn new(
        spec: &KernelSpec,
        target: &(impl TuningTarget + ?Sized),
        shapes: &[(usize, usize)],
    ) -> Result<Self, String> {
        let map = ReferenceMap::new(spec).map_err(|error| error.to_string())?;
        let tolerance = Tolerance::of(spec, target);
        let maps = map_cases(spec, shapes, &map);
        let step = step_case(spec, shapes);
        let expected_step = reference_step(&map, &step)?;
        Ok(Judge {
            spec: spec.clone(),
            tolerance,
            maps,
            step,
            expected_step,
            first: None,
        })
    }

    /// The largest error of a candidate, or why it is excluded.
    pub(super) fn judge(
        &mut self,
        target: &mut (impl TuningTarget + ?Sized),
        variant: &str,
    ) -> Result<f64, Refusal> {
        let mut bits = Vec::new();
        let mut worst: f64 = 0.0;
        for case in &self.maps {
            let mut output = vec![f32::NAN; case.input.len()];
            target
                .map(&self.spec, variant, case.shape, &case.input, &mut output)
                .map_err(Refusal::Failed)?;
            bits.extend(output.iter().map(|value| value.to_bits()));
            let found = Matrix::from_f32(case.shape.0, case.shape.1, &output);
            for (bounds, kind, expected) in &case.expected {
                let bound = match kind.is_graded() {
                    true => self.tolerance.graded,
                    false => self.tolerance.plain,
                };
                let tile = found.cut(bounds);
                // Left alone: as it came. The other way to leave it out is to make it zero.
                if *kind == Kind::NotFinite && tile.values().iter().all(|value| value.is_nan()) {
                    continue;
                }
                let error = relative_error(&tile, expected);
                worst = worst.max(if bound.is_finite() { error } else { 0.0 });
                check(error, bound, || format!("map of {kind} tile"))?;
            }
        }
        let mut stepped = || -> Result<StepCase, Refusal> {
            let mut case = self.step.clone();
            target
                .step(&self.spec, variant, &mut case)
                .map_err(Refusal::Failed)?;
            Ok(case)
        };
        let [case, again] = [stepped()?, stepped()?];
        bits.extend(bits_of(&case));
        for (what, start, found, expected, element) in self.step_results(&case) {
            let (rows, columns) = (case.rows, case.columns);
            let found = Matrix::from_f32(rows, columns, found);
            let start = Matrix::from_f32(rows, columns, start);
            let change = expected.combined(1.0, -1.0, &start).norm();
            let error = found.combined(1.0, -1.0, expected).norm() / change;
            worst = worst.max(error);
            check(error, self.tolerance.plain + rounding(element), || {
                format!("{what} after a step")
            })?;
        }
        if bits_of(&case) != bits_of(&again) {
            let reason = "other bits when the step is taken again".to_owned();
            return Err(Refusal::Wrong(reason, worst));
        }
        if target.same_bits() && *self.first.get_or_insert_with(|| bits.clone()) != bits {
            let reason = "other bits than the default variant".to_owned();
            return Err(Refusal::Wrong(reason, worst));
        }
        Ok(worst)
    }

    #[expect(clippy::type_complexity, reason = "two rows of one small table")]
    fn step_results<'a>(
        &'a self,
        case: &'a StepCase,
    ) -> [(&'static str, &'a [f32], &'a [f32], &'a Matrix, Element); 2] {
        let storage = self.spec.storage;
        let (weight, momentum) = &self.expected_step;
        [
            (
                "weight",
                &self.step.weight,
                &case.weight,
                weight,
                storage.weight,
            ),
            (
                "momentum",
                &self.step.momentum,
                &case.momentum,
                momentum,
                storage.momentum,
            ),
        ]
    }
}

/// Of weight and momentum.
fn bits_of(case: &StepCase) -> Vec<u32> {
    let values = case.weight.iter().chain(&case.momentum);
    values.map(|value| value.to_bits()).collect()
}

fn check(error: f64, bound: f64, what: impl FnOnce() -> String) -> Result<(), Refusal> {
    // A NaN is above every bound.
    if error <= bound {
        return Ok(());
    }
    let reason = format!(
        "{}: relative error {error:.1e}, accepted {bound:.1e}",
        what()
    );
    Err(Refusal::Wrong(reason, error))
}

/// Zero where nothing is expected and nothing found.
fn relative_error(found: &Matrix, expected: &Matrix) -> f64 {
    let difference = found.combined(1.0, -1.0, expected).norm();
    match expected.norm() {
        0.0 if difference == 0.0 => 0.0,
        0.0 => f64::INFINITY,
        norm => difference / norm,
    }
}

/// What storing a result of the step's size in this type may add: half a unit in the last place of values that are
/// about as large as their change.
fn rounding(element: Element) -> f64 {
    match element {
        Element::F32 => 0.0,
        Element::F16 => 1.0 / 1024.0,
        Element::Bf16 => 1.0 / 128.0,
    }
}

/// Tiles whole and ragged, each of another kind; whole-matrix tiles in matrices of their own.
fn map_cases(spec: &KernelSpec, shapes: &[(usize, usize)], map: &ReferenceMap) -> Vec<MapCase> {
    let (height, width) = tile_shape(spec.tile, shapes);
    let kinds: &[Kind] = match height * width <= EVERY_KIND {
        true => &Kind::ALL,
        false => &Kind::ALL[..3],
    };
    let per_row = if kinds.len() > 3 { 4 } else { 3 };
    let matrices: Vec<(usize, usize)> = match spec.tile {
        Tile::Full => vec![(height, width); kinds.len()],
        Tile::Sized { .. } => {
            let down = kinds.len().div_ceil(per_row);
            // The last row and column of tiles are cut, as long as there are whole ones.
            let cut = |edge: usize, count: usize| match count {
                1 => edge,
                count => edge * count - edge / 3,
            };
            vec![(cut(height, down), cut(width, per_row))]
        }
    };
    let mut gaussian = Gaussian::new(1);
    let mut kind = kinds.iter().cycle().copied();
    matrices
        .into_iter()
        .map(|(rows, columns)| {
            let mut input = Matrix::zeros(rows, columns);
            let mut placed = Vec::new();
            for bounds in tiles(spec.tile, rows, columns) {
                let kind = kind.next().unwrap_or(Kind::Gaussian);
                let tile = fill(kind, bounds.rows, bounds.columns, &mut gaussian);
                input.paste(&bounds, &tile);
                placed.push((bounds, kind));
            }
            map_case(map, &input, &placed)
        })
        .collect()
}

fn map_case(map: &ReferenceMap, input: &Matrix, placed: &[(TileBounds, Kind)]) -> MapCase {
    let shape = (input.rows(), input.columns());
    let values = input.to_f32();
    let mapped = map.matrix(&Matrix::from_f32(shape.0, shape.1, &values));
    let expected = placed
        .iter()
        .zip(mapped.tiles)
        // A criterion may turn either way where a tile is at its edge.
        .filter(|((_, kind), _)| map.spec().criterion == Criterion::Always || !kind.is_graded())
        .map(|((bounds, kind), (_, tile))| (*bounds, *kind, tile.values))
        .collect();
    MapCase {
        shape,
        input: values,
        expected,
    }
}

/// The tile that is judged: the specification's own where f64 can afford it.
fn tile_shape(tile: Tile, shapes: &[(usize, usize)]) -> (usize, usize) {
    let (rows, columns) = match tile {
        Tile::Sized { rows, columns } => (rows as usize, columns as usize),
        Tile::Full => {
            let smallest = shapes.iter().min_by_key(|(rows, columns)| rows * columns);
            let (rows, columns) = smallest.copied().unwrap_or((128, 96));
            return (rows.min(128), columns.min(128));
        }
    };
    (rows.min(LARGEST_VERIFIED), columns.min(LARGEST_VERIFIED))
}

/// Gaussian tensors over one whole tile and ragged ones beside it, of the specification's types.
fn step_case(spec: &KernelSpec, shapes: &[(usize, usize)]) -> StepCase {
    let (height, width) = tile_shape(spec.tile, shapes);
    let ragged = |edge: usize| match edge {
        edge if edge > EVERY_KIND.isqrt() || spec.tile == Tile::Full => edge,
        edge => edge + edge.div_ceil(3),
    };
    let (rows, columns) = (ragged(height), ragged(width));
    let mut gaussian = Gaussian::new(3);
    let mut tensor = |factor: f32, element| {
        let values = gaussian.vector(rows * columns).into_iter();
        values.map(|value| round(factor * value, element)).collect()
    };
    StepCase {
        rows,
        columns,
        gradient: tensor(1.0, spec.storage.weight),
        momentum: tensor(1.0, spec.storage.momentum),
        // About as large as the update below.
        weight: tensor(0.1, spec.storage.weight),
        scalars: GroupScalars {
            learning_rate: 0.5,
            weight_decay: 0.25,
            mu: 0.9375,
            c: 1.0,
            alpha: 1.0,
            beta: 0.9375,
            scale_factor: 0.2,
            scale: ScaleRule::Exact,
            coarse_factor: 1.0,
            captured_decay: 0.0,
        },
    }
}

fn reference_step(map: &ReferenceMap, case: &StepCase) -> Result<(Matrix, Matrix), String> {
    let matrix = |values: &[f32]| Matrix::from_f32(case.rows, case.columns, values);
    let mut state = StepState {
        weight: matrix(&case.weight),
        momentum: matrix(&case.momentum),
        row_moments: None,
    };
    step(map, &case.scalars, &matrix(&case.gradient), &mut state)
        .map_err(|error| error.to_string())?;
    Ok((state.weight, state.momentum))
}

fn round(value: f32, element: Element) -> f32 {
    match element {
        Element::F32 => value,
        Element::Bf16 => bf16::from_f32(value).to_f32(),
        Element::F16 => f16::from_f32(value).to_f32(),
    }
}
