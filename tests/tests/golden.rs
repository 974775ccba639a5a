//! Rendered kernels against committed texts: a change of a template shows in review as what it does to a kernel.

use himuon_codegen::render;
use himuon_templates::variant::Plain;
use himuon_templates::{Architecture, KernelSpec, Variant};
use std::path::Path;

/// A kernel of one launch and one of three in the resident family, and a plain one.
fn kernels() -> [(&'static str, &'static str, Architecture, Option<Variant>); 3] {
    [
        (
            "ns_t64_k5_polar-express_bf16_effective-rank",
            "tile=64 coefficients=polar-express element=bf16 criterion=effective_rank(0.1)",
            Architecture::Sm80,
            None,
        ),
        (
            "muonp_t32x128_k6_fitted_p1-2_bf16",
            "tile=32x128 power=1/2 element=bf16",
            Architecture::Sm90a,
            None,
        ),
        (
            "muonp_full_k6_coupled_p1-2_f32",
            "tile=full power=1/2 recurrence=coupled",
            Architecture::Sm90a,
            Some(Variant::Plain(Plain { warps: 8 })),
        ),
    ]
}

#[test]
fn kernels_are_the_committed_texts() {
    let bless = std::env::var_os("HIMUON_BLESS").is_some();
    for (name, spec, architecture, variant) in kernels() {
        let spec: KernelSpec = spec.parse().unwrap();
        let variant = variant.unwrap_or_else(|| Variant::default_for(&spec, architecture));
        let rendered = render(&spec, &variant, architecture).unwrap().text;
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("golden")
            .join(format!("{name}.cu"));
        if bless {
            std::fs::write(&path, rendered).unwrap();
            continue;
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        if let Some(difference) = first_difference(&committed, &rendered) {
            panic!(
                "{}: {difference}\nIf the change is meant, run \
                 `HIMUON_BLESS=1 cargo test -p himuon-tests --test golden` and review the diff.",
                path.display()
            );
        }
    }
}

/// The first line that differs, from both sides.
fn first_difference(committed: &str, rendered: &str) -> Option<String> {
    if committed == rendered {
        return None;
    }
    let mut lines = committed.lines().zip(rendered.lines()).enumerate();
    let differs = lines.find(|(_, (committed, rendered))| committed != rendered);
    Some(match differs {
        Some((index, (committed, rendered))) => format!(
            "line {}:\n  committed {committed}\n  rendered  {rendered}",
            index + 1
        ),
        None => format!(
            "one text is the beginning of the other: committed {} lines, rendered {}",
            committed.lines().count(),
            rendered.lines().count()
        ),
    })
}

#[test]
fn a_difference_is_located() {
    assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
    assert!(
        first_difference("a\nb\n", "a\nc\n")
            .unwrap()
            .starts_with("line 2")
    );
    assert!(
        first_difference("a\n", "a\nc\n")
            .unwrap()
            .contains("1 lines, rendered 2")
    );
}
