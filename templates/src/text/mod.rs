//! The stable text form of a specification: for the command line, state files, kernel banners and errors.
//!
//! `tile=128 steps=5 power=0 coefficients=muon weight=f32 momentum=f32 operand=f32 mode=accurate criterion=always coarse=0`
//!
//! Every field is printed, so that the text keeps its meaning if a default changes (`master_weights=true` only where it
//! is so: it came later, and older names stay what they were); a reader may leave out
//! what it does not state, in any order. `parse(print(x)) == x` for every specification that
//! [`check`](crate::KernelSpec::check) accepts.

mod print;
mod read;
#[cfg(feature = "serde")]
mod serialise;
mod values;

pub use read::ParseError;
