//! Weights and gradients of a step in this process's memory, and updated weights back on their devices.

use std::collections::HashMap;

use burn_core::Tensor;
use burn_core::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn_core::tensor::container::TensorContainer;
use burn_core::tensor::{Bytes, DType, TensorData};
use burn_optim::GradientsParams;
use himuon::ParameterStep;
use himuon::tensor::{TensorMut, TensorRef};

use crate::error::BurnError;
use crate::parameters::{Declared, Found, ModulePath, element};

/// What a step reads and writes, one entry for each declared parameter.
pub(crate) struct HostTensors {
    pairs: Vec<HostPair>,
}

struct HostPair {
    /// Of a parameter without a gradient zeros, which nothing reads.
    weight: TensorData,
    gradient: Option<TensorData>,
}

impl HostTensors {
    /// Reads what has a gradient, and checks that the module is the one that was declared and that gradients are of it.
    pub(crate) fn read<M: Module>(
        module: &M,
        found: &[Found],
        declared: &[Declared],
        gradients: GradientsParams,
    ) -> Result<Self, BurnError> {
        let places: HashMap<&str, usize> = declared
            .iter()
            .enumerate()
            .map(|(index, declared)| (declared.name.as_str(), index))
            .collect();
        let mut pairs: Vec<Option<HostPair>> = declared.iter().map(|_| None).collect();
        for found in found {
            let Some(&index) = places.get(found.name.as_str()) else {
                continue;
            };
            check_shape(
                "parameter",
                &found.name,
                &found.shape,
                &declared[index].shape,
            )?;
        }
        let given = gradients.len();
        let mut reader = Reader {
            path: ModulePath::default(),
            places: &places,
            names: found.iter().map(|f| (f.id, f.name.as_str())).collect(),
            pairs: &mut pairs,
            gradients,
            failure: None,
        };
        module.visit(&mut reader);
        let left = reader.gradients.len();
        if let Some(failure) = reader.failure {
            return Err(failure);
        }
        for found in found {
            if let Some(&index) = places.get(found.name.as_str())
                && pairs[index].is_none()
            {
                pairs[index] = Some(HostPair::without_gradient(found)?);
            }
        }
        let named = declared.iter().zip(pairs);
        let pairs = named
            .map(|(declared, pair)| {
                pair.ok_or_else(|| BurnError::Missing {
                    name: declared.name.clone(),
                })
            })
            .collect::<Result<_, _>>()?;
        if given > 0 && left == given {
            return Err(BurnError::Foreign {
                found: given,
                expected: declared.len(),
            });
        }
        Ok(Self { pairs })
    }

    /// The tensors as a step takes them.
    pub(crate) fn parameters(
        &mut self,
        declared: &[Declared],
    ) -> Result<Vec<ParameterStep<'_>>, BurnError> {
        let named = declared.iter().zip(&mut self.pairs);
        named
            .map(|(declared, pair)| {
                let gradient = pair.gradient.as_ref();
                Ok(ParameterStep {
                    weight: numbers_mut(&declared.name, &mut pair.weight)?,
                    gradient: gradient.map(|g| numbers(&declared.name, g)).transpose()?,
                })
            })
            .collect()
    }

    /// The module with the weights that took part as they are now.
    pub(crate) fn into_module<M: Module>(self, module: &M, declared: &[Declared]) -> M {
        let named = declared.iter().zip(self.pairs);
        let stepped = named.filter(|(_, pair)| pair.gradient.is_some());
        let mut writer = Writer {
            path: ModulePath::default(),
            updated: stepped
                .map(|(declared, pair)| (declared.name.as_str(), pair.weight))
                .collect(),
            written: TensorContainer::new(),
        };
        module.clone().map(&mut writer)
    }
}

impl HostPair {
    /// Stands for a parameter that is left alone, and so is not read from its device.
    ///
    /// Zeros of integers come from the system as pages that take no memory until they are touched; those of half types
    /// would be written.
    fn without_gradient(found: &Found) -> Result<Self, BurnError> {
        let len = found.shape.iter().product();
        let zeros = match found.dtype {
            DType::F32 => Bytes::from_elems(vec![0_u32; len]),
            DType::BF16 | DType::F16 => Bytes::from_elems(vec![0_u16; len]),
            dtype => return Err(wrong_type("parameter", &found.name, dtype)),
        };
        Ok(HostPair {
            weight: TensorData::from_bytes(zeros, found.shape.clone(), found.dtype),
            gradient: None,
        })
    }
}

