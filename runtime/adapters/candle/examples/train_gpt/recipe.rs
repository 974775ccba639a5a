//! Which optimizer gets which settings: the layers' configs, the groups, the learning rates.

use crate::settings::{OptimizerKind, RunSettings};
use crate::tile_schedule::ScheduleText;
use anyhow::{Result, anyhow};
use himuon::optimizer::{AdamWOptions, HiMuonBuilder, LearningRate, MuonOptions};
use himuon::schedule::TileSchedule;
use himuon::templates::{Power, SpecFields};
use himuon::{KernelSpec, LayerConfig, Tile, himuon};

/// The matrices of attention: projections to queries, keys and values, and of the result. A tile of a
/// projection is one head: 64 rows at the default width.
#[himuon(tiles = [(64, 384), "full"], steps = 5)]
struct Attention;

/// The matrices of the feed-forward part. Long tiles cost less than square ones of their area (the Gram
/// matrix is of the short side) and couple more of the matrix.
#[himuon(tiles = [(96, 384), "full"], steps = 5)]
struct FeedForward;

const ATTENTION: &str = "blocks.*.attention.*";
const FEED_FORWARD: &str = "blocks.*.mlp.*";

/// The declaration of the optimizer of a run. The parameters are still to be declared.
pub(crate) fn declare(settings: &RunSettings, builder: HiMuonBuilder) -> Result<HiMuonBuilder> {
    let rest = settings.rest_learning_rate / settings.learning_rate;
    let builder = builder
        .learning_rate(settings.learning_rate)
        .adamw(adamw(rest));
    Ok(match settings.optimizer {
        OptimizerKind::AdamW => builder.group_with("*", adamw(1.0)),
        OptimizerKind::Muon => builder
            .group_with(ATTENTION, chosen(whole::<Attention>(settings)?, settings))
            .group_with(
                FEED_FORWARD,
                chosen(whole::<FeedForward>(settings)?, settings),
            ),
        OptimizerKind::HiMuon => builder
            .group_with(ATTENTION, chosen(tiled::<Attention>(settings)?, settings))
            .group_with(
                FEED_FORWARD,
                chosen(tiled::<FeedForward>(settings)?, settings),
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
fn whole<C: LayerConfig>(settings: &RunSettings) -> Result<MuonOptions> {
    match &settings.choices.criterion {
        None => Ok(MuonOptions::of::<C>().schedule(TileSchedule::constant(Tile::Full))),
        Some(criterion) => tested(Tile::Full, criterion),
    }
}

/// A tile under a criterion of MiMuon; what fails it gets the momentum at the size of a mapped tile.
fn tested(tile: Tile, criterion: &str) -> Result<MuonOptions> {
    let text = format!("tile={tile} criterion={criterion} otherwise=rms-matched");
    Ok(MuonOptions::specs([parse::<KernelSpec>(&text)?]))
}

/// Momentum and decay where the run has its own.
fn chosen(options: MuonOptions, settings: &RunSettings) -> MuonOptions {
    let choices = &settings.choices;
    let options = match choices.nesterov {
        Some(nesterov) => options.nesterov(nesterov),
        None => options,
    };
    match choices.weight_decay {
        Some(decay) => options.weight_decay(decay),
        None => options,
    }
}

/// A layer's own tiles, unless the command line names others.
fn tiled<C: LayerConfig>(settings: &RunSettings) -> Result<MuonOptions> {
    let power = settings.power.as_deref().map(parse::<Power>).transpose()?;
    if let Some(text) = &settings.schedule {
        let schedule: ScheduleText = parse(text)?;
        let specs = with_power(&schedule.tiles(), power)?;
        return Ok(MuonOptions::specs(specs).schedule(schedule.schedule()?));
    }
    let tile = settings.tile.as_deref().map(parse::<Tile>).transpose()?;
    if let Some(criterion) = &settings.choices.criterion {
        return tested(tile.unwrap_or(C::SPECS[0].tile), criterion);
    }
    match (tile, power) {
        (None, None) => Ok(MuonOptions::of::<C>()),
        (Some(tile), power) => Ok(MuonOptions::specs(with_power(&[tile], power)?)),
        (None, power) => Ok(MuonOptions::specs(with_power(&[C::SPECS[0].tile], power)?)),
    }
}

fn with_power(tiles: &[Tile], power: Option<Power>) -> Result<Vec<KernelSpec>> {
    tiles
        .iter()
        .map(|tile| {
            Ok(SpecFields {
                tile: Some(*tile),
                power,
                ..SpecFields::default()
            }
            .resolve()?)
        })
        .collect()
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| anyhow!("{error}"))
}
