//! Tuning: the choice, the table that keeps it, and what uses it.
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers fail their test.

mod damage;
mod engine;
mod environment;
mod fake;
mod in_use;
mod kept;
mod table;
mod trouble;