/// Takes the tensors of the parameters that have a gradient.
struct Reader<'a> {
    path: ModulePath,
    places: &'a HashMap<&'a str, usize>,
    /// The path under which an identifier is known.
    names: HashMap<ParamId, &'a str>,
    pairs: &'a mut [Option<HostPair>],
    gradients: GradientsParams,
    failure: Option<BurnError>,
}

impl Reader<'_> {
    fn take<const D: usize>(&mut self, param: &Param<Tensor<D>>) -> Result<(), BurnError> {
        let name = self.path.name();
        if self.names.get(&param.id).copied() != Some(name.as_str()) {
            return Ok(());
        }
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return Ok(());
        };
        let Some(&index) = self.places.get(name.as_str()) else {
            return Err(BurnError::Unknown { name });
        };
        let shape = gradient.shape().to_vec();
        check_shape("gradient of", &name, &shape, &param.shape().to_vec())?;
        let dtype = gradient.dtype();
        if element(dtype).is_none() {
            return Err(wrong_type("gradient of", &name, dtype));
        }
        self.pairs[index] = Some(HostPair {
            weight: read("parameter", &name, param.base())?,
            gradient: Some(read("gradient of", &name, gradient)?),
        });
        Ok(())
    }
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.failure.is_none() {
            self.failure = self.take(param).err();
        }
    }
}

/// Puts updated weights in the places of the old ones.
struct Writer<'a> {
    path: ModulePath,
    updated: HashMap<&'a str, TensorData>,
    /// What was put somewhere: another trainable place of the same parameter, further on, gets the same leaf of the graph.
    written: TensorContainer<ParamId>,
}

impl ModuleMapper for Writer<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, old, mapper) = param.consume();
        let tensor = match self.updated.remove(self.path.name().as_str()) {
            Some(data) => {
                let new = like(&old, data, id);
                self.written.register(id, new.clone());
                new
            }
            None if old.is_require_grad() => self.written.get(&id).unwrap_or(old),
            None => old,
        };
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// A tensor of new numbers with the device, the type and the place in the graph of another.
fn like<const D: usize>(old: &Tensor<D>, data: TensorData, id: ParamId) -> Tensor<D> {
    let new = Tensor::from_data(data, (&old.device(), old.dtype()));
    let new = match old.is_require_grad() {
        true => new.require_grad(),
        false => new,
    };
    match old.is_distributed() {
        true => new.set_distributed(id),
        false => new,
    }
}

fn read<const D: usize>(
    tensor: &'static str,
    name: &str,
    values: Tensor<D>,
) -> Result<TensorData, BurnError> {
    let data = values.without_autodiff().try_into_data();
    data.map_err(|error| unreadable(tensor, name, &error))
}

fn numbers<'a>(name: &str, data: &'a TensorData) -> Result<TensorRef<'a>, BurnError> {
    let numbers = match data.dtype() {
        DType::F32 => data.as_slice().map(TensorRef::F32),
        DType::BF16 => data.as_slice().map(TensorRef::Bf16),
        DType::F16 => data.as_slice().map(TensorRef::F16),
        found => return Err(wrong_type("gradient of", name, found)),
    };
    numbers.map_err(|error| unreadable("gradient of", name, &error))
}

fn numbers_mut<'a>(name: &str, data: &'a mut TensorData) -> Result<TensorMut<'a>, BurnError> {
    let numbers = match data.dtype() {
        DType::F32 => data.as_mut_slice().map(TensorMut::F32),
        DType::BF16 => data.as_mut_slice().map(TensorMut::Bf16),
        DType::F16 => data.as_mut_slice().map(TensorMut::F16),
        found => return Err(wrong_type("parameter", name, found)),
    };
    numbers.map_err(|error| unreadable("parameter", name, &error))
}

fn check_shape(
    tensor: &'static str,
    name: &str,
    found: &[usize],
    expected: &[usize],
) -> Result<(), BurnError> {
    if found == expected {
        return Ok(());
    }
    Err(BurnError::Shape {
        tensor,
        name: name.to_owned(),
        found: found.to_vec(),
        expected: expected.to_vec(),
    })
}

fn wrong_type(tensor: &'static str, name: &str, found: DType) -> BurnError {
    BurnError::Type {
        tensor,
        name: name.to_owned(),
        found,
    }
}

fn unreadable(tensor: &'static str, name: &str, error: &dyn std::fmt::Debug) -> BurnError {
    BurnError::Read {
        tensor,
        name: name.to_owned(),
        reason: format!("{error:?}"),
    }
}
