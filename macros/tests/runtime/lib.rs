//! What an expansion of `#[himuon]` names of the runtime. Programs that the attribute must refuse are checked against
//! this crate, under the name `himuon`: the runtime itself would have to be compiled with all that it depends on, once
//! more, to see the same refusals.

#[path = "../../../runtime/src/registry.rs"]
mod registry;

pub use himuon_macros::himuon;
pub use himuon_templates as templates;
pub use registry::LayerConfig;
