//! Parameters and groups as Python declares them.

use himuon::optimizer::HiMuonBuilder;
use pyo3::prelude::*;

use crate::options::group_options;

/// A pattern of names, or a name of the group and the parameters' names.
#[derive(FromPyObject)]
pub(crate) enum Selector {
    Pattern(String),
    Names(String, Vec<String>),
}

/// Adds a group to a builder.
pub(crate) fn with_group(
    builder: HiMuonBuilder,
    (selector, options): (Selector, Bound<'_, PyAny>),
) -> PyResult<HiMuonBuilder> {
    let options = group_options(&options)?;
    Ok(match selector {
        Selector::Pattern(pattern) => builder.group_with(pattern, options),
        Selector::Names(group, names) => builder.group_of(group, names, options),
    })
}

/// Names and shapes of a mapping, or of an iterable of pairs; a value is a shape or has one.
pub(crate) fn declared(parameters: &Bound<'_, PyAny>) -> PyResult<Vec<(String, Vec<usize>)>> {
    let pairs = match parameters.hasattr("items")? {
        true => parameters.call_method0("items")?,
        false => parameters.clone(),
    };
    pairs
        .try_iter()?
        .map(|pair| {
            let (name, value): (String, Bound<'_, PyAny>) = pair?.extract()?;
            let shape = match value.getattr("shape") {
                Ok(shape) => shape.extract()?,
                Err(_) => value.extract()?,
            };
            Ok((name, shape))
        })
        .collect()
}
