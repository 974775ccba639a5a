//! The `#[himuon]` attribute.
