//! The ways to compute a specification on this processor.

use himuon_templates::{KernelSpec, Tile};

use super::core::Core;
use super::model;

use crate::cpu::{Blocking, CpuKernel, CpuVariant, InstructionSet, MOST_AHEAD, tiles_at_a_time};
use crate::plan::Prediction;

/// Columns of a panel.
const PANEL: usize = 16;
/// Where long sums are cut, unless a variant's name says otherwise.
const SUM: u16 = 128;

/// The variant of a name, as [`CpuVariant::name`] makes it; `None` for any other text.
pub(crate) fn variant_named(name: &str) -> Option<CpuVariant> {
    let mut parts = name.split('-');
    let set = parts.next()?;
    let instruction_set = InstructionSet::ALL.into_iter().find(|s| s.name() == set)?;
    let mut number =
        |prefix: char| -> Option<u16> { parts.next()?.strip_prefix(prefix)?.parse().ok() };
    let (symmetric, update, batch) = (number('s')?, number('u')?, number('b')?);
    let mut rest = parts.peekable();
    let sum = rest.next_if(|part| part.starts_with('k'));
    let sum = sum.map_or(Some(SUM), |part| part[1..].parse().ok())?;
    let variant = CpuVariant {
        instruction_set,
        blocking: Blocking {
            symmetric: symmetric.try_into().ok()?,
            update: update.try_into().ok()?,
            sum,
        },
        batch: batch.try_into().ok()?,
        ahead: rest.next_if_eq(&"a0").is_none(),
        interleaved: rest.next().is_none(),
    };
    (variant.is_known() && variant.name() == name).then_some(variant)
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
        for variant in settings(instruction_set) {
            let effect = effective(spec, variant);
            if !seen.contains(&effect) {
                seen.push(effect);
                // Of interleaved tiles the rest of the variant is for the few that are not.
                variants.push(match shares_registers(spec, variant) {
                    true => effect,
                    false => variant,
                });
            }
        }
    }
    variants
}

/// The variants that the model expects to be faster than the default on a nominal core, the best first.
pub(crate) fn predicted(
    spec: &KernelSpec,
    shapes: &[(usize, usize)],
    threads: usize,
) -> Vec<Prediction> {
    let Ok(table) = spec.step_table() else {
        return Vec::new();
    };
    let seconds = |variant: &CpuVariant| {
        let core = Core::nominal(variant.instruction_set);
        model::seconds(spec, &table, *variant, shapes, threads, &core)
    };
    let variants = variants(spec);
    let of_default = seconds(&variants[0]);
    let mut faster: Vec<Prediction> = variants[1..]
        .iter()
        .map(|variant| Prediction {
            variant: variant.name(),
            speedup: of_default / seconds(variant),
        })
        .filter(|prediction| prediction.speedup > 1.0)
        .collect();
    faster.sort_by(|a, b| b.speedup.total_cmp(&a.speedup));
    faster
}

/// All combinations of an instruction set's knobs.
fn settings(instruction_set: InstructionSet) -> Vec<CpuVariant> {
    let mut settings = Vec::new();
    for interleaved in [true, false] {
        for batch in [8, 4, 1, 2, 3, 6] {
            for ahead in [true, false] {
                let all = Blocking::all(instruction_set).into_iter();
                settings.extend(all.map(|blocking| CpuVariant {
                    instruction_set,
                    blocking,
                    batch,
                    ahead,
                    interleaved,
                }));
            }
        }
    }
    settings
}

/// A variant with the knobs that have no effect on tiles of this specification set to one.
fn effective(spec: &KernelSpec, variant: CpuVariant) -> CpuVariant {
    let (shorter, longer, batch, asks) = match spec.tile {
        // Large enough for the threads to share it, as a rule: there is no next tile.
        Tile::Full => (usize::MAX, usize::MAX, 1, false),
        Tile::Sized { rows, columns } => {
            let (rows, columns) = (rows as usize, columns as usize);
            if shares_registers(spec, variant) {
                // The pieces are others, and as many tiles at a time as there are lanes.
                let CpuVariant {
                    ahead,
                    instruction_set,
                    ..
                } = variant;
                return CpuVariant {
                    ahead,
                    ..CpuVariant::new(instruction_set)
                };
            }
            let batch = tiles_at_a_time(variant.batch.into(), rows, columns);
            let asks = batch * rows * columns <= MOST_AHEAD;
            (rows.min(columns), rows.max(columns), batch, asks)
        }
    };
    let Blocking {
        symmetric,
        update,
        sum,
    } = variant.blocking;
    let panels = u8::try_from(shorter.div_ceil(PANEL)).unwrap_or(u8::MAX);
    let (symmetric, update) = match variant.instruction_set {
        InstructionSet::Avx512 => (symmetric.min(panels), update.min(panels)),
        // Of one panel only the block on the diagonal is computed.
        _ if panels == 1 => (6, update),
        _ => (symmetric, update),
    };
    CpuVariant {
        blocking: Blocking {
            symmetric,
            update,
            sum: if longer > usize::from(SUM) { sum } else { SUM },
        },
        batch: u8::try_from(batch).unwrap_or(1),
        ahead: variant.ahead || !asks,
        // Of other tiles it changes nothing; of these it was said above.
        interleaved: !shares_registers(spec, CpuVariant::new(variant.instruction_set)),
        ..variant
    }
}

/// Whether tiles of this specification share registers.
fn shares_registers(spec: &KernelSpec, variant: CpuVariant) -> bool {
    let Tile::Sized { rows, columns } = spec.tile else {
        return false;
    };
    let size = (rows as usize, columns as usize);
    (spec.step_table())
        .is_ok_and(|table| variant.interleaves(&table, spec.mode, &spec.criterion, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for tile in [16, 64, 256] {
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
            "avx512-s3-u3-b4-k256",
            "avx2-s3-u3-b4",
            "avx2-s6-u6-b4-k128",
            "avx2-s6-u6-b4-k64",
            "avx2-s6-u6-b4-a0-k256",
            "avx2-s6-u6-b9",
            "avx2-s6-u6-b4-i0-a0",
            "avx2-s6-u6-b4-i1",
            "avx512-s3-u3-b0",
            "avx512-s3-u3-b04",
            "avx512-s3-u3-b4-x",
            "avx512-s3-u3-b4-a1",
            "sse-s3-u3-b4",
        ] {
            assert_eq!(variant_named(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_default_comes_first_and_every_known_variant_has_its_like() {
        let tiles = [16, 32, 48, 64, 96, 128, 256].map(Tile::square);
        for tile in tiles.into_iter().chain([Tile::Full]) {
            let spec = KernelSpec::new(tile);
            let variants = variants(&spec);
            assert_eq!(Some(&variants[0]), CpuKernel::variants(&spec).first());
            if InstructionSet::best() != InstructionSet::Portable {
                assert!(variants.len() >= 12, "{tile}: {}", variants.len());
            }
        }
    }
}
