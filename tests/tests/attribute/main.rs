//! What `#[himuon]` accepts, and what it makes of it. What it refuses is in `ui`.
//!
//! The lints are those of a strict user: nothing generated may need `unsafe` or raise a warning.

#![forbid(unsafe_code)]
#![deny(warnings, missing_docs)]

mod every_key;
mod leaves_the_struct_alone;
mod renamed_crate;
