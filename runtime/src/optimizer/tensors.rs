//! What the tensors of a step must be like.

use himuon_templates::Element;

use super::builder::weight_element;
use super::error::StepError;
use super::group::GroupOptions;
use super::parameter::Parameter;
use super::{HiMuon, ParameterStep};
use crate::error::Error;
use crate::memory::Memory;
use crate::tensor::TensorView;

impl<M: Memory> HiMuon<M> {
    /// Numbers, rows and types of all tensors.
    pub(super) fn check_tensors(
        &self,
        parameters: &[ParameterStep<'_, M>],
    ) -> Result<(), StepError> {
        self.check_count(parameters.len())?;
        let allocator = self.backend.allocator();
        for (declared, passed) in self.parameters.iter().zip(parameters) {
            let weight = passed.weight.element();
            check_place(declared, "weight", &allocator, &M::read(&passed.weight))?;
            check_length(declared, "weight", passed.weight.len())?;
            check_rows(declared, "weight", &passed.weight)?;
            self.check_weight_type(declared, weight)?;
            if let Some(gradient) = &passed.gradient {
                check_place(declared, "gradient", &allocator, gradient)?;
                check_length(declared, "gradient", gradient.len())?;
                check_rows(declared, "gradient", gradient)?;
                check_type(declared, "gradient", gradient.element(), weight)?;
            }
        }
        Ok(())
    }

    /// Whether steps take weights of these types, one by parameter in the declared order: what can be asked before the
    /// first step, and so before the forward and backward pass that it takes.
    ///
    /// # Errors
    /// As of a step: [`StepError::Count`]; [`StepError::Type`] where the specifications of a group say another type,
    /// [`StepError::MasterWeights`] where AdamW is to keep masters beside weights that are not bf16.
    pub fn check_weight_types(&self, types: &[Element]) -> Result<(), Error> {
        self.check_count(types.len())?;
        for (declared, found) in self.parameters.iter().zip(types) {
            self.check_weight_type(declared, *found)?;
        }
        Ok(())
    }

    fn check_count(&self, found: usize) -> Result<(), StepError> {
        let expected = self.parameters.len();
        if found == expected {
            return Ok(());
        }
        Err(StepError::Count { found, expected })
    }

    fn check_weight_type(&self, declared: &Parameter<M>, found: Element) -> Result<(), StepError> {
        match (&self.groups[declared.group].options, &declared.matrices) {
            (GroupOptions::Muon(options), Some(_)) => {
                check_type(declared, "weight", found, weight_element(options))
            }
            (options, _) if options.master_weights() && found != Element::Bf16 => {
                Err(StepError::MasterWeights {
                    name: declared.name.clone(),
                    found,
                })
            }
            _ => Ok(()),
        }
    }
}

fn check_place<M: Memory>(
    declared: &Parameter<M>,
    tensor: &'static str,
    allocator: &M::Allocator,
    passed: &M::Ref<'_>,
) -> Result<(), StepError> {
    M::check(allocator, passed).map_err(|reason| StepError::Place {
        name: declared.name.clone(),
        tensor,
        reason,
    })
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
