//! Entry points and parameters of each kernel family, as the templates declare them.

use super::manifest::{Access, Count, Entry, Grid, Kind, Launch, Parameter, Sequence, Workspace};
use super::streamed;
use himuon_templates::variant::{Plain, Resident};
use himuon_templates::{Coarse, KernelSpec, Variant};

pub(super) const fn table(
    name: &'static str,
    points_to: &'static str,
    access: Access,
    meaning: &'static str,
) -> Parameter {
    Parameter {
        name,
        kind: Kind::Pointer,
        bytes: 8,
        offset: 0,
        points_to: Some(points_to),
        access: Some(access),
        optional: false,
        unit: "address",
        meaning,
    }
}

pub(super) const fn optional(parameter: Parameter) -> Parameter {
    Parameter {
        optional: true,
        ..parameter
    }
}

pub(super) const fn count(
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
) -> Parameter {
    Parameter {
        name,
        kind: Kind::U32,
        bytes: 4,
        offset: 0,
        points_to: None,
        access: None,
        optional: false,
        unit,
        meaning,
    }
}

const MATRICES: Parameter = table("matrices", "Matrix", Access::Read, "the matrices");
pub(super) const MATRICES_WRITTEN: Parameter = table(
    "matrices",
    "Matrix",
    Access::ReadWrite,
    "the matrices; factor and largest are written",
);
pub(super) const MATRIX_COUNT: Parameter = count("matrix_count", "matrices", "entries of matrices");
const GROUPS: Parameter = table("groups", "Group", Access::Read, "the parameter groups");
const GROUPS_UNUSED: Parameter = optional(table("groups", "Group", Access::Read, "not used"));
pub(super) const REPORTS_WANTED: Parameter = optional(table(
    "reports",
    "TileReport",
    Access::Write,
    "one per tile; null: not wanted",
));
const REPORTS_WRITTEN: Parameter = table("reports", "TileReport", Access::Write, "one per tile");
const REPORTS_READ: Parameter = table(
    "reports",
    "TileReport",
    Access::Read,
    "one per tile, as the first launch wrote them",
);
const TILE_COUNT: Parameter = count("tile_count", "tiles", "tiles of all matrices");
pub(super) const RANGE: [Parameter; 3] = [
    optional(table(
        "step",
        "u32",
        Access::Read,
        "the training step; null: no restriction",
    )),
    count(
        "first_step",
        "steps",
        "the launch does nothing before this step",
    ),
    count(
        "end_step",
        "steps",
        "the launch does nothing from this step on",
    ),
];
const COUPLED: Parameter = table(
    "coupled",
    "Coupled",
    Access::Read,
    "the coarse parts of the matrices, in their order",
);
pub(super) const COUNTERS: Parameter = optional(table(
    "counters",
    "u32[2]",
    Access::ReadWrite,
    "added to: tiles left alone because they held a NaN or an infinity, and tiles that the criterion left \
     unorthogonalised; null: not wanted",
));
/// Threads of the block that finds the factor of a matrix, as `lib/matrix_norm.cuh` says.
const NORM_THREADS: u32 = 512;

/// A matrix without its coarse part is counted two words further on: in between are numbers of AdamW.
const COUPLED_COUNTERS: Parameter = Parameter {
    points_to: Some("u32[4]"),
    meaning: "added to: tiles left alone because they held a NaN or an infinity, and in the last word matrices that \
              take their tiles alone for the same reason; null: not wanted",
    ..COUNTERS
};
const WORKSPACE: [Parameter; 2] = [
    table(
        "workspace",
        "f32",
        Access::ReadWrite,
        "scratch memory, see workspace of the entry; its content on entry does not matter",
    ),
    Parameter {
        kind: Kind::U64,
        bytes: 8,
        ..count(
            "workspace_of_block",
            "f32 numbers",
            "what each block has of the workspace",
        )
    },
];

const STEP_PURPOSE: &str = "the whole optimizer step: momentum and weight are updated";
const COUPLED_PURPOSE: &str =
    "the whole optimizer step of tiles whose coarse parts other launches have computed";
const FIRST_PURPOSE: &str =
    "first of three launches: momentum is updated, maps and reports are written";
const MAP_PURPOSE: &str =
    "the map alone, of the gradient into the weight; momentum and groups are not used";
const NORM_PURPOSE: &str = "second of three launches: each matrix's factor";
const UPDATE_PURPOSE: &str = "third of three launches: weights are updated";

/// The kernels of a variant, and what is launched in which order.
pub(super) fn entries(spec: &KernelSpec, variant: &Variant) -> (Vec<Entry>, Vec<Sequence>) {
    let family = match variant {
        Variant::Plain(plain) => Family::plain(plain),
        Variant::Resident(settings) => Family::resident(spec, settings),
        Variant::Streamed(settings) => {
            return (
                streamed::entries(spec, settings),
                streamed::sequences(spec, settings),
            );
        }
    };
    if spec.coarse != Coarse::Off {
        let step = family.coupled_step();
        let sequence = Sequence {
            purpose: "step",
            launches: vec![Launch::of(step.name)],
        };
        return (vec![step], vec![sequence]);
    }
    let normalised = spec.power.numerator() > 0;
    let mut entries = vec![family.step(normalised)];
    if normalised {
        entries.extend([family.norm(), family.update()]);
    }
    let sequences = vec![
        Sequence {
            purpose: "step",
            launches: entries.iter().map(|entry| Launch::of(entry.name)).collect(),
        },
        Sequence {
            purpose: "map",
            launches: vec![Launch::of("himuon_map")],
        },
    ];
    entries.push(family.map());
    (entries, sequences)
}

