//! One-line tests of every instruction: the code, the inputs and the expected bits stand together.
//!
//! Expected values are worked out from the PTX manual and IEEE 754, not by running the emulator.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod approximate;
mod bulk;
mod compare;
mod control;
mod convert;
mod float;
mod half_precision;
mod harness;
mod integer;
mod logic;
mod memory;
mod rejected;
mod synchronise;
mod tensor;
mod tracking;
mod warp;
