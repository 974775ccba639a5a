//! Conformance suite of HiMuon.
//!
//! [`conformance`] holds the parts of the suite; each runs on any [`backend::Backend`] and is judged against
//! [`himuon::reference`] (the same map in `f64`) and [`svd`] (an independent decomposition), within the
//! bounds of [`tolerances`].

pub mod backend;
pub mod compiler;
pub mod conformance;
pub mod cpu;
#[cfg(unix)]
pub mod cuda;
pub mod grid;
pub mod inputs;
pub mod judge;
pub mod master_weights;
pub mod quadratic;
pub mod random;
pub mod report;
pub mod specs;
pub mod storage;
pub mod svd;
pub mod tolerances;

/// The README's example compiles and runs with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
