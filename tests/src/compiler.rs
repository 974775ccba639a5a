//! Which compiler bounds of registers, spills and instructions were measured with.

use himuon_codegen::compile::Compiler;
use himuon_toolkit::MEASURED_NVRTC;

/// Whether `compiler` is the one that bounds were measured with: another one allocates registers otherwise. Prints what is
/// left out if not.
pub fn is_as_measured(compiler: &Compiler, left_out: &str) -> bool {
    let found = compiler.version().unwrap_or_else(|error| error.to_string());
    if found != MEASURED_NVRTC {
        println!("SKIPPED: {left_out}: measured with NVRTC {MEASURED_NVRTC}, this is {found}");
    }
    found == MEASURED_NVRTC
}
