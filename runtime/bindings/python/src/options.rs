//! Options of groups, with the defaults of the Rust library.

use himuon::launch::ScaleRule;
use himuon::optimizer::{
    AdamWOptions, GroupOptions, Layout, LearningRate, MomentumConvention, MuonOptions, NorMuon,
    View,
};
use himuon::schedule::TileSchedule;
use himuon::{KernelSpec, Tile};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::{argument, raised};
use crate::kept::{Kept, of_adamw, of_tiles};

/// What an argument of another type is told.
fn mistyped(what: &str, found: Borrowed<'_, '_, PyAny>, expected: &str) -> PyErr {
    PyTypeError::new_err(format!("{what} is {:?}, expected {expected}", &*found))
}

/// One specification as text, or one per tile that a schedule may use.
pub(crate) enum Specs {
    One(String),
    Many(Vec<String>),
}

impl FromPyObject<'_, '_> for Specs {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let one = given.extract().map(Specs::One);
        one.or_else(|_| given.extract().map(Specs::Many))
            .map_err(|_| {
                let expected = "text as \"tile=64 steps=5\", or a list of such texts";
                mistyped("spec", given, expected)
            })
    }
}

impl Specs {
    fn parse(self) -> PyResult<Vec<KernelSpec>> {
        let texts = match self {
            Specs::One(text) => vec![text],
            Specs::Many(texts) => texts,
        };
        let parse = |text: String| text.parse().map_err(|error| argument(format!("{error}")));
        texts.into_iter().map(parse).collect()
    }
}

/// A tile as an edge, as `"64x256"` of rows and columns, or as `"full"`.
pub(crate) enum TileText {
    Edge(u32),
    Text(String),
}

impl FromPyObject<'_, '_> for TileText {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let edge = given.extract().map(TileText::Edge);
        edge.or_else(|_| given.extract().map(TileText::Text))
            .map_err(|_| mistyped("a tile", given, "its edge, \"64x256\" or \"full\""))
    }
}

impl TileText {
    fn parse(self) -> PyResult<Tile> {
        match self {
            TileText::Edge(edge) => Ok(Tile::square(edge)),
            TileText::Text(text) => text.parse().map_err(|error| argument(format!("{error}"))),
        }
    }
}

/// `{"tile": 64, "every": "full", "period": 5, "factor": 0.5}`, or `(step, tile)` pairs.
pub(crate) enum Schedule {
    Periodic {
        tile: TileText,
        every: TileText,
        period: u64,
        factor: f64,
    },
    Changes(Vec<(u64, TileText)>),
}

const SCHEDULES: &str = "{\"tile\": 64, \"every\": \"full\", \"period\": 5, \"factor\": 0.5}, of which the factor may be left \
                         out, or [(step, tile), ...]";

impl FromPyObject<'_, '_> for Schedule {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let refused = |_| mistyped("schedule", given, SCHEDULES);
        let Ok(periodic) = given.cast::<PyDict>() else {
            return given.extract().map(Schedule::Changes).map_err(refused);
        };
        let keys: Vec<String> = periodic.keys().extract().map_err(refused)?;
        let named = ["tile", "every", "period", "factor"];
        if keys.iter().any(|key| !named.contains(&key.as_str())) {
            return Err(mistyped("schedule", given, SCHEDULES));
        }
        let item = |name| given.get_item(name).map_err(refused);
        Ok(Schedule::Periodic {
            tile: item("tile")?.extract()?,
            every: item("every")?.extract()?,
            period: item("period")?.extract().map_err(refused)?,
            factor: match periodic.contains("factor")? {
                true => item("factor")?.extract().map_err(refused)?,
                false => 1.0,
            },
        })
    }
}

impl Schedule {
    pub(crate) fn parse(self) -> PyResult<TileSchedule> {
        let schedule = match self {
            Schedule::Periodic {
                tile,
                every,
                period,
                factor,
            } => TileSchedule::periodic(tile.parse()?, every.parse()?, period, factor),
            Schedule::Changes(changes) => {
                let parse = |(step, tile): (u64, TileText)| Ok((step, tile.parse()?));
                let changes = changes
                    .into_iter()
                    .map(parse)
                    .collect::<PyResult<Vec<_>>>()?;
                TileSchedule::list(changes)
            }
        };
        schedule.map_err(|error| raised(error.into()))
    }
}

