//! The size of a core's first level of data cache.

use std::sync::OnceLock;

/// Where the processor does not tell: the smallest of recent years.
const USUAL: usize = 32 << 10;

/// Bytes of the first level of data cache of this processor.
pub(crate) fn first_level_bytes() -> usize {
    static FOUND: OnceLock<usize> = OnceLock::new();
    *FOUND.get_or_init(|| detected().unwrap_or(USUAL))
}

/// As CPUID describes it: leaf 4 of Intel's processors, 0x8000001D of AMD's, both in the same form.
#[cfg(target_arch = "x86_64")]
fn detected() -> Option<usize> {
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
    let mut firsts = caches.filter(|cache| {
        let (kind, level) = (cache.eax & 0x1f, cache.eax >> 5 & 7);
        level == 1 && (kind == DATA || kind == UNIFIED)
    });
    let cache = firsts.next()?;
    let [ways, partitions, line] = [cache.ebx >> 22, cache.ebx >> 12 & 0x3ff, cache.ebx & 0xfff]
        .map(|less_one| less_one as usize + 1);
    Some(ways * partitions * line * (cache.ecx as usize + 1))
}

#[cfg(not(target_arch = "x86_64"))]
fn detected() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_of_a_plausible_size() {
        let bytes = super::first_level_bytes();
        println!("measured: first level of data cache: {bytes} bytes");
        assert!((8 << 10..=512 << 10).contains(&bytes) && bytes.is_multiple_of(1 << 10));
    }
}
