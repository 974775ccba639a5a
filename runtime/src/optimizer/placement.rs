//! Checking what was declared, and giving each parameter its group.

use std::collections::BTreeSet;

use globset::{Glob, GlobMatcher};

use super::buffers::ParameterState;
use super::builder::REST;
use super::check::{check_adamw, check_muon};
use super::error::BuildError;
use super::group::{AdamWOptions, GroupOptions};
use super::parameter::{MatrixView, Parameter};
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
    }
    Ok(())
}

/// Checks the options of all groups and adds the group of the rest.
pub(super) fn check_groups(
    groups: Vec<(String, GroupOptions)>,
    rest: AdamWOptions,
    schedule: &TileSchedule,
    warnings: &mut Vec<String>,
) -> Result<Vec<Group>, Error> {
    let mut checked = Vec::with_capacity(groups.len() + 1);
    for (pattern, mut options) in groups {
        match &mut options {
            GroupOptions::Muon(muon) => {
                check_muon(&pattern, muon)?;
                let own = muon.schedule.get_or_insert_with(|| schedule.clone());
                own.check(&pattern, &muon.specs)?;
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

fn matcher(pattern: &str) -> Result<GlobMatcher, BuildError> {
    Glob::new(pattern)
        .map(|glob| glob.compile_matcher())
        .map_err(|error| BuildError::Pattern {
            pattern: pattern.to_owned(),
            reason: error.kind().to_string(),
        })
}

/// Gives each parameter its group and the reason for it.
pub(super) fn route<M: Memory>(
    parameters: Vec<(String, Vec<usize>)>,
    groups: &[Group],
    warnings: &mut Vec<String>,
) -> Result<Vec<Parameter<M>>, BuildError> {
    let rest = groups.len() - 1;
    let matchers = groups[..rest]
        .iter()
        .map(|group| matcher(&group.pattern))
        .collect::<Result<Vec<_>, _>>()?;
    for (group, matcher) in groups.iter().zip(&matchers) {
        if !parameters.iter().any(|(name, _)| matcher.is_match(name)) {
            return Err(BuildError::Unmatched {
                pattern: group.pattern.clone(),
                count: parameters.len(),
                first: parameters[0].0.clone(),
            });
        }
    }
    parameters
        .into_iter()
        .map(|(name, shape)| {
            let group = matchers.iter().position(|matcher| matcher.is_match(&name));
            let parameter = place(name, shape, group, groups)?;
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
        .collect()
}

fn place<M: Memory>(
    name: String,
    shape: Vec<usize>,
    group: Option<usize>,
    groups: &[Group],
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
            let reason = format!("{pattern} asks for AdamW");
            return Ok(adamw(index, reason, name, shape));
        }
        GroupOptions::Muon(options) => options,
    };
    let by_name = options.name_rules && routing::has_wildcard(pattern);
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