fn learning_rate(own: Option<f64>, factor: f64) -> LearningRate {
    own.map_or(LearningRate::Factor(factor), LearningRate::Own)
}

/// The value of a word, or an error that names the words.
pub(crate) fn word<T: Copy>(what: &str, found: &str, words: &[(&str, T)]) -> PyResult<T> {
    let known = words.iter().find(|(word, _)| *word == found);
    known.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        argument(format!("{what} is {found:?}, expected one of {words:?}"))
    })
}

/// Options of a group whose matrices are mapped tile by tile.
///
/// Args:
///     spec: tile, steps and the rest as text (``"tile=64 steps=5 coefficients=polar-express"``), or one text per tile that
///         a schedule may use, of which the first holds without one.
///     lr: a learning rate of the group's own; None: ``lr_factor`` times the optimizer's.
///     weight_decay: decoupled, ``W = (1 - lr wd) W``; lr wd is at most 1.
///     momentum, nesterov: mu in [0, 1), and whether the update looks one step ahead.
///     moving_average: ``buf = mu buf + (1 - mu) g`` instead of ``buf = mu buf + g``.
///     scale: of a mapped h x w tile of an H x W matrix: ``exact`` (f sqrt(max(h, w))), ``paper`` (f sqrt of the longer edge
///         of a whole tile, ragged or not), ``match_rms_adamw`` (f sqrt(max(H, W))), ``original`` (sqrt(max(1, H / W))) or
///         ``none`` (1), with f = ``scale_factor``. With a power above 0, or with row normalisation, none is read: the update
///         of each matrix is brought to the root mean square f.
///     layout: ``out_in`` where rows are outputs (torch), ``in_out`` where they are inputs (dense layers of flax; not
///         its convolutions, whose outputs are the last dimension: turn those).
///     view: what three or more dimensions are: ``convolution``, (out, in, kh, kw) as out x (in kh kw); ``stack``,
///         (experts, H, W) as matrices of their own; ``automatic`` takes four for a convolution and refuses three.
///     schedule: ``{"tile": 64, "every": "full", "period": 5, "factor": 0.5}`` (period and factor of the learning rate of
///         the steps 0, 5, 10, ...), or ``[(step, tile), ...]`` from step 0 on; None: the optimizer's.
///     row_normalisation: NorMuon's (beta2, epsilon); None for none.
///     coarse_factor, coarse_momentum: of what ``coarse=r`` in spec adds to the tiles; None: 0.5, and 0.8 or the momentum
///         if that is less.
///     every_matrix: whether embeddings and heads, known by name, are mapped too.
///     master_weights: whether f32 masters of bfloat16 weights are kept, as 16 bits an element of state.
///     weight: type of weights and gradients, ``f32``, ``bf16`` or ``f16``; None: that of spec.
///
/// Raises:
///     ValueError: a text that does not read, or a word that is none of these. What is out of range is a BuildError of the
///         optimizer.
#[pyclass(frozen, module = "himuon")]
pub(crate) struct Muon {
    options: MuonOptions,
    specs: Vec<KernelSpec>,
    view: View,
    row_normalised: bool,
}

