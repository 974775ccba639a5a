//! Checking what was declared, and giving each parameter its group.

use std::collections::BTreeSet;

use super::buffers::ParameterState;
use super::builder::REST;
use super::check::{check_adamw, check_muon};
use super::error::BuildError;
use super::group::{AdamWOptions, GroupOptions, Layout};
use super::parameter::{MatrixView, Parameter};
use super::selection::{Matcher, Selection};
use super::{Group, routing};
use crate::error::Error;
use crate::memory::Memory;
use crate::schedule::TileSchedule;

/// Refuses parameters without a name of their own, or without numbers.
pub(super) fn check_parameters(parameters: &[(String, Vec<usize>)]) -> Result<(), BuildError> {
    if parameters.is_empty() {
        return Err(BuildError::NoParameters);
    }
    let mut names = BTreeSet::new();
    for (name, shape) in parameters {
        if !names.insert(name) {
            return Err(BuildError::DuplicateName { name: name.clone() });
        }
        if shape.contains(&0) {
            return Err(BuildError::EmptyShape {
                name: name.clone(),
                shape: shape.clone(),
            });
        }
        let elements = shape
            .iter()
            .try_fold(1_usize, |product, side| product.checked_mul(*side));
        // Eight bytes of moments for each, and no object is larger than isize::MAX.
        if elements.is_none_or(|elements| elements > isize::MAX as usize / 8) {
            return Err(BuildError::LargeShape {
                name: name.clone(),
                shape: shape.clone(),
            });
        }
    }
    Ok(())
}

/// Refuses a list of names under the name of another group: neither could be set by it.
pub(super) fn check_names(groups: &[(Selection, GroupOptions)]) -> Result<(), BuildError> {
    for (index, (selection, _)) in groups.iter().enumerate() {
        let name = selection.group();
        let mut others = groups[..index].iter().chain(&groups[index + 1..]);
        let taken = others.any(|(other, _)| other.group() == name);
        if name == REST || (taken && matches!(selection, Selection::Names { .. })) {
            return Err(BuildError::DuplicateGroup {
                group: name.to_owned(),
            });
        }
    }
    Ok(())
}

/// Checks the options of all groups and adds the group of the rest.
pub(super) fn check_groups(
    groups: impl IntoIterator<Item = (Selection, GroupOptions)>,
    rest: AdamWOptions,
    schedule: &TileSchedule,
    layout: Layout,
    warnings: &mut Vec<String>,
) -> Result<Vec<Group>, Error> {
    let mut checked = Vec::new();
    for (selection, mut options) in groups {
        let pattern = selection.group().to_owned();
        match &mut options {
            GroupOptions::Muon(muon) => {
                check_muon(&pattern, muon)?;
                let own = muon.schedule.get_or_insert_with(|| schedule.clone());
                own.check(&pattern, &muon.specs)?;
                muon.layout.get_or_insert(layout);
                warnings.extend(muon.mimuon_warning(&pattern));
            }
            GroupOptions::AdamW(adamw) => check_adamw(&pattern, adamw)?,
        }
        checked.push(Group { pattern, options });
    }
    check_adamw(REST, &rest)?;
    checked.push(Group {
        pattern: REST.to_owned(),
        options: GroupOptions::AdamW(rest),
    });
    Ok(checked)
}

