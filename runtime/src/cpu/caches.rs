//! The sizes of a core's first two levels of data cache.

use std::sync::OnceLock;

/// Where the processor does not tell: the smallest of recent years.
const USUAL: [usize; 2] = [32 << 10, 512 << 10];

/// Bytes of the first level of data cache of this processor.
pub(crate) fn first_level_bytes() -> usize {
    level_bytes(1)
}

/// Bytes of the second level of cache of this processor.
pub(crate) fn second_level_bytes() -> usize {
    level_bytes(2)
}

fn level_bytes(level: u32) -> usize {
    static FOUND: [OnceLock<usize>; 2] = [const { OnceLock::new() }; 2];
    let index = level as usize - 1;
    *FOUND[index].get_or_init(|| detected(level).unwrap_or(USUAL[index]))
}

/// As CPUID describes it: leaf 4 of Intel's processors, 0x8000001D of AMD's, both in the same form.
#[cfg(target_arch = "x86_64")]
fn detected(wanted: u32) -> Option<usize> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const LEAVES: [u32; 2] = [4, 0x8000_001d];
    const MOST_CACHES: u32 = 8;
    const DATA: u32 = 1;
    const UNIFIED: u32 = 3;
    // The highest leaf of each family is what its first one tells.
    let known = |leaf: u32| __cpuid(leaf & 0x8000_0000).eax >= leaf;
    let caches = LEAVES
        .into_iter()
        .filter(|leaf| known(*leaf))
        .flat_map(|leaf| (0..MOST_CACHES).map(move |cache| __cpuid_count(leaf, cache)));
    let mut found = caches.filter(|cache| {
        let (kind, level) = (cache.eax & 0x1f, cache.eax >> 5 & 7);
        level == wanted && (kind == DATA || kind == UNIFIED)
    });
    let cache = found.next()?;
    let [ways, partitions, line] = [cache.ebx >> 22, cache.ebx >> 12 & 0x3ff, cache.ebx & 0xfff]
        .map(|less_one| less_one as usize + 1);
    Some(ways * partitions * line * (cache.ecx as usize + 1))
}

#[cfg(not(target_arch = "x86_64"))]
fn detected(_wanted: u32) -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::{first_level_bytes, second_level_bytes};

    #[test]
    fn they_are_of_a_plausible_size() {
        let (first, second) = (first_level_bytes(), second_level_bytes());
        println!("measured: levels of data cache: {first} and {second} bytes");
        assert!((8 << 10..=512 << 10).contains(&first) && first.is_multiple_of(1 << 10));
        assert!((first..=64 << 20).contains(&second) && second.is_multiple_of(1 << 10));
    }
}