#[pymethods]
impl Muon {
    #[new]
    #[pyo3(signature = (
        spec=Specs::One("tile=64".to_owned()), *, lr=None, lr_factor=1.0, weight_decay=0.1, momentum=0.95, nesterov=true,
        moving_average=false, scale="exact", scale_factor=0.2, layout="out_in", view="automatic", schedule=None,
        row_normalisation=None, coarse_factor=None, coarse_momentum=None, every_matrix=false, master_weights=false, weight=None
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        spec: Specs,
        lr: Option<f64>,
        lr_factor: f64,
        weight_decay: f64,
        momentum: f64,
        nesterov: bool,
        moving_average: bool,
        scale: &str,
        scale_factor: f64,
        layout: &str,
        view: &str,
        schedule: Option<Schedule>,
        row_normalisation: Option<(f32, f32)>,
        coarse_factor: Option<f64>,
        coarse_momentum: Option<f64>,
        every_matrix: bool,
        master_weights: bool,
        weight: Option<&str>,
    ) -> PyResult<Self> {
        let scale = word(
            "scale",
            scale,
            &[
                ("exact", ScaleRule::Exact),
                ("paper", ScaleRule::Paper),
                ("original", ScaleRule::Original),
                ("match_rms_adamw", ScaleRule::MatchRmsAdamW),
                ("none", ScaleRule::None),
            ],
        )?;
        let layouts = [("out_in", Layout::OutIn), ("in_out", Layout::InOut)];
        let views = [
            ("automatic", View::Automatic),
            ("convolution", View::Convolution),
            ("stack", View::Stack),
        ];
        let mut specs = spec.parse()?;
        if let Some(weight) = weight {
            let weight = weight
                .parse()
                .map_err(|error| argument(format!("{error}")))?;
            specs
                .iter_mut()
                .for_each(|spec| spec.storage.weight = weight);
        }
        specs
            .iter_mut()
            .for_each(|spec| spec.storage.master_weights |= master_weights);
        let view = word("view", view, &views)?;
        let mut options = MuonOptions::specs(specs.clone())
            .learning_rate(learning_rate(lr, lr_factor))
            .weight_decay(weight_decay)
            .momentum(momentum)
            .nesterov(nesterov)
            .convention(match moving_average {
                true => MomentumConvention::MovingAverage,
                false => MomentumConvention::HeavyBall,
            })
            .scale(scale)
            .scale_factor(scale_factor)
            .layout(word("layout", layout, &layouts)?)
            .view(view);
        if let Some(schedule) = schedule {
            options = options.schedule(schedule.parse()?);
        }
        if let Some((beta2, epsilon)) = row_normalisation {
            options = options.row_normalisation(NorMuon { beta2, epsilon });
        }
        if let Some(factor) = coarse_factor {
            options = options.coarse_factor(factor);
        }
        if let Some(momentum) = coarse_momentum {
            options = options.coarse_momentum(momentum);
        }
        if every_matrix {
            options = options.every_matrix();
        }
        Ok(Muon {
            options,
            specs,
            view,
            row_normalised: row_normalisation.is_some(),
        })
    }

    /// Key, type and shape of each tensor that the state has of a parameter of this shape.
    #[pyo3(name = "_state")]
    fn state(&self, shape: Vec<usize>) -> Vec<Kept> {
        of_tiles(&shape, &self.specs, self.view, self.row_normalised)
    }
}

/// Options of a group of AdamW.
///
/// Args:
///     lr: a learning rate of the group's own; None: ``lr_factor`` times the optimizer's.
///     betas: decays of the two moments, each in [0, 1).
///     eps: added to the root of the second moment.
///     weight_decay: decoupled; lr wd is at most 1.
///     decay_vectors: whether parameters of at most one dimension decay too.
///     master_weights: whether f32 masters of bfloat16 weights are kept, as 16 bits an element of state.
#[pyclass(frozen, module = "himuon")]
pub(crate) struct AdamW {
    pub(crate) options: AdamWOptions,
    master_weights: bool,
}

#[pymethods]
impl AdamW {
    #[new]
    #[pyo3(signature = (
        *, lr=None, lr_factor=0.05, betas=(0.95, 0.95), eps=1e-8, weight_decay=0.1, decay_vectors=false,
        master_weights=false
    ))]
    fn new(
        lr: Option<f64>,
        lr_factor: f64,
        betas: (f64, f64),
        eps: f64,
        weight_decay: f64,
        decay_vectors: bool,
        master_weights: bool,
    ) -> Self {
        let options = AdamWOptions::default()
            .learning_rate(learning_rate(lr, lr_factor))
            .betas(betas.0, betas.1)
            .epsilon(eps)
            .weight_decay(weight_decay)
            .decay_vectors(decay_vectors)
            .master_weights(master_weights);
        AdamW {
            options,
            master_weights,
        }
    }

    /// As of a group of tiles.
    #[pyo3(name = "_state")]
    fn state(&self, shape: Vec<usize>) -> Vec<Kept> {
        of_adamw(&shape, self.master_weights)
    }
}

/// The options of a group, of either kind.
pub(crate) fn group_options(options: &Bound<'_, PyAny>) -> PyResult<GroupOptions> {
    if let Ok(muon) = options.cast::<Muon>() {
        return Ok(muon.get().options.clone().into());
    }
    if let Ok(adamw) = options.cast::<AdamW>() {
        return Ok(adamw.get().options.into());
    }
    Err(PyTypeError::new_err(format!(
        "a group has options {options}, expected a himuon.Muon or a himuon.AdamW"
    )))
}
