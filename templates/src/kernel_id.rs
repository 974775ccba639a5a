//! The name of a kernel.

use crate::spec::{
    Coarse, CoefficientSet, Criterion, Element, KernelSpec, Mode, Operand, Recurrence, Tile,
};
use crate::target::Architecture;
use crate::variant::Variant;
use std::fmt;

/// A kernel's identity: a slug for people and a digest of its text for caches.
///
/// The digest changes with any change of the text, so that a changed template is another kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelId {
    slug: String,
    digest: u32,
}

impl KernelId {
    /// The identity of `text`, rendered for these inputs.
    pub fn new(
        spec: &KernelSpec,
        variant: &Variant,
        architecture: Architecture,
        text: &str,
    ) -> Self {
        KernelId {
            slug: slug(spec, variant, architecture),
            digest: digest(text),
        }
    }

    /// The identity of a text that belongs to no specification.
    pub fn named(slug: &str, text: &str) -> Self {
        KernelId {
            slug: slug.to_owned(),
            digest: digest(text),
        }
    }

    /// The part for people, without the digest.
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// The digest of the text.
    pub fn digest(&self) -> u32 {
        self.digest
    }
}

impl fmt::Display for KernelId {
    /// `ns_t128_k5_polar-express_bf16_sm90_r16c5sk-1f3a9c07`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.slug, self.digest)
    }
}

/// FNV-1a in 64 bits, folded to 32. Two kernels with one slug differ in their text's version, its custom
/// coefficients or its rarer options, so 32 bits are ample; it guards against accidents, not against attacks.
fn digest(text: &str) -> u32 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) as u32
}

fn slug(spec: &KernelSpec, variant: &Variant, architecture: Architecture) -> String {
    let tile = match spec.tile {
        Tile::Full => "full".to_owned(),
        sized => format!("t{sized}"),
    };
    let mut parts = vec![
        if spec.power.numerator() == 0 {
            "ns"
        } else {
            "muonp"
        }
        .to_owned(),
        tile,
        format!("k{}", spec.steps),
    ];
    match &spec.recurrence {
        Recurrence::NewtonSchulz(set) => parts.push(set_slug(set)),
        other => {
            parts.push(other.to_string());
            parts.push(format!("p{}", spec.power).replace('/', "-"));
        }
    }
    parts.push(types_slug(spec));
    if spec.mode == Mode::Reference {
        parts.push("reference".to_owned());
    }
    if let Criterion::Tested { measure, .. } = spec.criterion {
        parts.push(measure.to_string().replace('_', "-"));
    }
    if spec.coarse != Coarse::Off {
        parts.push("coupled".to_owned());
    }
    parts.push(format!("sm{}", architecture.number()));
    parts.push(variant.slug());
    parts.join("_")
}

fn set_slug(set: &CoefficientSet) -> String {
    match set {
        CoefficientSet::Minimax { lower } => format!("minimax-{lower}"),
        CoefficientSet::Custom(_) => "custom".to_owned(),
        named => named.to_string(),
    }
}

/// One word where everything follows from it (`element = "bf16"` and the like), else all three.
fn types_slug(spec: &KernelSpec) -> String {
    let (weight, momentum, operand) = (spec.storage.weight, spec.storage.momentum, spec.operand);
    let short = matches!(
        (weight, operand),
        (Element::F32, Operand::F32)
            | (Element::Bf16, Operand::Bf16)
            | (Element::F16, Operand::F16)
    );
    let mut slug = if short && momentum == Element::F32 {
        weight.to_string()
    } else {
        format!("{weight}-{momentum}-{operand}")
    };
    if spec.storage.master_weights {
        slug.push_str("-master");
    }
    slug
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(spec: &str, architecture: Architecture) -> String {
        let spec: KernelSpec = spec.parse().unwrap();
        let variant = Variant::default_for(&spec, architecture);
        KernelId::new(&spec, &variant, architecture, "text").to_string()
    }

    #[test]
    fn slugs() {
        for (spec, architecture, expected) in [
            (
                "tile=128 coefficients=polar-express element=bf16",
                Architecture::Sm90a,
                "ns_t128_k5_polar-express_bf16_sm90_r16c5sk-",
            ),
            (
                "tile=128 element=bf16 master_weights=true",
                Architecture::Sm80,
                "ns_t128_k5_muon_bf16-master_sm80_r16c5sk-",
            ),
            (
                "tile=128 power=1/2 element=bf16",
                Architecture::Sm80,
                "muonp_t128_k6_fitted_p1-2_bf16_sm80_r16c5s-",
            ),
            (
                "tile=64x256 steps=3 coefficients=minimax(1e-3) momentum=bf16 operand=tf32 criterion=effective_rank(0.1)",
                Architecture::Sm75,
                "ns_t64x256_k3_minimax-0.001_f32-bf16-tf32_effective-rank_sm75_w8-",
            ),
            (
                "tile=full mode=reference element=bf16",
                Architecture::Sm80,
                "ns_full_k5_muon_bf16-bf16-bf16_reference_sm80_b128w4s3-",
            ),
        ] {
            let found = id(spec, architecture);
            assert!(found.starts_with(expected), "{found}");
            assert_eq!(found.len(), expected.len() + 8);
        }
    }

    #[test]
    fn the_digest_is_fnv_1a() {
        // FNV-1a 64 of "a": af63dc4c8601ec8c.
        assert_eq!(digest("a"), 0xaf63_dc4c ^ 0x8601_ec8c);
        assert_ne!(digest("ab"), digest("ba"));
    }
}
