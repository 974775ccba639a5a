//! The kernels against the same map in `f64`, and against each other.

mod coarse;
mod coupled;
mod inputs;
mod interleaved;
mod maps;
mod products;
mod same_bits;
mod scalars;
mod steps;
