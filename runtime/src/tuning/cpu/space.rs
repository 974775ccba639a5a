//! The ways to compute a specification on this processor.

use himuon_templates::{KernelSpec, Tile};

use crate::cpu::{Blocking, CpuKernel, CpuVariant, InstructionSet};

/// Columns of a panel.
const PANEL: usize = 16;
/// Tiles of more elements are worked on one at a time, whatever the variant says.
const BATCHED: usize = 32 * 32;

/// The variant of a name, as [`CpuVariant::name`] makes it; `None` for any other text.
pub(crate) fn variant_named(name: &str) -> Option<CpuVariant> {
    let mut parts = name.split('-');
    let set = parts.next()?;
    let instruction_set = InstructionSet::ALL.into_iter().find(|s| s.name() == set)?;
    let mut number = |prefix: char, most: u8| -> Option<u8> {
        let value = parts.next()?.strip_prefix(prefix)?.parse().ok()?;
        (1..=most).contains(&value).then_some(value)
    };
    let (symmetric, update, batch) = (number('s', 3)?, number('u', 4)?, number('b', 8)?);
    let variant = CpuVariant {
        instruction_set,
        blocking: Blocking { symmetric, update },
        batch,
    };
    (variant.name() == name).then_some(variant)
}

/// Every variant that differs in what it does for tiles of this specification, the default first.
///
/// Without vector instructions a launch takes many times as long: never the winner where there are any.
pub(super) fn variants(spec: &KernelSpec) -> Vec<CpuVariant> {
    let default = CpuKernel::variants(spec)
        .first()
        .copied()
        .unwrap_or_else(|| CpuVariant::new(InstructionSet::best()));
    let mut variants = vec![default];
    let mut seen = vec![effective(spec, default)];
    for instruction_set in InstructionSet::ALL {
        let useless = instruction_set == InstructionSet::Portable
            && InstructionSet::best() != InstructionSet::Portable;
        if !instruction_set.is_available() || useless {
            continue;
        }
        for batch in [4, 1, 2, 8, 3, 6] {
            for symmetric in 1..=3 {
                for update in 1..=4 {
                    let variant = CpuVariant {
                        instruction_set,
                        blocking: Blocking { symmetric, update },
                        batch,
                    };
                    let effect = effective(spec, variant);
                    if !seen.contains(&effect) {
                        seen.push(effect);
                        variants.push(variant);
                    }
                }
            }
        }
    }
    variants
}

/// A variant with the knobs that have no effect on tiles of this specification set to one.
fn effective(spec: &KernelSpec, variant: CpuVariant) -> CpuVariant {
    let (panels, batched) = match spec.tile {
        Tile::Full => (usize::MAX, false),
        Tile::Sized { rows, columns } => (
            (rows.min(columns) as usize).div_ceil(PANEL),
            (rows as usize) * (columns as usize) <= BATCHED,
        ),
    };
    // Register blocks of several panels need the registers of AVX-512.
    let wide = variant.instruction_set == InstructionSet::Avx512;
    let most = u8::try_from(if wide { panels } else { 1 }).unwrap_or(u8::MAX);
    CpuVariant {
        blocking: Blocking {
            symmetric: variant.blocking.symmetric.min(most),
            update: variant.blocking.update.min(most),
        },
        batch: if batched { variant.batch } else { 1 },
        ..variant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for tile in [16, 64] {
            let spec = KernelSpec::new(Tile::square(tile));
            let variants = variants(&spec);
            for variant in &variants {
                assert_eq!(variant_named(&variant.name()), Some(*variant));
            }
            let mut distinct = variants.clone();
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct.len(), variants.len());
        }
        for bad in [
            "",
            "avx512",
            "avx512-s3-u3",
            "avx512-s4-u3-b4",
            "avx512-s3-u3-b0",
            "avx512-s3-u3-b04",
            "avx512-s3-u3-b4-x",
            "sse-s3-u3-b4",
        ] {
            assert_eq!(variant_named(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_default_comes_first_and_every_known_variant_has_its_like() {
        for tile in [Tile::square(16), Tile::square(128), Tile::Full] {
            let spec = KernelSpec::new(tile);
            let variants = variants(&spec);
            assert_eq!(Some(&variants[0]), CpuKernel::variants(&spec).first());
            if InstructionSet::best() == InstructionSet::Avx512 {
                assert!(variants.len() >= 12, "{tile}: {}", variants.len());
            }
        }
    }
}
