//! The table of `docs/cuda-kernels.md`: what the resident kernels cost a whole tile.
//!
//! ```text
//! cargo run -p himuon-tests --bin kernel_figures [sm_80]
//! ```

#[cfg(unix)]
fn main() -> Result<(), String> {
    use himuon_tests::cuda::CudaBackend;
    use himuon_tests::cuda::figures::{Figures, compiler, figures};
    use himuon_toolkit::Toolkit;

    let target = match std::env::args().nth(1).as_deref() {
        None | Some("sm_80") => "sm_80",
        Some(other) => return Err(format!("{other}: the emulator counts what runs on sm_80")),
    };
    let toolkit = Toolkit::locate_or_install().map_err(|error| error.to_string())?;
    println!("Compiled by {}\n", toolkit.nvrtc_library().display());
    println!(
        "| T | entry | warps | registers | spilled bytes | tensor instructions | wavefronts | ideal | instructions issued \
         | bytes read (least) | bytes written (least) |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut backend = CudaBackend::new(target)?.without_reports();
    let compiler = compiler()?;
    for tile in [16, 32, 48, 64, 96, 128] {
        let spec = format!("tile={tile} element=bf16")
            .parse()
            .map_err(|error| format!("tile={tile}: {error}"))?;
        for found in figures(&mut backend, &compiler, &spec)? {
            let Figures {
                entry,
                warps,
                resources,
                issued,
                counters,
                least_bytes: (read, written),
            } = &found;
            println!(
                "| {tile} | {entry} | {warps} | {} | {} | {} | {} | {} | {issued} | {} ({read}) | {} ({written}) |",
                resources.registers,
                resources.spill_store_bytes + resources.spill_load_bytes,
                found.tensor_instructions(),
                counters.shared_wavefronts,
                counters.shared_ideal_wavefronts,
                found.bytes_read(),
                found.bytes_written(),
            );
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn main() {
    println!("SKIPPED: the emulated driver is built on Unix only");
}
