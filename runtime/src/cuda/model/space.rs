//! Every way to compute a specification on a device.

use super::device::Device;
use himuon_templates::KernelSpec;
use himuon_templates::variant::{Plain, Resident, Streamed};
use himuon_templates::{DeviceLimits, Tile, Variant};

/// Settings that the plain family is tried with.
const PLAIN_WARPS: [u32; 5] = [2, 4, 8, 16, 32];
/// Most block columns that are worked on at a time.
const LARGEST_CHUNK: u32 = 6;

/// The limits of a device; a kernel of its class may be held to less.
pub fn limits(device: &Device) -> DeviceLimits {
    DeviceLimits {
        shared_memory: device.block_shared_memory,
        ..device.class.limits()
    }
}

/// The variants that fit, the default first; settings without effect on this tile are not repeated.
pub fn variants(spec: &KernelSpec, device: &Device) -> Vec<Variant> {
    let mut variants = vec![Variant::default_for(spec, device.class)];
    let resident = resident_settings(spec).into_iter().map(Variant::Resident);
    let streamed = streamed_settings(spec).into_iter().map(Variant::Streamed);
    let plain = PLAIN_WARPS.map(|warps| Variant::Plain(Plain { warps }));
    for variant in resident.chain(streamed).chain(plain) {
        if !variants.contains(&variant) && variant.fits(spec, limits(device)).is_ok() {
            variants.push(variant);
        }
    }
    variants
}

/// Settings of the streamed family; blocks that a tile fills by less than half are left out.
fn streamed_settings(spec: &KernelSpec) -> Vec<Streamed> {
    let edge = match spec.tile {
        Tile::Full => u32::MAX,
        Tile::Sized { rows, columns } => rows.min(columns),
    };
    let mut settings = Vec::new();
    for block in [64, 128].into_iter().filter(|block| edge >= *block / 2) {
        for warps in [4, 8] {
            settings.extend((2..=6).map(|stages| Streamed {
                block,
                warps,
                stages,
            }));
        }
    }
    settings
}

fn resident_settings(spec: &KernelSpec) -> Vec<Resident> {
    let mut settings = Vec::new();
    for row_blocks in 1..=4 {
        for chunk in 1..=LARGEST_CHUNK {
            for switches in 0..32u32 {
                let on = |bit: u32| switches & (1 << bit) != 0;
                for tiles_per_block in [1, 2, 4, 8] {
                    let candidate = Resident {
                        row_blocks,
                        chunk,
                        symmetric: on(0),
                        keep_gram: on(1),
                        reload_x: on(2),
                        double_buffer: on(3),
                        stage_momentum: on(4),
                        tiles_per_block,
                    };
                    if has_effect(&candidate, spec) {
                        settings.push(candidate);
                    }
                }
            }
        }
    }
    settings
}

/// Whether every setting changes something for this tile.
fn has_effect(settings: &Resident, spec: &KernelSpec) -> bool {
    let Some(shape) = settings.shape(spec) else {
        return false;
    };
    let strips = shape.strips;
    let reach = if settings.symmetric {
        strips / 2
    } else {
        strips - 1
    };
    let mirrored = reach < strips - 1;
    let span = if mirrored {
        settings.row_blocks + reach
    } else {
        strips
    };
    settings.row_blocks <= strips
        && strips.is_multiple_of(settings.row_blocks)
        && settings.chunk <= span
        && (!settings.symmetric || mirrored)
        && (settings.tiles_per_block == 1 || shape.warps == 1)
        && (!settings.keep_gram || shape.warps > 1)
        && (!settings.double_buffer || shape.warps > 1)
}
