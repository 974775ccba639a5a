//! The head of a generated text: its inputs and the command that remakes it.

use himuon_templates::{Architecture, KernelSpec, Variant};

pub(super) fn banner(spec: &KernelSpec, variant: &Variant, architecture: Architecture) -> String {
    format!(
        "// HiMuon kernel {version}, generated. Do not edit: remake it with\n\
         //   himuon emit --spec '{spec}' --variant '{variant}' --architecture {architecture}\n\
         // specification  {spec}\n\
         // variant        {variant}\n\
         // architecture   {architecture}",
        version = env!("CARGO_PKG_VERSION"),
    )
}
