//! What a build script makes of the declarations of a crate.

use himuon_codegen::build::Build;
use himuon_codegen::compile::CompileError;

use crate::compiler;

#[test]
fn a_build_script_compiles_what_a_crate_declares() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("src/layers");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(
        source.join("attention.rs"),
        "#[himuon::himuon(tiles = [16, (16, 32)], element = \"bf16\")] pub struct Attention;",
    )
    .unwrap();
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let build = Build::new(folder.path(), &out).targets(["sm_80", "sm_90a"]);
    let built = build.run(Ok(compiler())).unwrap();
    assert_eq!(built.warnings, Vec::<String>::new());
    assert_eq!(built.kernels.len(), 4);
    let companions: Vec<_> = built.companions.iter().map(|c| c.target.as_str()).collect();
    assert_eq!(companions, ["sm_80", "sm_90a"]);
    let index = std::fs::read_to_string(out.join("himuon_bundles.rs")).unwrap();
    // The crate may have another name where this is included.
    assert!(!index.contains("::himuon"), "{index}");
    assert_eq!(index.matches("kernel.cubin").count(), 6, "{index}");
    for kernel in &built.kernels {
        assert!(kernel.folder.join("kernel.cubin").is_file());
    }

    // Without a compiler: the text alone, and a warning that says what to install.
    let missing = CompileError::NotFound {
        looked_at: "nowhere".to_owned(),
    };
    let built = build.run(Err(missing)).unwrap();
    assert!(
        built.warnings[0].contains("source only")
            && built.warnings[0].contains("nvidia-cuda-nvrtc"),
        "{:?}",
        built.warnings
    );
    let index = std::fs::read_to_string(out.join("himuon_bundles.rs")).unwrap();
    assert_eq!(index.matches("Option::None").count(), 12, "{index}");
}

#[test]
fn a_build_script_leaves_out_what_has_no_kernel_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("src");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(
        source.join("lib.rs"),
        "#[himuon::himuon(tile = 32)] pub struct Tiles;\n\
         #[himuon::himuon(tile = 32, coarse = 32)] pub struct TwoLevels;\n\
         #[himuon::himuon(tile = 32, coarse = 8, fine = \"fused\")] pub struct Fused;\n\
         #[himuon::himuon(tile = 32, coarse = 32, power = \"1/2\")] pub struct Powered;\n",
    )
    .unwrap();
    let missing = CompileError::NotFound {
        looked_at: "nowhere".to_owned(),
    };
    let built = Build::new(folder.path(), folder.path())
        .targets(["sm_80"])
        .run(Err(missing))
        .unwrap();
    // Tiles alone of f32 are those that stand between launches too; one text couples those and the tiles that take their coarse part in.
    let ids: Vec<_> = built
        .kernels
        .iter()
        .map(|k| k.manifest.id.as_str())
        .collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(
        ids[1].starts_with("ns_t32_k5_muon_f32_coupled_sm80_"),
        "{ids:?}"
    );
    let ids: Vec<_> = built.companions.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(ids[1].starts_with("coupling_f32_f32-"), "{ids:?}");
    let warnings = built.warnings.iter();
    let left_out: Vec<_> = warnings.filter(|text| text.contains("left out")).collect();
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert!(
        left_out[0].contains("coarse") && left_out[0].contains("power=1/2"),
        "{left_out:?}"
    );
}
