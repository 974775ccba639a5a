//! What `himuon::bundles!()` includes: a Rust expression, the bundles as `himuon::templates::CompiledKernel`.

use crate::compile::Compiled;
use crate::pipeline::{Emitted, EmittedCompanion};
use std::fmt::Write as _;
use std::path::Path;

/// One bundle, of a kernel or a companion.
struct Bundle<'a> {
    id: &'a str,
    specification: &'a str,
    target: &'a str,
    folder: &'a Path,
    has_manifest: bool,
    compiled: Option<&'a Compiled>,
}

pub(super) fn text(kernels: &[Emitted], companions: &[EmittedCompanion]) -> String {
    let kernels = kernels.iter().map(|kernel| Bundle {
        id: &kernel.manifest.id,
        specification: &kernel.manifest.specification,
        target: &kernel.target,
        folder: &kernel.folder,
        has_manifest: true,
        compiled: kernel.compiled.as_ref(),
    });
    let companions = companions.iter().map(|companion| Bundle {
        id: &companion.id,
        specification: "",
        target: &companion.target,
        folder: &companion.folder,
        has_manifest: false,
        compiled: companion.compiled.as_ref(),
    });
    let mut text = String::from("&[\n");
    for bundle in kernels.chain(companions) {
        bundle.write(&mut text);
    }
    text.push_str("]\n");
    text
}

impl Bundle<'_> {
    fn write(&self, text: &mut String) {
        let file = |name: &str| format!("{:?}", self.folder.join(name).display().to_string());
        let included = |present: bool, with: &str, name: &str| match present {
            true => format!("::core::option::Option::Some({with}!({}))", file(name)),
            false => "::core::option::Option::None".to_owned(),
        };
        let manifest = match self.has_manifest {
            true => format!("include_str!({})", file("manifest.json")),
            false => "\"\"".to_owned(),
        };
        let ptx = included(self.compiled.is_some(), "include_str", "kernel.ptx");
        let has_cubin = self
            .compiled
            .is_some_and(|compiled| compiled.cubin.is_some());
        let cubin = included(has_cubin, "include_bytes", "kernel.cubin");
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "    CompiledKernel {{\n        id: {:?},\n        specification: {:?},\n        \
             target: {:?},\n        text: include_str!({}),\n        manifest: {manifest},\n        ptx: \
             {ptx},\n        cubin: {cubin},\n    }},",
            self.id,
            self.specification,
            self.target,
            file("kernel.cu"),
        );
    }
}
