//! The parameters of a module by the path on which they are found.

use std::collections::HashMap;

use burn_core::Tensor;
use burn_core::module::{Module, ModuleVisitor, Param, ParamId};
use burn_core::tensor::{DType, Device};
use himuon::templates::Element;

use crate::error::BurnError;

/// A floating-point parameter of a module.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) id: ParamId,
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: DType,
    device: Device,
    /// Whether its gradient is kept.
    trainable: bool,
}

/// The names that lead to where a traversal is.
#[derive(Debug, Default)]
pub(crate) struct ModulePath(Vec<String>);

impl ModulePath {
    pub(crate) fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.0.pop();
    }

    pub(crate) fn name(&self) -> String {
        self.0.join(".")
    }
}

#[derive(Default)]
struct Survey {
    path: ModulePath,
    found: Vec<Found>,
}

impl ModuleVisitor for Survey {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push(Found {
            id: param.id,
            name: self.path.name(),
            shape: param.shape().to_vec(),
            dtype: param.dtype(),
            device: param.device(),
            trainable: param.is_require_grad(),
        });
    }
}

/// The floating-point parameters of a module, each identifier once, in the order of the module's fields.
///
/// What occurs twice is known by the first path on which it is trainable, else by the first of all: a frozen copy, such as
/// a teacher, has the identifiers of the module that it was cloned from. Trainable places get one tensor at a step, and
/// must be of one type and device.
pub(crate) fn parameters_of<M: Module>(module: &M) -> Result<Vec<Found>, BurnError> {
    let mut survey = Survey::default();
    module.visit(&mut survey);
    let mut places: HashMap<ParamId, usize> = HashMap::new();
    let mut unique: Vec<Found> = Vec::new();
    for found in survey.found {
        if found.name.is_empty() {
            return Err(BurnError::Unnamed { shape: found.shape });
        }
        let Some(place) = places.get(&found.id) else {
            places.insert(found.id, unique.len());
            unique.push(found);
            continue;
        };
        let first = &mut unique[*place];
        if first.shape != found.shape {
            return Err(BurnError::Shared {
                first: first.name.clone(),
                second: found.name,
                first_shape: first.shape.clone(),
                second_shape: found.shape,
            });
        }
        match (first.trainable, found.trainable) {
            (true, true) => check_one_tensor(first, &found)?,
            (false, true) => *first = found,
            (_, false) => {}
        }
    }
    Ok(unique)
}

/// Whether two places can take the same new weight.
fn check_one_tensor(first: &Found, second: &Found) -> Result<(), BurnError> {
    if first.dtype == second.dtype && first.device == second.device {
        return Ok(());
    }
    let tensor = |found: &Found| format!("{:?} on {:?}", found.dtype, found.device);
    Err(BurnError::Diverged {
        first: first.name.clone(),
        second: second.name.clone(),
        first_tensor: tensor(first),
        second_tensor: tensor(second),
    })
}

/// A parameter that the optimizer was made for.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) element: Element,
}

/// The parameters to declare. Frozen ones of types that are not stored are left out: quantized weights below an adapter.
pub(crate) fn declarable(found: Vec<Found>) -> Result<Vec<Declared>, BurnError> {
    let mut declared = Vec::with_capacity(found.len());
    for found in found {
        match element(found.dtype) {
            Some(element) => declared.push(Declared {
                name: found.name,
                shape: found.shape,
                element,
            }),
            None if !found.trainable => {}
            None => {
                return Err(BurnError::Type {
                    tensor: "parameter",
                    name: found.name,
                    found: found.dtype,
                });
            }
        }
    }
    Ok(declared)
}

/// The type that a step passes numbers as.
pub(crate) fn element(dtype: DType) -> Option<Element> {
    match dtype {
        DType::F32 => Some(Element::F32),
        DType::BF16 => Some(Element::Bf16),
        DType::F16 => Some(Element::F16),
        _ => None,
    }
}
