//! Tensors of other libraries, borrowed by DLPack for the length of one call.

use std::ffi::{CStr, c_void};
use std::ops::Range;

use half::{bf16, f16};
use himuon::cuda::{DeviceMut, DeviceRef};
use himuon::templates::Element;
use himuon::tensor::{TensorMut, TensorRef};
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};

use crate::errors::argument;
use crate::place::Place;

/// The legacy default stream, as DLPack names it to those who export.
const DEFAULT_STREAM: i64 = 1;
const FLOAT: u8 = 2;
const BFLOAT: u8 = 4;
const READ_ONLY: u64 = 1;
const COPIED: u64 = 2;
const PLAIN: &CStr = c"dltensor";
const VERSIONED: &CStr = c"dltensor_versioned";

/// `DLTensor` of DLPack 1.
#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device: i32,
    device_id: i32,
    dimensions: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

/// The head of `DLManagedTensorVersioned`.
#[repr(C)]
struct Versioned {
    major: u32,
    minor: u32,
    manager: *mut c_void,
    deleter: *mut c_void,
    flags: u64,
    tensor: DlTensor,
}

/// Contiguous numbers of another library's tensor. The capsule, which is not consumed, keeps them alive; where there is none,
/// the caller does.
pub(crate) struct Borrowed<'py> {
    _capsule: Option<Bound<'py, PyCapsule>>,
    /// For errors: `weight blocks.0.q.weight`.
    what: String,
    address: usize,
    len: usize,
    element: Element,
    /// Why it may not be written to.
    unwritable: Option<&'static str>,
}

impl<'py> Borrowed<'py> {
    /// Borrows `tensor`, which is expected to have `shape` and to be at `place`.
    pub(crate) fn new(
        tensor: &Bound<'py, PyAny>,
        what: String,
        shape: &[usize],
        place: Place,
    ) -> PyResult<Self> {
        let capsule = export(tensor, &what, place)?;
        let (view, flags) = view(&capsule, &what)?;
        if !place.has(view.device, view.device_id) {
            return Err(elsewhere(&what, view.device, view.device_id, place));
        }
        if flags & COPIED != 0 && place != Place::Cpu {
            return Err(argument(format!(
                "{what} is exported as a copy, which may be gone before the device reads it: pass a tensor that is exported as it \
                 lies"
            )));
        }
        let element = match (view.code, view.bits, view.lanes) {
            (FLOAT, 32, 1) => Element::F32,
            (FLOAT, 16, 1) => Element::F16,
            (BFLOAT, 16, 1) => Element::Bf16,
            (code, bits, lanes) => {
                return Err(PyTypeError::new_err(format!(
                    "{what} has elements of DLPack's type {code} with {bits} bits and {lanes} lanes, expected float32, \
                     bfloat16 or float16"
                )));
            }
        };
        // SAFETY: an exporter's sizes, as many as there are dimensions, by DLPack.
        let sizes = unsafe { sizes(view.shape, view.dimensions) };
        if !sizes
            .iter()
            .copied()
            .eq(shape.iter().map(|side| *side as i64))
        {
            return Err(argument(format!(
                "{what} has shape {sizes:?}, declared is {shape:?}"
            )));
        }
        // SAFETY: null or as many strides as there are dimensions, by DLPack.
        let strides = unsafe { sizes_or_none(view.strides, view.dimensions) };
        if strides.is_some_and(|strides| !contiguous(sizes, strides)) {
            return Err(argument(format!(
                "{what} has strides {:?} for shape {sizes:?}, expected contiguous rows: make it contiguous",
                strides.unwrap_or_default()
            )));
        }
        let address = match view.data.is_null() {
            true => 0,
            false => view.data as usize + view.byte_offset as usize,
        };
        Ok(Borrowed {
            unwritable: unwritable(flags),
            _capsule: Some(capsule),
            ..Borrowed::at(address, element, what, shape)?
        })
    }

    /// The numbers at an address, which are as many as `shape` says and stay there by the caller's word.
    pub(crate) fn at(
        address: usize,
        element: Element,
        what: String,
        shape: &[usize],
    ) -> PyResult<Self> {
        if address == 0 {
            return Err(argument(format!(
                "{what} has no memory, expected a tensor whose numbers are there"
            )));
        }
        if !address.is_multiple_of(element.bytes()) {
            return Err(argument(format!(
                "{what} lies at {address:#x}, expected a multiple of {}",
                element.bytes()
            )));
        }
        Ok(Borrowed {
            _capsule: None,
            what,
            address,
            len: shape.iter().product(),
            element,
            unwritable: None,
        })
    }

