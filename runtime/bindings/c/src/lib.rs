//! HiMuon for C and C++: `include/himuon.h` and one library, on the CPU kernels or a CUDA device.
//!
//! A builder takes parameters and groups, an optimizer steps over the caller's own buffers. Every function that can fail
//! gives a [`Status`]; [`himuon_last_error`] says what was found, what was expected and what to do. Nothing unwinds into
//! the caller: a panic would be a defect, and is reported as [`Status::Panic`].
//!
//! Whatever these functions are passed must be what their documentation says: pointers come from where they are said to
//! come from, and buffers are as long as their lengths say. Null pointers, texts that are not UTF-8, misaligned and
//! overlapping tensors are refused. A handle is used by one thread at a time; different handles are independent.
#![allow(unsafe_code)]

mod builder;
mod cuda;
mod log;
mod map;
mod optimizer;
mod options;
mod place;
mod rates;
mod rules;
mod schedule;
mod sized;
mod state;
mod status;
mod tensor;
mod text;

pub use builder::*;
pub use cuda::*;
pub use log::*;
pub use map::*;
pub use optimizer::*;
pub use options::*;
pub use rates::*;
pub use rules::*;
pub use schedule::*;
pub use state::*;
pub use status::*;
pub use tensor::*;
pub use text::*;
