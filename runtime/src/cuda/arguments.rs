//! The arguments of kernels, by the names that they give their parameters.

use himuon_codegen::bundle::{Entry, Kind, Launch, Parameter};

use super::driver::Argument;
use super::ranges::TileRange;

/// What the launches of a chunk are handed, by the names that kernels give their parameters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TileArguments {
    pub(super) matrices: u64,
    pub(super) matrix_count: u32,
    pub(super) groups: u64,
    /// Coarse parts, where tiles take them in.
    pub(super) coupled: u64,
    pub(super) reports: u64,
    pub(super) tile_count: u32,
    pub(super) counters: u64,
    pub(super) workspace: u64,
    pub(super) workspace_of_block: u64,
    /// Blocks that the scratch memory is for.
    pub(super) blocks: u32,
    /// The word that says whether the launch is to do anything; 0: it is.
    pub(super) active: u64,
}

impl TileArguments {
    /// The value of a parameter for one launch over a range of tiles.
    pub(super) fn value(
        &self,
        parameter: &Parameter,
        of: &Launch,
        range: &TileRange,
    ) -> Option<Argument> {
        Some(match parameter.name {
            "matrices" => Argument::Pointer(self.matrices),
            "matrix_count" => Argument::Word(self.matrix_count),
            "groups" => Argument::Pointer(self.groups),
            "coupled" => Argument::Pointer(self.coupled),
            "reports" => Argument::Pointer(self.reports),
            "first_tile" => Argument::Word(range.first),
            "tile_count" => Argument::Word(range.tiles),
            "tiles" => Argument::Pointer(range.table),
            "counters" => Argument::Pointer(self.counters),
            "workspace" => Argument::Pointer(self.workspace),
            "workspace_of_block" => Argument::Long(self.workspace_of_block),
            "step" => Argument::Pointer(self.active),
            "first_step" => Argument::Word(1),
            "end_step" => Argument::Word(2),
            "index" => Argument::Word(of.index),
            "turn" => Argument::Word(of.turn),
            _ => return None,
        })
    }

    /// Whether there is a value for every parameter, of its kind.
    pub(super) fn fill(entry: &Entry) -> bool {
        let (arguments, range) = (TileArguments::default(), TileRange::default());
        let launch = launch_of(entry);
        entry.parameters.iter().all(|parameter| {
            matches!(
                (arguments.value(parameter, &launch, &range), parameter.kind),
                (Some(Argument::Pointer(_)), Kind::Pointer)
                    | (Some(Argument::Word(_)), Kind::U32)
                    | (Some(Argument::Long(_)), Kind::U64)
            )
        })
    }
}

/// A launch of an entry that is in no sequence of several.
pub(super) fn launch_of(entry: &Entry) -> Launch {
    Launch {
        entry: entry.name,
        index: 0,
        turn: 0,
        for_reports: false,
    }
}
