//! Plans: every tile once, never beyond the budget, comparable.

use himuon::backend::{BackendError, CpuBackend};
use himuon::launch::MatrixDemand;
use himuon::plan::{
    Plan, PlanError, PlanRequest, PlannedMatrix, PlannedParameter, Planner, WorkspaceModel,
    operations,
};
use himuon::tuning::{DeviceFingerprint, ShapeClass, TuningEntry, TuningTable};
use himuon::{KernelSpec, Tile};
use proptest::prelude::*;

/// A device that keeps a tile for each thread and every matrix beside: as tiled maps with p > 0 do.
struct Simple;

impl WorkspaceModel for Simple {
    fn workspace_bytes(
        &self,
        spec: &KernelSpec,
        _variant: Option<&str>,
        matrices: &[MatrixDemand],
        threads: usize,
    ) -> Result<u64, BackendError> {
        let tile = |matrix: &MatrixDemand| {
            let (height, width) = spec.tile.effective(matrix.rows, matrix.columns);
            height * width
        };
        let tiles = matrices.iter().map(tile).max().unwrap_or(0) * threads;
        let whole: usize = matrices
            .iter()
            .map(|matrix| matrix.rows * matrix.columns)
            .sum();
        Ok(4 * (tiles + whole) as u64)
    }
}

fn no_tuning() -> TuningTable {
    TuningTable::new(DeviceFingerprint::cpu())
}

fn plan<Model: WorkspaceModel>(
    model: &Model,
    parameters: &[PlannedParameter],
    budget_bytes: Option<u64>,
    threads: usize,
) -> Result<Plan, PlanError> {
    Planner(model).plan(&PlanRequest {
        parameters,
        elementwise: &[],
        tuning: &no_tuning(),
        budget_bytes,
        threads,
        table_entry_bytes: 64,
    })
}

fn tiles() -> impl Strategy<Value = Tile> {
    prop_oneof![
        Just(Tile::Full),
        Just(Tile::square(16)),
        (1u32..40, 1u32..40).prop_map(|(rows, columns)| Tile::Sized { rows, columns }),
    ]
}

fn parameters() -> impl Strategy<Value = Vec<PlannedParameter>> {
    let one = (1usize..4, 1usize..120, 1usize..120, tiles());
    prop::collection::vec(one, 1..12).prop_map(|list| {
        let numbered = list.into_iter().enumerate();
        numbered
            .map(
                |(parameter, (matrices, rows, columns, tile))| PlannedParameter {
                    parameter,
                    name: format!("p{parameter}"),
                    matrices,
                    rows,
                    columns,
                    row_normalised: false,
                    diagnosed: false,
                    spec: KernelSpec::new(tile),
                },
            )
            .collect()
    })
}