    /// The addresses of its numbers.
    pub(crate) fn range(&self) -> Range<usize> {
        self.address..self.address + self.len * self.element.bytes()
    }

    /// The type of its numbers.
    pub(crate) fn element(&self) -> Element {
        self.element
    }

    /// Refuses what may not be written to.
    pub(crate) fn check_writable(&self) -> PyResult<()> {
        match self.unwritable {
            None => Ok(()),
            Some(reason) => Err(argument(format!("{} {reason}", self.what))),
        }
    }

    /// # Safety
    /// Nobody writes to the numbers for as long as the result is used, which `self` outlives. They are in this process's
    /// memory.
    pub(crate) unsafe fn read<'a>(&self) -> TensorRef<'a> {
        // SAFETY: aligned and not null by `new`; long enough by DLPack and the shape that `new` compared; not written to
        // by the caller's word.
        unsafe {
            match self.element {
                Element::F32 => TensorRef::F32(slice(self.address, self.len)),
                Element::Bf16 => TensorRef::Bf16(slice::<bf16>(self.address, self.len)),
                Element::F16 => TensorRef::F16(slice::<f16>(self.address, self.len)),
            }
        }
    }

    /// # Safety
    /// As [`DeviceRef::from_raw`]; they are on the optimizer's device, which `new` checked.
    pub(crate) unsafe fn read_on_device<'a>(&self) -> DeviceRef<'a> {
        // SAFETY: aligned by `new`; long enough by DLPack and the shape that `new` compared; the rest is the caller's word.
        unsafe { DeviceRef::from_raw(self.address as u64, self.element, self.len) }
    }

    /// # Safety
    /// As [`DeviceMut::from_raw`]; they are on the optimizer's device, which `new` checked, and `check_writable` was `Ok`.
    pub(crate) unsafe fn write_on_device<'a>(&self) -> DeviceMut<'a> {
        // SAFETY: as in `read_on_device`.
        unsafe { DeviceMut::from_raw(self.address as u64, self.element, self.len) }
    }

    /// # Safety
    /// The numbers are nobody else's for as long as the result is used, which `self` outlives; `check_writable` was `Ok`.
    /// They are in this process's memory.
    pub(crate) unsafe fn write<'a>(&self) -> TensorMut<'a> {
        // SAFETY: as in `read`; nobody else's by the caller's word.
        unsafe {
            match self.element {
                Element::F32 => TensorMut::F32(slice_mut(self.address, self.len)),
                Element::Bf16 => TensorMut::Bf16(slice_mut::<bf16>(self.address, self.len)),
                Element::F16 => TensorMut::F16(slice_mut::<f16>(self.address, self.len)),
            }
        }
    }
}

/// # Safety
/// `address` is aligned, not null, and has `len` numbers that nobody writes to.
unsafe fn slice<'a, T>(address: usize, len: usize) -> &'a [T] {
    // SAFETY: the caller's word.
    unsafe { std::slice::from_raw_parts(address as *const T, len) }
}

/// # Safety
/// `address` is aligned, not null, and has `len` numbers that are nobody else's.
unsafe fn slice_mut<'a, T>(address: usize, len: usize) -> &'a mut [T] {
    // SAFETY: the caller's word.
    unsafe { std::slice::from_raw_parts_mut(address as *mut T, len) }
}

