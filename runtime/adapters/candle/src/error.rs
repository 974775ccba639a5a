//! Why variables cannot be handed to the optimizer.

use candle_core::{DType, DeviceLocation};

/// Why variables cannot be handed to the optimizer. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CandleError {
    /// A variable that the map does not hold.
    #[error(
        "a variable of shape {shape:?} is not in the VarMap of the config, so it has no name; \
         pass variables of that map, or register it there"
    )]
    Unnamed {
        /// Shape of the variable.
        shape: Vec<usize>,
    },
    /// A type that the optimizer does not store.
    #[error(
        "{tensor} {name} is {found:?}, expected f32, bf16 or f16; convert it, or build the model with DType::F32"
    )]
    Type {
        /// `variable` or `gradient of`.
        tensor: &'static str,
        /// The variable.
        name: String,
        /// Its type.
        found: DType,
    },
    /// A variable on another device.
    #[error("{tensor} {name} is on {found:?}, expected the CPU; move the model to Device::Cpu")]
    Device {
        /// `variable` or `gradient of`.
        tensor: &'static str,
        /// The variable.
        name: String,
        /// Where it is.
        found: DeviceLocation,
    },
    /// A variable or gradient that is not on the CUDA device of the others.
    #[error(
        "{tensor} {name} is on {found:?}, expected the CUDA device of the other variables; move the model to one device"
    )]
    OtherDevice {
        /// `variable` or `gradient of`.
        tensor: &'static str,
        /// The variable.
        name: String,
        /// Where it is.
        found: DeviceLocation,
    },
    /// No variable, and so no device.
    #[error("no variable, so no device to build the optimizer on; build the model first")]
    NoVariable,
    /// A variable whose values do not lie one after the other.
    #[error(
        "variable {name} has strides {strides:?}, expected a contiguous one; register a contiguous copy"
    )]
    Strided {
        /// The variable.
        name: String,
        /// Its strides.
        strides: Vec<usize>,
    },
    /// No thread with a stack for so many variables.
    #[error(
        "no thread with {bytes} bytes of stack for a step over {variables} variables: {source}; raise the limit of address \
         space or of threads, or give the optimizer fewer variables"
    )]
    Stack {
        /// Variables of the optimizer.
        variables: usize,
        /// Bytes of the stack.
        bytes: usize,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
