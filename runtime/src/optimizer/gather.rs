//! Parameters cut into matrices and sorted into the chunks of the plan.

use std::collections::BTreeMap;

use super::buffers::{Buffer, ParameterState};
use super::group::NorMuon;
use super::parameter::{MatrixView, Parameter};
use super::prepare::{Ready, Scalars};
use super::{Group, GroupOptions, ParameterStep};
use crate::launch::{AdamWTensor, GroupScalars, MatrixStep, RowNormalisation, TileDiagnostics};
use crate::tensor::{TensorMut, TensorRef};

/// The matrices of every chunk of every launch, and the tensors of the element-wise update.
pub(crate) struct Work<'a> {
    pub(crate) launches: Vec<Vec<Vec<MatrixStep<'a>>>>,
    pub(crate) elementwise: Vec<AdamWTensor<'a>>,
}

/// Everything of a prepared step that a backend is handed.
pub(crate) fn gather<'a>(
    declared: &'a mut [Parameter],
    groups: &[Group],
    ready: &Ready,
    parameters: &'a mut [ParameterStep<'_>],
) -> Work<'a> {
    let places: BTreeMap<_, _> = ready.plan.places().collect();
    let chunks = |launch: &crate::plan::Launch| launch.chunks.iter().map(|_| Vec::new()).collect();
    let mut work = Work {
        launches: ready.plan.launches.iter().map(chunks).collect(),
        elementwise: Vec::new(),
    };
    for (index, (parameter, passed)) in declared.iter_mut().zip(parameters).enumerate() {
        let (Some(gradient), true) = (passed.gradient, ready.takes_part[index]) else {
            continue;
        };
        let weight = passed.weight.reborrow();
        let group = parameter.group;
        match (&ready.scalars[group], parameter.matrices) {
            (Scalars::Muon(scalars), Some(view)) => {
                let settings = match &groups[group].options {
                    GroupOptions::Muon(options) => options.row_normalisation,
                    GroupOptions::AdamW(_) => None,
                };
                let diagnostics = &mut parameter.diagnostics;
                let source = Source {
                    weight,
                    gradient,
                    diagnostics,
                };
                let matrices = matrices(&mut parameter.state, view, source, *scalars, settings);
                for (place, matrix) in matrices.into_iter().enumerate() {
                    if let Some(&(launch, chunk)) = places.get(&(index, place)) {
                        work.launches[launch][chunk].push(matrix);
                    }
                }
            }
            (scalars, _) => work
                .elementwise
                .extend(elementwise(parameter, scalars, weight, gradient)),
        }
    }
    work
}

/// The next element-wise update of a parameter.
fn elementwise<'a>(
    parameter: &'a mut Parameter,
    scalars: &Scalars,
    weight: TensorMut<'a>,
    gradient: TensorRef<'a>,
) -> Option<AdamWTensor<'a>> {
    let ParameterState::AdamW {
        exp_avg,
        exp_avg_sq,
        updates,
    } = &mut parameter.state
    else {
        return None;
    };
    let vector = parameter.shape.len() <= 1;
    let scalars = scalars.adamw(vector, *updates + 1)?;
    *updates += 1;
    Some(AdamWTensor {
        weight,
        gradient,
        first_moment: exp_avg,
        second_moment: exp_avg_sq,
        scalars,
    })
}

/// The tensors of a parameter that are not its state.
struct Source<'a> {
    weight: TensorMut<'a>,
    gradient: TensorRef<'a>,
    diagnostics: &'a mut [TileDiagnostics],
}

/// The matrices of a parameter, one after the other.
fn matrices<'a>(
    state: &'a mut ParameterState,
    view: MatrixView,
    source: Source<'a>,
    scalars: GroupScalars,
    settings: Option<NorMuon>,
) -> Vec<MatrixStep<'a>> {
    let ParameterState::Muon {
        momentum,
        row_second_moment,
    } = state
    else {
        return Vec::new();
    };
    let Source {
        weight,
        gradient,
        diagnostics,
    } = source;
    let size = view.rows * view.columns;
    let tiles = diagnostics.len() / view.count.max(1);
    let mut diagnostics = diagnostics.chunks_exact_mut(tiles.max(1));
    let mut moments = row_second_moment.chunks_exact_mut(view.rows.max(1));
    let tensors = weight
        .pieces(size)
        .into_iter()
        .zip(Buffer::as_mut(momentum).pieces(size))
        .zip(gradient.pieces(size));
    tensors
        .map(|((weight, momentum), gradient)| MatrixStep {
            rows: view.rows,
            columns: view.columns,
            gradient,
            gradient_leading: view.columns,
            momentum,
            weight,
            weight_leading: view.columns,
            row_normalisation: settings.and_then(|settings| {
                Some(RowNormalisation {
                    second_moment: moments.next()?,
                    beta2: settings.beta2,
                    epsilon: settings.epsilon,
                })
            }),
            scalars: view.scalars(scalars),
            diagnostics: diagnostics.next(),
        })
        .collect()
}