/// Asks for DLPack 1, which tells what may be written to, and takes what there was before it where that is not known. What is
/// on a device is to be there in the order of the stream that steps are submitted to.
fn export<'py>(
    tensor: &Bound<'py, PyAny>,
    what: &str,
    place: Place,
) -> PyResult<Bound<'py, PyCapsule>> {
    let py = tensor.py();
    let export = tensor.getattr("__dlpack__").map_err(|_| {
        PyTypeError::new_err(format!(
            "{what} is a {}, expected a tensor with __dlpack__, as numpy arrays and torch tensors have",
            type_name(tensor)
        ))
    })?;
    // torch marks a tensor whose sign is to be turned, and exports the numbers without the mark.
    if let Ok(marked) = tensor.call_method0("is_neg")
        && marked.is_truthy()?
    {
        return Err(argument(format!(
            "{what} is negated lazily, expected its own numbers: pass its resolve_neg()"
        )));
    }
    let plain = PyDict::new(py);
    if let Place::Cuda(_) = place {
        plain.set_item("stream", DEFAULT_STREAM)?;
    }
    let arguments = plain.copy()?;
    arguments.set_item("max_version", (1_u32, 0_u32))?;
    let exported = match export.call((), Some(&arguments)) {
        Err(error) if error.is_instance_of::<PyTypeError>(py) => export.call((), Some(&plain)),
        other => other,
    };
    let exported = exported.map_err(|error| {
        if !error.is_instance_of::<PyException>(py) {
            return error;
        }
        // What is elsewhere need not know of streams.
        let device = tensor.call_method0("__dlpack_device__");
        let refused = match device.and_then(|device| device.extract::<(i32, i32)>()) {
            Ok((kind, number)) if !place.has(kind, number) => elsewhere(what, kind, number, place),
            _ => argument(format!("{what} is not exported: {error}")),
        };
        refused.set_cause(py, Some(error));
        refused
    })?;
    exported.cast_into::<PyCapsule>().map_err(|error| {
        PyTypeError::new_err(format!("{what}: __dlpack__ gave no capsule: {error}"))
    })
}

fn elsewhere(what: &str, kind: i32, number: i32, expected: Place) -> PyErr {
    let found = match Place::of(kind, number) {
        Some(found) => found.to_string(),
        None => format!("a device of type {kind} (DLPack's number)"),
    };
    argument(format!(
        "{what} is on {found}, expected {expected}: move it there"
    ))
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    let name = object.get_type().qualname();
    name.map_or_else(|_| "thing".to_owned(), |name| name.to_string())
}

/// The tensor of a capsule, and its flags.
fn view<'a>(capsule: &'a Bound<'_, PyCapsule>, what: &str) -> PyResult<(&'a DlTensor, u64)> {
    if capsule.is_valid_checked(Some(VERSIONED)) {
        let pointer = capsule.pointer_checked(Some(VERSIONED))?;
        // SAFETY: a capsule of this name holds this struct, whose first field is the version, and lives as long as it.
        let managed = unsafe { pointer.cast::<Versioned>().as_ref() };
        if managed.major != 1 {
            return Err(argument(format!(
                "{what} is exported by DLPack {}, expected version 1",
                managed.major
            )));
        }
        return Ok((&managed.tensor, managed.flags));
    }
    let pointer = capsule.pointer_checked(Some(PLAIN))?;
    // SAFETY: a capsule of this name holds a struct that begins with the tensor, and lives as long as it.
    let tensor = unsafe { pointer.cast::<DlTensor>().as_ref() };
    Ok((tensor, 0))
}

/// Why a tensor may not be written to, by its flags.
fn unwritable(flags: u64) -> Option<&'static str> {
    match flags {
        flags if flags & READ_ONLY != 0 => {
            Some("may not be written to: pass an array that is not read-only")
        }
        flags if flags & COPIED != 0 => Some(
            "is exported as a copy, which would be updated instead of it: pass a tensor that is exported as it lies",
        ),
        _ => None,
    }
}

/// # Safety
/// `start` points to `count` sizes, unless `count` is at most 0.
unsafe fn sizes<'a>(start: *const i64, count: i32) -> &'a [i64] {
    match usize::try_from(count) {
        // SAFETY: the caller's word; not null there.
        Ok(count) if count > 0 && !start.is_null() => unsafe {
            std::slice::from_raw_parts(start, count)
        },
        _ => &[],
    }
}

/// # Safety
/// `start` is null or points to `count` strides.
unsafe fn sizes_or_none<'a>(start: *const i64, count: i32) -> Option<&'a [i64]> {
    // SAFETY: the caller's word.
    (!start.is_null()).then(|| unsafe { sizes(start, count) })
}

fn contiguous(sizes: &[i64], strides: &[i64]) -> bool {
    let mut expected = 1_i64;
    sizes.contains(&0)
        || sizes.iter().zip(strides).rev().all(|(size, stride)| {
            let holds = *size == 1 || *stride == expected;
            expected = expected.saturating_mul(*size);
            holds
        })
}
