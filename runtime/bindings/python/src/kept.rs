//! What a state holds of a parameter, also before a step has made it: checkpoints that are read into what is there ask.

use himuon::coarse::coarse_rank;
use himuon::messages::silenced;
use himuon::optimizer::View;
use himuon::templates::Element;
use himuon::tuning::{DeviceFingerprint, TuningTable};
use himuon::{HiMuon, KernelSpec};
use pyo3::prelude::*;
use safetensors::Dtype;

use crate::errors::raised;
use crate::selection::{Selector, declared, with_group};

/// The key of a tensor in the state, safetensors' type and shape.
pub(crate) type Kept = (&'static str, String, Vec<usize>);

fn kept(key: &'static str, element: Dtype, shape: Vec<usize>) -> Kept {
    (key, format!("{element:?}"), shape)
}

fn remainder(master_weights: bool, shape: &[usize]) -> Option<Kept> {
    master_weights.then(|| kept("master_remainder", Dtype::I16, shape.to_vec()))
}

/// What AdamW keeps of a parameter.
pub(crate) fn of_adamw(shape: &[usize], master_weights: bool) -> Vec<Kept> {
    let moments = ["exp_avg", "exp_avg_sq"];
    let moments = moments.map(|key| kept(key, Dtype::F32, shape.to_vec()));
    moments
        .into_iter()
        .chain(remainder(master_weights, shape))
        .collect()
}

/// What a group of tiles keeps of a matrix, or of several: momentum, and what its options add. The row moments have the
/// leading sides of the parameter, for whoever takes parts of them.
pub(crate) fn of_tiles(
    shape: &[usize],
    specs: &[KernelSpec],
    view: View,
    row_normalised: bool,
) -> Vec<Kept> {
    let (Some(first), Some(&columns)) = (specs.first(), shape.last()) else {
        return Vec::new();
    };
    let momentum = match first.storage.momentum {
        Element::F32 => Dtype::F32,
        Element::Bf16 => Dtype::BF16,
        Element::F16 => Dtype::F16,
    };
    let stacked = view == View::Stack || shape.len() == 2;
    let (rows, columns) = match stacked {
        true => (&shape[..shape.len() - 1], columns),
        false => (&shape[..1], shape[1..].iter().product()),
    };
    let mut all = vec![kept("momentum_buffer", momentum, shape.to_vec())];
    if row_normalised {
        all.push(kept("row_second_moment", Dtype::F32, rows.to_vec()));
    }
    let matrices = rows[..rows.len() - 1].iter().product();
    let ranks = specs
        .iter()
        .map(|spec| coarse_rank(spec, rows[rows.len() - 1], columns));
    // A part may have no numbers.
    let empty = shape.contains(&0);
    let rank = if empty { 0 } else { ranks.max().unwrap_or(0) };
    if rank > 0 {
        all.push(kept(
            "coarse_basis",
            Dtype::F32,
            vec![matrices, columns, rank],
        ));
    }
    all.extend(remainder(first.storage.master_weights, shape));
    all
}

/// The group of each parameter, by name, as an optimizer of these groups has it: none is made that lasts, tunes, or says anything.
#[pyfunction]
pub(crate) fn route(
    py: Python<'_>,
    parameters: &Bound<'_, PyAny>,
    groups: Vec<(Selector, Bound<'_, PyAny>)>,
) -> PyResult<Vec<(String, String)>> {
    let builder = HiMuon::builder()
        .parameters(declared(parameters)?)
        .threads(1)
        .tuning(TuningTable::new(DeviceFingerprint::cpu()));
    let builder = groups.into_iter().try_fold(builder, with_group)?;
    let explain = || builder.build().and_then(|optimizer| optimizer.explain());
    let explained = py.detach(|| silenced(explain));
    let lines = explained.map_err(raised)?.parameters.into_iter();
    Ok(lines.map(|line| (line.name, line.group)).collect())
}
