//! Parameters cut into matrices and sorted into the chunks of the plan.

use std::collections::BTreeMap;

use super::buffers::ParameterState;
use super::coarse::bases;
use super::group::NorMuon;
use super::parameter::{MatrixView, Parameter};
use super::prepare::{Ready, Scalars};
use super::{Group, GroupOptions, ParameterStep};
use crate::launch::{
    AdamWTensor, CoarseFigures, GroupScalars, MatrixStep, RowNormalisation, StepWork,
    TileDiagnostics,
};
use crate::memory::Memory;
use crate::tensor::TensorView;

/// Everything of a prepared step that a backend is handed.
pub(crate) fn gather<'a, M: Memory>(
    declared: &'a mut [Parameter<M>],
    groups: &[Group],
    ready: &Ready,
    parameters: &'a mut [ParameterStep<'_, M>],
) -> StepWork<'a, M> {
    let places: BTreeMap<_, _> = ready.plan.places().collect();
    let chunks = |launch: &crate::plan::Launch| launch.chunks.iter().map(|_| Vec::new()).collect();
    let mut work = StepWork {
        launches: ready.plan.launches.iter().map(chunks).collect(),
        elementwise: Vec::new(),
    };
    for (index, (parameter, passed)) in declared.iter_mut().zip(parameters).enumerate() {
        let (Some(gradient), true) = (passed.gradient.clone(), ready.takes_part[index]) else {
            continue;
        };
        let gradient = M::shorter(gradient);
        let weight = M::reborrow(&mut passed.weight);
        let group = parameter.group;
        match (&ready.scalars[group], parameter.matrices) {
            (Scalars::Muon(scalars), Some(view)) => {
                let settings = match &groups[group].options {
                    GroupOptions::Muon(options) => options.row_normalisation,
                    GroupOptions::AdamW(_) => None,
                };
                let diagnostics = &mut parameter.diagnostics;
                let figures = &mut parameter.coarse_figures;
                let source = Source {
                    weight,
                    gradient,
                    diagnostics,
                    refresh: ready.refreshes[group],
                    figures,
                };
                let matrices = matrices(&mut parameter.state, view, source, *scalars, settings);
                for (place, mut matrix) in matrices.into_iter().enumerate() {
                    if let Some(&(launch, chunk)) = places.get(&(index, place)) {
                        let power = ready.plan.launches[launch].spec.power;
                        matrix.scalars = view.scalars(*scalars, power);
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
fn elementwise<'a, M: Memory>(
    parameter: &'a mut Parameter<M>,
    scalars: &Scalars,
    weight: M::Mut<'a>,
    gradient: M::Ref<'a>,
) -> Option<AdamWTensor<'a, M>> {
    let ParameterState::AdamW {
        exp_avg,
        exp_avg_sq,
        remainder,
        updates,
    } = &mut parameter.state
    else {
        return None;
    };
    let vector = parameter.shape.len() <= 1;
    let scalars = scalars.adamw(vector, *updates + 1)?;
    Some(AdamWTensor {
        weight,
        gradient,
        first_moment: M::moments(exp_avg, parameter.len).pop()?,
        second_moment: M::moments(exp_avg_sq, parameter.len).pop()?,
        remainder: M::remainders(remainder, parameter.len).pop(),
        scalars,
    })
}

/// The tensors of a parameter that are not its state.
struct Source<'a, M: Memory> {
    weight: M::Mut<'a>,
    gradient: M::Ref<'a>,
    diagnostics: &'a mut [TileDiagnostics],
    /// Whether the basis of the coarse part moves.
    refresh: bool,
    /// What the coarse parts hold; empty where nobody wants to know.
    figures: &'a mut [CoarseFigures],
}

/// The matrices of a parameter, one after the other.
fn matrices<'a, M: Memory>(
    state: &'a mut ParameterState<M>,
    view: MatrixView,
    source: Source<'a, M>,
    scalars: GroupScalars,
    settings: Option<NorMuon>,
) -> Vec<MatrixStep<'a, M>> {
    let ParameterState::Muon {
        momentum,
        row_second_moment,
        coarse_basis,
        remainder,
    } = state
    else {
        return Vec::new();
    };
    let Source {
        weight,
        gradient,
        diagnostics,
        refresh,
        figures,
    } = source;
    let (rows, columns) = (view.rows, view.columns);
    let mut bases = bases::<M>(coarse_basis, view, (refresh, figures)).into_iter();
    let tiles = diagnostics.len() / view.count.max(1);
    let mut diagnostics = diagnostics.chunks_exact_mut(tiles.max(1));
    let mut moments = M::moments(row_second_moment, rows).into_iter();
    let mut remainders = M::remainders(remainder, rows * columns).into_iter();
    let tensors = M::matrices_mut(weight, rows, columns)
        .into_iter()
        .zip(M::matrices_mut(M::whole_mut(momentum), rows, columns))
        .zip(M::matrices(gradient, rows, columns));
    tensors
        .map(|((weight, momentum), gradient)| MatrixStep {
            rows,
            columns,
            gradient_leading: gradient.leading(columns),
            gradient,
            momentum,
            weight_leading: weight.leading(columns),
            weight,
            remainder: remainders.next(),
            row_normalisation: settings.and_then(|settings| {
                Some(RowNormalisation {
                    second_moment: moments.next()?,
                    beta2: settings.beta2,
                    epsilon: settings.epsilon,
                })
            }),
            coarse: bases.next(),
            scalars,
            diagnostics: diagnostics.next(),
        })
        .collect()
}
