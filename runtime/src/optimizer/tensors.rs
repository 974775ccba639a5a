//! What the tensors of a step must be like.

use himuon_templates::Element;

use super::builder::weight_element;
use super::error::StepError;
use super::group::GroupOptions;
use super::parameter::Parameter;
use super::{HiMuon, ParameterStep};
use crate::memory::Memory;
use crate::tensor::TensorView;

impl<M: Memory> HiMuon<M> {
    /// Numbers, rows and types of all tensors.
    pub(super) fn check_tensors(
        &self,
        parameters: &[ParameterStep<'_, M>],
    ) -> Result<(), StepError> {
        if parameters.len() != self.parameters.len() {
            return Err(StepError::Count {
                found: parameters.len(),
                expected: self.parameters.len(),
            });
        }
        for (declared, passed) in self.parameters.iter().zip(parameters) {
            let weight = passed.weight.element();
            check_length(declared, "weight", passed.weight.len())?;
            check_rows(declared, "weight", &passed.weight)?;
            if let (GroupOptions::Muon(options), Some(_)) =
                (&self.groups[declared.group].options, &declared.matrices)
            {
                check_type(declared, "weight", weight, weight_element(options))?;
            } else if self.groups[declared.group].options.master_weights()
                && weight != Element::Bf16
            {
                return Err(StepError::MasterWeights {
                    name: declared.name.clone(),
                    found: weight,
                });
            }
            if let Some(gradient) = &passed.gradient {
                check_length(declared, "gradient", gradient.len())?;
                check_rows(declared, "gradient", gradient)?;
                check_type(declared, "gradient", gradient.element(), weight)?;
            }
        }
        Ok(())
    }
}

fn check_length<M: Memory>(
    declared: &Parameter<M>,
    tensor: &'static str,
    found: usize,
) -> Result<(), StepError> {
    if found == declared.len {
        return Ok(());
    }
    Err(StepError::Length {
        name: declared.name.clone(),
        tensor,
        found,
        expected: declared.len,
        shape: declared.shape.clone(),
    })
}

/// A strided tensor must be cut into rows as its parameter is cut into matrices.
fn check_rows<M: Memory>(
    declared: &Parameter<M>,
    tensor: &'static str,
    passed: &impl TensorView,
) -> Result<(), StepError> {
    let (Some((columns, leading)), Some(view)) = (passed.strides(), declared.matrices) else {
        return Ok(());
    };
    if columns == view.columns && leading >= columns {
        return Ok(());
    }
    Err(StepError::Rows {
        name: declared.name.clone(),
        tensor,
        found: columns,
        leading,
        expected: view.columns,
    })
}

fn check_type<M: Memory>(
    declared: &Parameter<M>,
    tensor: &'static str,
    found: Element,
    expected: Element,
) -> Result<(), StepError> {
    if found == expected {
        return Ok(());
    }
    Err(StepError::Type {
        name: declared.name.clone(),
        tensor,
        found,
        expected,
    })
}
