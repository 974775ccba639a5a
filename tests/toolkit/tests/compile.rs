//! The compiler chain on this machine: source to PTX to cubin to SASS.

use himuon_toolkit::{Toolkit, ToolkitError};

const SCALE: &str = r#"
extern "C" __global__ void scale(float *out, const float *in, float factor) {
    __shared__ float buffer[64];
    buffer[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = factor * buffer[63 - threadIdx.x];
}
"#;

#[test]
fn a_source_becomes_ptx_cubin_and_sass() {
    let toolkit = Toolkit::locate_or_install().unwrap();
    for arch in ["sm_75", "sm_80", "sm_90a", "sm_100a", "sm_120"] {
        let ptx = toolkit.compile_ptx(SCALE, arch, &[]).unwrap();
        assert!(ptx.contains(&format!(".target {arch}")), "{ptx}");
        let assembled = toolkit.assemble(&ptx, arch).unwrap();
        let scale = assembled.entry("scale").unwrap();
        assert!((1..64).contains(&scale.registers), "{scale:?}");
        assert!(
            scale.shared_bytes >= 256 && scale.shared_bytes <= 2048,
            "{scale:?}"
        );
        assert_eq!(
            (scale.spill_store_bytes, scale.barriers),
            (0, 1),
            "{scale:?}"
        );
        let listing = toolkit.disassemble(&assembled.cubin, &["-hex"]).unwrap();
        assert!(listing.contains("BAR.SYNC"), "no barrier in\n{listing}");
    }
}

#[test]
fn a_refused_source_brings_the_log() {
    let toolkit = Toolkit::locate_or_install().unwrap();
    let error = toolkit.compile_ptx("__global__ void k() { undefined_name; }", "sm_80", &[]);
    match error.unwrap_err() {
        ToolkitError::Compile { log, .. } => assert!(log.contains("undefined_name"), "{log}"),
        other => panic!("unexpected: {other}"),
    }
}

#[test]
fn refused_ptx_brings_the_assembler_s_message() {
    let toolkit = Toolkit::locate_or_install().unwrap();
    let ptx = toolkit.compile_ptx(SCALE, "sm_80", &[]).unwrap();
    let error = toolkit
        .assemble(&ptx.replace("bar.sync", "bar.snyc"), "sm_80")
        .unwrap_err();
    assert!(error.to_string().contains("'.snyc'"), "{error}");
}

#[test]
fn a_source_with_a_nul_byte_is_refused() {
    let toolkit = Toolkit::locate_or_install().unwrap();
    let error = toolkit.compile_ptx("a\0b", "sm_80", &[]).unwrap_err();
    assert!(
        matches!(error, ToolkitError::NulByte { position: 1, .. }),
        "{error}"
    );
}
