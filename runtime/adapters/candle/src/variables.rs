//! Names and types of variables.

use std::collections::HashMap;

use candle_core::{DType, Error, Result, Var};
use candle_nn::VarMap;
use himuon::memory::Memory;
use himuon::templates::Element;

use crate::error::CandleError;

/// A variable under its name.
pub(crate) struct NamedVariable {
    pub(crate) name: String,
    pub(crate) variable: Var,
    pub(crate) element: Element,
}

/// Finds the name of each variable by its tensor id and sorts by name, so that the order does not depend on the map's.
///
/// Variables that are not floating-point numbers are left out, as candle-nn's own optimizers do. A variable that is
/// passed twice, or known under two names, is kept once, under the first name. Floating-point types that the optimizer
/// does not store are refused.
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
                found
                    .entry(variable.id())
                    .or_insert_with(|| (name.clone(), variable));
            }
            None => {
                let shape = variable.dims().to_vec();
                return Err(Error::wrap(CandleError::Unnamed { shape }));
            }
        }
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let typed = |(name, variable): (String, Var)| {
        let element = element(&name, variable.dtype())?;
        Ok(NamedVariable {
            name,
            variable,
            element,
        })
    };
    found.into_iter().map(typed).collect()
}

/// The type that a step passes a variable as.
fn element(name: &str, dtype: DType) -> Result<Element> {
    match dtype {
        DType::F32 => Ok(Element::F32),
        DType::BF16 => Ok(Element::Bf16),
        DType::F16 => Ok(Element::F16),
        found => Err(Error::wrap(CandleError::Type {
            tensor: "variable",
            name: name.to_owned(),
            found,
        })),
    }
}

/// Refuses variables whose types are not those of their groups' specifications.
pub(crate) fn check_types<M: Memory>(
    variables: &[NamedVariable],
    optimizer: &himuon::HiMuon<M>,
) -> Result<()> {
    let types: Vec<_> = variables.iter().map(|named| named.element).collect();
    optimizer.check_weight_types(&types).map_err(Error::wrap)
}