/// Gives each parameter its group and the reason for it.
pub(super) fn route<M: Memory>(
    parameters: Vec<(String, Vec<usize>)>,
    groups: &[Group],
    matchers: &[Matcher],
    warnings: &mut Vec<String>,
) -> Result<Vec<Parameter<M>>, BuildError> {
    let rest = groups.len() - 1;
    let placed = parameters
        .into_iter()
        .map(|(name, shape)| {
            let group = matchers.iter().position(|matcher| matcher.is_match(&name));
            let mut parameter = place(name, shape, group, groups, matchers)?;
            if parameter.group == rest
                && let Some(later) = later_adamw(&parameter.name, group, groups, matchers)
            {
                parameter.group = later;
            }
            if group.is_none()
                && routing::exclusion(&parameter.name, &parameter.shape, true).is_none()
            {
                warnings.push(format!(
                    "parameter {} is a matrix that no group matches: it is updated by AdamW",
                    parameter.name
                ));
            }
            Ok(parameter)
        })
        .collect::<Vec<_>>();
    let placed = all_placed(placed)?;
    for (index, (group, matcher)) in groups.iter().zip(matchers).enumerate() {
        if placed.iter().any(|parameter| parameter.group == index) {
            continue;
        }
        let first = placed.iter().find(|p| matcher.is_match(&p.name));
        warnings.extend(first.map(|parameter| {
            format!(
                "group {} gets no parameter: {} is in group {} ({}); put the narrower pattern first, or remove the group",
                group.pattern, parameter.name, groups[parameter.group].pattern, parameter.reason
            )
        }));
    }
    Ok(placed)
}

/// The parameters, unless one is refused; all of three dimensions that their groups do not explain are refused in one error.
fn all_placed<M: Memory>(
    placed: Vec<Result<Parameter<M>, BuildError>>,
) -> Result<Vec<Parameter<M>>, BuildError> {
    let mut parameters = Vec::with_capacity(placed.len());
    let mut ambiguous: Option<BuildError> = None;
    for parameter in placed {
        match (parameter, &mut ambiguous) {
            (Ok(parameter), _) => parameters.push(parameter),
            (
                Err(BuildError::AmbiguousView { name, .. }),
                Some(BuildError::AmbiguousView { others, .. }),
            ) => others.push(name),
            (Err(error @ BuildError::AmbiguousView { .. }), _) => ambiguous = Some(error),
            (Err(error), _) => return Err(error),
        }
    }
    ambiguous.map_or(Ok(parameters), Err)
}

/// The group of AdamW that names a parameter which the group of tiles before it leaves out.
fn later_adamw(
    name: &str,
    group: Option<usize>,
    groups: &[Group],
    matchers: &[Matcher],
) -> Option<usize> {
    let after = group? + 1;
    let is_adamw = |index: &usize| matches!(groups[*index].options, GroupOptions::AdamW(_));
    (after..matchers.len())
        .filter(is_adamw)
        .find(|index| matchers[*index].is_match(name))
}

fn place<M: Memory>(
    name: String,
    shape: Vec<usize>,
    group: Option<usize>,
    groups: &[Group],
    matchers: &[Matcher],
) -> Result<Parameter<M>, BuildError> {
    let rest = groups.len() - 1;
    let adamw = |group: usize, reason: String, name: String, shape: Vec<usize>| Parameter {
        diagnostics: Vec::new(),
        raised: None,
        drift_named: false,
        coarse_figures: Vec::new(),
        len: shape.iter().product(),
        name,
        shape,
        group,
        reason,
        matrices: None,
        state: ParameterState::adamw(),
    };
    let Some(index) = group else {
        let reason = routing::exclusion(&name, &shape, true)
            .unwrap_or_else(|| "a matrix, but no group matches its name".to_owned());
        return Ok(adamw(rest, reason, name, shape));
    };
    let Group { pattern, options } = &groups[index];
    let options = match options {
        GroupOptions::AdamW(_) => {
            let reason = routing::exclusion(&name, &shape, true)
                .unwrap_or_else(|| format!("{pattern} asks for AdamW"));
            return Ok(adamw(index, reason, name, shape));
        }
        GroupOptions::Muon(options) => options,
    };
    let by_name = options.name_rules && matchers[index].selects_many();
    if let Some(reason) = routing::exclusion(&name, &shape, by_name) {
        return Ok(adamw(rest, reason, name, shape));
    }
    let view = MatrixView::of(&name, &shape, pattern, options)?;
    Ok(Parameter {
        diagnostics: Vec::new(),
        raised: None,
        drift_named: false,
        coarse_figures: Vec::new(),
        len: shape.iter().product(),
        name,
        shape,
        group: index,
        reason: format!("matches {pattern}"),
        matrices: Some(view),
        state: ParameterState::muon(options.specs[0].storage.momentum),
    })
}
