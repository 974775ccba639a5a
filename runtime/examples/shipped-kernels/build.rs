//! Compiles the kernels of every `#[himuon(...)]` of this crate.

fn main() -> Result<(), himuon_codegen::build::BuildError> {
    himuon_codegen::build::kernels(["sm_80", "sm_90a"])?;
    Ok(())
}
