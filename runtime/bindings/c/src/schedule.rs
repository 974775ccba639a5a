//! Which tile at which step.

use std::ffi::c_char;

use himuon::Tile;
use himuon::schedule::TileSchedule;

use crate::builder::{Builder, builder_at};
use crate::status::{Failure, Status, guarded};
use crate::text::borrowed;

/// From `step` on, this tile: `64`, `64x256` or `full`. It does not grow: they are passed as arrays.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TileChange {
    /// The first step, counted from 0.
    pub step: u64,
    /// The tile.
    pub tile: *const c_char,
}

/// # Safety
/// `tile` is null or ends with a zero.
unsafe fn tile_at(tile: *const c_char) -> Result<Tile, Failure> {
    // SAFETY: the caller's word.
    let text = unsafe { borrowed(tile, "the tile")? };
    text.parse().map_err(Failure::refused)
}

/// The tile of all groups is `tile`, but `every` at the steps 0, `period`, 2 `period`, ... with the learning rate multiplied
/// by `factor` there. Both must be among the specifications of each group.
///
/// # Safety
/// `builder` is a builder, both tiles end with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_builder_schedule_periodic(
    builder: *mut Builder,
    tile: *const c_char,
    every: *const c_char,
    period: u64,
    factor: f64,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (builder, tile, every) =
            unsafe { (builder_at(builder)?, tile_at(tile)?, tile_at(every)?) };
        let schedule = TileSchedule::periodic(tile, every, period, factor);
        let schedule = schedule.map_err(Failure::refused)?;
        builder.change(|builder| builder.schedule(schedule));
        Ok(())
    })
}

/// The tile of all groups changes at the steps of `changes`, of which the first is 0. Each must be among the specifications
/// of each group.
///
/// # Safety
/// `builder` is a builder, `changes` points to `count` changes, whose tiles end with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_builder_schedule_changes(
    builder: *mut Builder,
    changes: *const TileChange,
    count: usize,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let builder = unsafe { builder_at(builder)? };
        if changes.is_null() {
            return Err(Failure::argument(format!(
                "the changes are null, expected {count} of them"
            )));
        }
        // SAFETY: not null, and as long by the caller's word.
        let changes = unsafe { std::slice::from_raw_parts(changes, count) }.iter();
        let entries = changes
            // SAFETY: the caller's word.
            .map(|change| Ok((change.step, unsafe { tile_at(change.tile)? })))
            .collect::<Result<Vec<_>, Failure>>()?;
        let schedule = TileSchedule::list(entries).map_err(Failure::refused)?;
        builder.change(|builder| builder.schedule(schedule));
        Ok(())
    })
}
