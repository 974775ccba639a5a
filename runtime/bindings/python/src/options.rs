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

use crate::errors::{argument, raised};
use crate::kept::{Kept, of_adamw, of_tiles};

/// One specification as text, or one per tile that a schedule may use.
#[derive(FromPyObject)]
pub(crate) enum Specs {
    One(String),
    Many(Vec<String>),
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

/// A tile as an edge, as `"rows x columns"`, or as `"full"`.
#[derive(FromPyObject)]
pub(crate) enum TileText {
    Edge(u32),
    Text(String),
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
#[derive(FromPyObject)]
pub(crate) enum Schedule {
    #[pyo3(from_item_all)]
    Periodic {
        tile: TileText,
        every: TileText,
        period: u64,
        #[pyo3(default = 1.0)]
        factor: f64,
    },
    Changes(Vec<(u64, TileText)>),
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

/// A group whose matrices are mapped tile by tile.
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

/// A group of AdamW.
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
