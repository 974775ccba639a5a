//! Names of variables.

use std::collections::HashMap;

use candle_core::{Result, Var};
use candle_nn::VarMap;

use crate::error::CandleError;

/// A variable under its name.
pub(crate) struct NamedVariable {
    pub(crate) name: String,
    pub(crate) variable: Var,
}

/// Finds the name of each variable by its tensor id and sorts by name, so that the order does not depend on the map's.
///
/// Variables that are not floating-point numbers are left out, as candle-nn's own optimizers do. A variable that is
/// passed twice, or known under two names, is kept once, under the first name.
pub(crate) fn named(variables: Vec<Var>, map: &VarMap) -> Result<Vec<NamedVariable>> {
    let mut names = HashMap::new();
    {
        let registered = map
            .data()
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut sorted: Vec<_> = registered.iter().collect();
        sorted.sort_by_key(|(name, _)| *name);
        for (name, variable) in sorted {
            names.entry(variable.id()).or_insert_with(|| name.clone());
        }
    }
    let mut found = HashMap::new();
    for variable in variables {
        if !variable.dtype().is_float() {
            continue;
        }
        match names.get(&variable.id()) {
            Some(name) => {
                let name = name.clone();
                found
                    .entry(variable.id())
                    .or_insert(NamedVariable { name, variable });
            }
            None => {
                let shape = variable.dims().to_vec();
                return Err(candle_core::Error::wrap(CandleError::Unnamed { shape }));
            }
        }
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