/// The parameters, each at a multiple of its size.
pub(super) fn placed<'a>(parameters: impl Iterator<Item = &'a Parameter>) -> Vec<Parameter> {
    let mut end = 0;
    let place = |parameter: &Parameter| {
        let offset = u32::next_multiple_of(end, parameter.bytes);
        end = offset + parameter.bytes;
        Parameter {
            offset,
            ..*parameter
        }
    };
    parameters.map(place).collect()
}

/// What the entries of a family have in common.
struct Family {
    block: u32,
    dynamic_shared_bytes: u32,
    grid: Grid,
    workspace: Option<Workspace>,
}

impl Family {
    fn plain(plain: &Plain) -> Family {
        Family {
            block: 32 * plain.warps,
            dynamic_shared_bytes: 0,
            grid: Grid {
                any_number: true,
                ..Grid::of(Count::Tiles, 1)
            },
            workspace: Some(Workspace {
                parameter: "workspace",
                size_parameter: "workspace_of_block",
                unit_bytes: 4,
                per_element: 4,
                per_square: 2,
                rule: "each block: 4 h w + 2 min(h, w)^2 numbers of f32 for the largest tile h x w of the launch, as cut",
            }),
        }
    }

    fn resident(spec: &KernelSpec, settings: &Resident) -> Family {
        // `Variant::fits` has refused a tile without a shape before anything is rendered.
        let shape = settings.shape(spec);
        let of = |field: fn(&himuon_templates::variant::ResidentShape) -> u32| {
            shape.as_ref().map_or(1, field)
        };
        Family {
            block: of(|shape| shape.threads),
            dynamic_shared_bytes: of(|shape| shape.shared_bytes),
            grid: Grid::of(Count::Tiles, of(|shape| shape.tiles_per_block)),
            workspace: None,
        }
    }

    fn entry(
        &self,
        name: &'static str,
        purpose: &'static str,
        parameters: &[&[Parameter]],
    ) -> Entry {
        Entry {
            name,
            purpose,
            grid: self.grid.clone(),
            block: self.block,
            dynamic_shared_bytes: 0,
            workspace: None,
            parameters: placed(parameters.iter().copied().flatten()),
        }
    }

    /// With what a map works in.
    fn mapping(&self, name: &'static str, purpose: &'static str, tables: &[Parameter]) -> Entry {
        let workspace: &[Parameter] = match self.workspace {
            Some(_) => &WORKSPACE,
            None => &[],
        };
        Entry {
            dynamic_shared_bytes: self.dynamic_shared_bytes,
            workspace: self.workspace.clone(),
            ..self.entry(name, purpose, &[tables, &RANGE, &[COUNTERS], workspace])
        }
    }

    fn step(&self, normalised: bool) -> Entry {
        let (purpose, reports) = if normalised {
            (FIRST_PURPOSE, REPORTS_WRITTEN)
        } else {
            (STEP_PURPOSE, REPORTS_WANTED)
        };
        let tables = [MATRICES, MATRIX_COUNT, GROUPS, reports, TILE_COUNT];
        self.mapping("himuon_step", purpose, &tables)
    }

    fn coupled_step(&self) -> Entry {
        let tables = [
            MATRICES,
            MATRIX_COUNT,
            GROUPS,
            REPORTS_WANTED,
            TILE_COUNT,
            COUPLED,
        ];
        Entry {
            dynamic_shared_bytes: self.dynamic_shared_bytes,
            ..self.entry(
                "himuon_step",
                COUPLED_PURPOSE,
                &[&tables, &RANGE, &[COUPLED_COUNTERS]],
            )
        }
    }

    fn map(&self) -> Entry {
        let tables = [
            MATRICES,
            MATRIX_COUNT,
            GROUPS_UNUSED,
            REPORTS_WANTED,
            TILE_COUNT,
        ];
        self.mapping("himuon_map", MAP_PURPOSE, &tables)
    }

    fn norm(&self) -> Entry {
        let tables = [
            MATRICES_WRITTEN,
            MATRIX_COUNT,
            GROUPS,
            REPORTS_READ,
            TILE_COUNT,
        ];
        Entry {
            grid: Grid::of(Count::Matrices, 1),
            block: NORM_THREADS,
            ..self.entry("himuon_norm", NORM_PURPOSE, &[&tables, &RANGE])
        }
    }

    fn update(&self) -> Entry {
        let tables = [MATRICES, MATRIX_COUNT, GROUPS, REPORTS_READ, TILE_COUNT];
        self.entry("himuon_update", UPDATE_PURPOSE, &[&tables, &RANGE])
    }
}
