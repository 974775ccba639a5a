//! The storage of many variables, all writable at the same time.
//!
//! candle gives mutable access to one variable's storage at a time, inside an in-place operation. An operation that runs
//! the next variable's operation while it holds its own storage has them all, by recursion and without unsafe code: the
//! list of borrowed slices only ever gets shorter-lived on the way down.

use std::cell::RefCell;
use std::collections::HashSet;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor};
use himuon::tensor::{TensorMut, TensorRef};

use crate::error::CandleError;
use crate::variables::NamedVariable;

type Body<'a> = dyn Fn(Vec<TensorMut<'_>>) -> Result<()> + 'a;

/// Runs `body` on the values of all variables, in their order.
///
/// No other storage lock on any of the variables may be held, and none may be taken by `body`.
pub(crate) fn with_weights(variables: &[NamedVariable], body: &Body<'_>) -> Result<()> {
    descend(variables, Vec::new(), body)
}

fn descend(
    variables: &[NamedVariable],
    collected: Vec<TensorMut<'_>>,
    body: &Body<'_>,
) -> Result<()> {
    match variables.split_first() {
        None => body(collected),
        Some((first, rest)) => {
            let collected = RefCell::new(collected);
            first.variable.inplace_op1(&Collect {
                name: &first.name,
                rest,
                collected,
                body,
            })
        }
    }
}

struct Collect<'a> {
    name: &'a str,
    rest: &'a [NamedVariable],
    collected: RefCell<Vec<TensorMut<'a>>>,
    body: &'a Body<'a>,
}

impl InplaceOp1 for Collect<'_> {
    fn name(&self) -> &'static str {
        "himuon-step"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            let (name, strides) = (self.name.to_owned(), layout.stride().to_vec());
            return Err(candle_core::Error::wrap(CandleError::Strided {
                name,
                strides,
            }));
        };
        let weight = match storage {
            CpuStorage::F32(values) => TensorMut::F32(&mut values[start..end]),
            CpuStorage::BF16(values) => TensorMut::Bf16(&mut values[start..end]),
            CpuStorage::F16(values) => TensorMut::F16(&mut values[start..end]),
            other => return Err(wrong_type("variable", self.name, other)),
        };
        let mut collected: Vec<TensorMut<'_>> = self.collected.take();
        collected.push(weight);
        descend(self.rest, collected, self.body)
    }
}

fn wrong_type(tensor: &'static str, name: &str, storage: &CpuStorage) -> candle_core::Error {
    use candle_core::backend::BackendStorage;
    candle_core::Error::wrap(CandleError::Type {
        tensor,
        name: name.to_owned(),
        found: storage.dtype(),
    })
}

/// The values of a contiguous gradient, for as long as its storage is held.
pub(crate) fn gradient_values<'a>(
    name: &str,
    storage: &'a Storage,
    layout: &Layout,
) -> Result<TensorRef<'a>> {
    let Storage::Cpu(cpu) = storage else {
        let found = storage.device().location();
        return Err(candle_core::Error::wrap(CandleError::Device {
            tensor: "gradient of",
            name: name.to_owned(),
            found,
        }));
    };
    let (start, end) = (
        layout.start_offset(),
        layout.start_offset() + layout.shape().elem_count(),
    );
    match cpu {
        CpuStorage::F32(values) => Ok(TensorRef::F32(&values[start..end])),
        CpuStorage::BF16(values) => Ok(TensorRef::Bf16(&values[start..end])),
        CpuStorage::F16(values) => Ok(TensorRef::F16(&values[start..end])),
        other => Err(wrong_type("gradient of", name, other)),
    }
}

/// A contiguous gradient that shares its storage with none of the variables: a shared one would be locked twice.
pub(crate) fn separate_gradient(
    gradient: &Tensor,
    variable_storages: &HashSet<*const Storage>,
) -> Result<Tensor> {
    let gradient = gradient.contiguous()?;
    let shared = {
        let (storage, _) = gradient.storage_and_layout();
        variable_storages.contains(&std::ptr::from_ref(&*storage))
    };
    if shared {
        gradient.copy()
    } else {
        Ok(gradient)
    }
}

/// Where the storages of the variables lie, to be compared only.
pub(crate) fn storage_addresses(variables: &[NamedVariable]) -> HashSet<*const Storage> {
    variables
        .iter()
        .map(|named| std::ptr::from_ref(&*named.variable.storage_and_layout().0))
        .collect()
}