/// Every matrix in one launch and one chunk; every tile number once; every element in one tile.
fn assert_covers(plan: &Plan, parameters: &[PlannedParameter]) {
    let mut seen = Vec::new();
    for launch in &plan.launches {
        let mut next_matrix = 0;
        let mut next_tile = 0;
        for chunk in &launch.chunks {
            assert_eq!(
                (chunk.first_matrix, chunk.first_tile),
                (next_matrix, next_tile)
            );
            assert!(chunk.matrices > 0);
            for matrix in &launch.matrices[next_matrix..next_matrix + chunk.matrices] {
                assert_eq!(matrix.first_tile, next_tile);
                let (height, width) = launch.spec.tile.effective(matrix.rows, matrix.columns);
                let inside = |length: usize, edge: usize, count: u64| {
                    let count = count as usize;
                    (count - 1) * edge < length && length <= count * edge
                };
                assert!(inside(matrix.rows, height, matrix.tile_rows));
                assert!(inside(matrix.columns, width, matrix.tile_columns));
                next_tile += matrix.tiles();
                seen.push((matrix.parameter, matrix.index));
            }
            next_matrix += chunk.matrices;
            assert_eq!(chunk.first_tile + chunk.tiles, next_tile);
        }
        assert_eq!(next_matrix, launch.matrices.len());
        assert_eq!(next_tile, launch.tiles);
    }
    seen.sort_unstable();
    let expected: Vec<_> = parameters
        .iter()
        .flat_map(|p| (0..p.matrices).map(|index| (p.parameter, index)))
        .collect();
    assert_eq!(seen, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn plans_cover_each_tile_once_and_keep_the_budget(
        parameters in parameters(),
        budget in 0u64..200_000,
        threads in 1usize..9,
    ) {
        let free = plan(&Simple, &parameters, None, threads).unwrap();
        assert_covers(&free, &parameters);
        prop_assert!(free.launches.iter().all(|launch| launch.chunks.len() == 1));
        match plan(&Simple, &parameters, Some(budget), threads) {
            Ok(kept) => {
                assert_covers(&kept, &parameters);
                prop_assert!(kept.workspace_bytes <= budget);
                for launch in &kept.launches {
                    for chunk in &launch.chunks {
                        let demands: Vec<_> = launch.matrices_of(chunk).iter().map(PlannedMatrix::demand).collect();
                        let needed = Simple.workspace_bytes(&launch.spec, None, &demands, launch.threads).unwrap();
                        prop_assert!(needed <= budget);
                        prop_assert_eq!(needed, chunk.workspace_bytes);
                    }
                }
                prop_assert_eq!(kept.operations(), free.operations());
                prop_assert_eq!(kept.tiles(), free.tiles());
                if free.workspace_bytes <= budget {
                    prop_assert_eq!(&kept.launches, &free.launches);
                }
            }
            Err(PlanError::Budget { needed, budget: named, .. }) => {
                prop_assert_eq!(named, budget);
                prop_assert!(needed > budget);
                let largest = parameters.iter().map(|p| {
                    Simple.workspace_bytes(&p.spec, None, &[MatrixDemand::new(p.rows, p.columns)], 1).unwrap()
                }).max().unwrap();
                prop_assert!(largest >= needed);
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn plans_of_the_cpu_keep_the_budget(
        parameters in parameters(),
        budget in 10_000u64..2_000_000,
        threads in 1usize..9,
    ) {
        let cpu = CpuBackend::new(Some(1)).unwrap();
        match plan(&cpu, &parameters, Some(budget), threads) {
            Ok(kept) => {
                assert_covers(&kept, &parameters);
                prop_assert!(kept.workspace_bytes <= budget);
            }
            Err(PlanError::Budget { needed, .. }) => prop_assert!(needed > budget),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

fn parameter(index: usize, rows: usize, columns: usize, tile: Tile) -> PlannedParameter {
    PlannedParameter {
        parameter: index,
        name: format!("p{index}"),
        matrices: 1,
        rows,
        columns,
        row_normalised: false,
        diagnosed: false,
        spec: KernelSpec::new(tile),
    }
}

#[test]
fn equal_requests_give_equal_plans_and_plans_survive_json() {
    let parameters = [
        parameter(0, 100, 64, Tile::square(32)),
        parameter(1, 64, 64, Tile::Full),
        parameter(2, 33, 200, Tile::square(32)),
    ];
    let first = plan(&Simple, &parameters, Some(60_000), 4).unwrap();
    assert_eq!(first, plan(&Simple, &parameters, Some(60_000), 4).unwrap());
    let text = serde_json::to_string(&first).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), first);
}

#[test]
fn layers_of_any_shapes_share_the_launch_of_their_specification() {
    let parameters = [
        parameter(0, 100, 64, Tile::square(32)),
        parameter(1, 64, 64, Tile::Full),
        parameter(2, 33, 200, Tile::square(32)),
    ];
    let plan = plan(&Simple, &parameters, None, 2).unwrap();
    let shape = |launch: &himuon::plan::Launch| {
        let matrices: Vec<_> = launch.matrices.iter().map(|m| m.parameter).collect();
        (launch.spec.tile, matrices, launch.tiles)
    };
    let shapes: Vec<_> = plan.launches.iter().map(shape).collect();
    assert_eq!(
        shapes,
        [
            (Tile::square(32), vec![0, 2], 4 * 2 + 2 * 7),
            (Tile::Full, vec![1], 1),
        ]
    );
    assert_eq!(plan.table_bytes, 3 * 64);
    let expected: u64 = parameters
        .iter()
        .map(|p| operations(&p.spec, p.rows, p.columns).unwrap())
        .sum();
    assert_eq!(plan.operations(), expected);
}

#[test]
fn a_tight_budget_gives_up_threads_then_makes_chunks_then_refuses_with_both_numbers() {
    let parameters: Vec<_> = (0..4)
        .map(|index| parameter(index, 32, 32, Tile::Full))
        .collect();
    let matrix = 4 * 32 * 32;
    let shape = |budget: u64| {
        let plan = plan(&Simple, &parameters, Some(budget), 4).unwrap();
        let launch = &plan.launches[0];
        (launch.threads, launch.chunks.len())
    };
    assert_eq!(shape(8 * matrix), (4, 1));
    assert_eq!(shape(6 * matrix), (4, 2));
    assert_eq!(shape(3 * matrix), (2, 4));
    assert_eq!(shape(2 * matrix), (1, 4));
    let refused = plan(&Simple, &parameters, Some(2 * matrix - 1), 4).unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("8192") && text.contains("8191") && text.contains("p0"),
        "{text}"
    );
}

#[test]
fn the_tuning_table_chooses_the_variant_and_the_plan_says_so() {
    let parameters = [parameter(0, 64, 64, Tile::square(32))];
    let mut tuning = no_tuning();
    let spec = &parameters[0].spec;
    let class = ShapeClass::of(spec.tile, [(64, 64)]);
    tuning.insert(spec, class, TuningEntry::chosen("wide"));
    let plan = Planner(&Simple)
        .plan(&PlanRequest {
            parameters: &parameters,
            elementwise: &[],
            tuning: &tuning,
            budget_bytes: None,
            threads: 1,
            table_entry_bytes: 64,
        })
        .unwrap();
    assert_eq!(plan.launches[0].variant.as_deref(), Some("wide"));
    assert!(plan.launches[0].reasons[0].contains("wide"));
}
