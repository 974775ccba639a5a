//! Which optimizer gets which settings: the layers' configs, the groups, the learning rates.

use crate::settings::{CoarseChoice, MOMENTUM, OptimizerKind, RunSettings};
use crate::tile_schedule::ScheduleText;
use anyhow::{Result, anyhow};
use himuon::optimizer::{
    AdamWOptions, CoarseSchedule, HiMuonBuilder, LearningRate, MuonOptions, NorMuon,
};
use himuon::templates::{Power, SpecFields};
use himuon::{KernelSpec, LayerConfig, Tile, himuon};

/// The matrices of attention: projections to queries, keys and values, and of the result. A tile of a
/// projection covers the rows of one head.
#[himuon(tile = 64, steps = 5, coarse = 32, fine = "fused")]
struct Attention;

/// The matrices of the feed-forward part, two thirds of a block: smaller tiles, for the coarse part couples them.
#[himuon(tile = 32, steps = 5, coarse = 32, fine = "fused")]
struct FeedForward;

const ATTENTION: &str = "blocks.*.attention.*";
const FEED_FORWARD: &str = "blocks.*.mlp.*";

/// The declaration of the optimizer of a run. The parameters are still to be declared.
pub(crate) fn declare(settings: &RunSettings, builder: HiMuonBuilder) -> Result<HiMuonBuilder> {
    let rest = settings.rest_learning_rate / settings.learning_rate;
    let coarse = settings.coarse.as_ref();
    let feed_forward = coarse.map(|coarse| CoarseChoice {
        rank: coarse.feed_forward_rank.unwrap_or(coarse.rank),
        ..coarse.clone()
    });
    let builder = builder
        .learning_rate(settings.learning_rate)
        .diagnostics(coarse.is_some() && !settings.choices.undiagnosed)
        .adamw(adamw(rest));
    Ok(match settings.optimizer {
        OptimizerKind::AdamW => builder.group_with("*", adamw(1.0)),
        OptimizerKind::Muon => builder
            .group_with(ATTENTION, chosen(whole(settings)?, settings))
            .group_with(FEED_FORWARD, chosen(whole(settings)?, settings)),
        OptimizerKind::HiMuon => builder
            .group_with(
                ATTENTION,
                chosen(tiled::<Attention>(settings, coarse)?, settings),
            )
            .group_with(
                FEED_FORWARD,
                chosen(
                    tiled::<FeedForward>(settings, feed_forward.as_ref())?,
                    settings,
                ),
            ),
    })
}

/// AdamW at `factor` times the learning rate of the run, with the moments usual for language models.
fn adamw(factor: f64) -> AdamWOptions {
    AdamWOptions::default()
        .learning_rate(LearningRate::Factor(factor))
        .betas(0.9, 0.95)
}

/// The whole matrix as one tile.
fn whole(settings: &RunSettings) -> Result<MuonOptions> {
    match &settings.choices.criterion {
        None => Ok(MuonOptions::specs([KernelSpec::new(Tile::Full)])),
        Some(criterion) => tested(Tile::Full, criterion),
    }
}

/// A tile under a criterion of MiMuon; what fails it gets the momentum at the size of a mapped tile.
fn tested(tile: Tile, criterion: &str) -> Result<MuonOptions> {
    let text = format!("tile={tile} criterion={criterion} otherwise=rms-matched");
    Ok(MuonOptions::specs([parse::<KernelSpec>(&text)?]))
}

/// Momentum, decay and normalisation where the run has its own.
fn chosen(options: MuonOptions, settings: &RunSettings) -> MuonOptions {
    let choices = &settings.choices;
    let options = match choices.nesterov {
        Some(nesterov) => options.nesterov(nesterov),
        None => options,
    };
    let options = match choices.momentum {
        Some(momentum) => options.momentum(momentum),
        None => options,
    };
    let options = match choices.weight_decay {
        Some(decay) => options.weight_decay(decay),
        None => options,
    };
    if choices.row_normalisation {
        options.row_normalisation(NorMuon::default())
    } else {
        options
    }
}

/// What a layer declares, unless the command line names tiles or a coarse part: tiles of its own stand alone there.
fn tiled<C: LayerConfig>(
    settings: &RunSettings,
    coarse: Option<&CoarseChoice>,
) -> Result<MuonOptions> {
    let power = settings.power.as_deref().map(parse::<Power>).transpose()?;
    let options =
        |tiles: &[Tile]| Ok::<_, anyhow::Error>(MuonOptions::specs(specs(tiles, power, coarse)?));
    let options = if let Some(text) = &settings.schedule {
        let schedule: ScheduleText = parse(text)?;
        options(&schedule.tiles())?.schedule(schedule.schedule()?)
    } else {
        let tile = settings.tile.as_deref().map(parse::<Tile>).transpose()?;
        if let Some(criterion) = &settings.choices.criterion {
            return tested(tile.unwrap_or(C::SPECS[0].tile), criterion);
        }
        match tile {
            Some(tile) => options(&[tile])?,
            None if power.is_none() && coarse.is_none() => MuonOptions::of::<C>(),
            None => options(&[C::SPECS[0].tile])?,
        }
    };
    Ok(match coarse {
        Some(coarse) => {
            let of_all = settings.choices.momentum.unwrap_or(MOMENTUM);
            options
                .coarse_schedule(CoarseSchedule::refresh_every(coarse.refresh))
                .coarse_factor(coarse.factor.unwrap_or(1.0))
                .coarse_momentum(coarse.momentum.unwrap_or(of_all))
        }
        None => options,
    })
}

fn specs(
    tiles: &[Tile],
    power: Option<Power>,
    coarse: Option<&CoarseChoice>,
) -> Result<Vec<KernelSpec>> {
    tiles
        .iter()
        .map(|tile| {
            // A schedule's whole-matrix steps need no coupling.
            let coarse = coarse.filter(|_| *tile != Tile::Full);
            let fields = SpecFields {
                tile: Some(*tile),
                power,
                coarse: coarse.map(|coarse| coarse.rank),
                fine: coarse.map(|coarse| parse(&coarse.fine)).transpose()?,
                ..SpecFields::default()
            };
            Ok(fields.resolve()?)
        })
        .collect()
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| anyhow!("{error}"))
}
