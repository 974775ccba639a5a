//! Which tile to take, and why.

use serde::Serialize;

use super::report::{MapDiagnosis, TileDiagnosis};
use super::spectrum::Spectrum;

/// An update whose spectral norm is larger than this many times the whole matrix's moves some directions much
/// further than Muon would at the same learning rate.
const LARGEST_NORM_RATIO: f64 = 4.0;

/// Advice from one matrix at one step: the loss decides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recommendation {
    /// The tile, as text.
    pub tile: String,
    /// The power that the advice is for, as text: the first that was asked for.
    pub power: String,
    /// Why.
    pub reason: String,
    /// What else deserves a look.
    pub notes: Vec<String>,
}

/// The cheapest tile at the first power whose cosine to the whole matrix's map reaches the floor.
pub(super) fn recommend(
    tiles: &[TileDiagnosis],
    spectrum: &Spectrum,
    floor: f64,
) -> Recommendation {
    let candidates = || {
        tiles
            .iter()
            .filter_map(|tile| Some((tile, tile.maps.first()?)))
    };
    let good = |map: &MapDiagnosis| {
        map.cosine.value >= floor
            && map.spectral_norm <= LARGEST_NORM_RATIO * map.full_spectral_norm
    };
    let cheapest = candidates()
        .filter(|(_, map)| good(map))
        .min_by_key(|(_, map)| map.operations);
    let closest = candidates().max_by(|a, b| a.1.cosine.value.total_cmp(&b.1.cosine.value));
    let power = candidates()
        .next()
        .map_or(String::new(), |(_, map)| map.power.clone());
    let (tile, reason) = match (cheapest, closest) {
        (Some((tile, map)), _) => (tile.tile.clone(), met(map, candidates(), floor)),
        (None, Some((tile, map))) => (
            tile.tile.clone(),
            format!(
                "no tile reaches a cosine of {floor}; this one comes closest with {:.3}",
                map.cosine.value
            ),
        ),
        (None, None) => (String::new(), "nothing was compared".to_owned()),
    };
    Recommendation {
        notes: notes(tiles, spectrum, &tile, floor),
        tile,
        power,
        reason,
    }
}

fn met<'a>(
    chosen: &MapDiagnosis,
    all: impl Iterator<Item = (&'a TileDiagnosis, &'a MapDiagnosis)>,
    floor: f64,
) -> String {
    let dearest = all.map(|(_, map)| map.operations).max().unwrap_or(0);
    let saving = dearest as f64 / chosen.operations.max(1) as f64;
    let norm = chosen.spectral_norm / chosen.full_spectral_norm;
    format!(
        "the cheapest tile with a cosine of at least {floor} to the whole matrix's map: {:.3}, at {saving:.1} times \
         fewer operations than the dearest tile compared; its update's spectral norm is {norm:.2} times Muon's",
        chosen.cosine.value
    )
}

fn notes(tiles: &[TileDiagnosis], spectrum: &Spectrum, chosen: &str, floor: f64) -> Vec<String> {
    let mut notes = Vec::new();
    let count: f64 = spectrum.weights.iter().sum();
    if spectrum.stable_rank < 0.05 * count {
        notes.push(format!(
            "its stable rank is {:.1} of {count:.0}: few directions hold most of it, and they couple the tiles",
            spectrum.stable_rank
        ));
    }
    if let Some(tail) = spectrum.tails.get(1).filter(|tail| tail.fraction > 0.1) {
        notes.push(format!(
            "{:.0} % of its singular values lie below 1e-3 of the largest: orthogonalising lifts noise to full size",
            100.0 * tail.fraction
        ));
    }
    let own = tiles.iter().find(|tile| tile.tile == chosen);
    let first = own.and_then(|tile| tile.maps.first());
    let gentler = tiles
        .iter()
        .flat_map(|tile| tile.maps.iter().skip(1).map(move |map| (tile, map)));
    let cheaper = gentler
        .filter(|(_, map)| {
            map.cosine.value >= floor && first.is_some_and(|own| map.operations < own.operations)
        })
        .min_by_key(|(_, map)| map.operations);
    if let Some((tile, map)) = cheaper {
        notes.push(format!(
            "at p = {} tile {} already reaches {:.3}, with fewer operations (another map: Muon^p is for fine-tuning)",
            map.power, tile.tile, map.cosine.value
        ));
    }
    notes
}
