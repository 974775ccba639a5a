//! Which cases are run.

use crate::inputs::Input;
use crate::specs::{Labelled, every_recurrence, other_steps_and_powers, tile, with_rounding};
use himuon::templates::{Element, Mode, Operand, Tile};

/// Set to run the larger grids.
pub const LONG_TESTS: &str = "HIMUON_LONG_TESTS";

/// Whether the larger grids run; prints what is left out if not.
pub fn long_tests(left_out: &str) -> bool {
    let wanted = std::env::var_os(LONG_TESTS).is_some_and(|v| !v.is_empty() && v != "0");
    if !wanted {
        println!("SKIPPED: {left_out}: set {LONG_TESTS}=1 to run it");
    }
    wanted
}

/// The product of what is varied.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Specifications; their tile, storage, operand and mode are replaced.
    pub specs: Vec<Labelled>,
    /// Tiles, each with the shapes of the matrices that are cut into it.
    pub tiles: Vec<(Tile, Vec<(usize, usize)>)>,
    /// Input classes.
    pub inputs: Vec<Input>,
    /// Types of weights and gradients.
    pub elements: Vec<Element>,
    /// Operands and modes.
    pub roundings: Vec<(Operand, Mode)>,
}

/// Everything in `f32`, accurate.
pub const PLAIN: (Operand, Mode) = (Operand::F32, Mode::Accurate);

/// Square and rectangular tiles up to `largest`, each with a matrix of four tiles, three of them ragged.
pub fn tiles_up_to(largest: u32) -> Vec<(Tile, Vec<(usize, usize)>)> {
    let sizes = [
        (1, 1),
        (3, 5),
        (16, 16),
        (32, 32),
        (64, 64),
        (128, 128),
        (256, 256),
        (1, 24),
        (24, 1),
        (20, 48),
        (96, 40),
        (64, 256),
    ];
    let mut tiles: Vec<(Tile, Vec<(usize, usize)>)> = sizes
        .into_iter()
        .filter(|(rows, columns)| rows.max(columns) <= &largest)
        .map(|(h, w)| {
            let ragged = |edge: u32| (edge + edge / 2 + 1) as usize;
            (tile(h, w), vec![(ragged(h), ragged(w))])
        })
        .collect();
    tiles.push((Tile::Full, vec![(37, 53), (53, 37), (1, 40), (40, 1)]));
    tiles
}

impl Grid {
    /// Every recurrence on every input class, small and middle tiles.
    pub fn recurrences_and_inputs(largest: u32) -> Grid {
        Grid {
            specs: every_recurrence(),
            tiles: tiles_up_to(largest),
            inputs: Input::ALL.to_vec(),
            elements: vec![Element::F32],
            roundings: vec![PLAIN],
        }
    }

    /// What large tiles do differently, on the recurrences in most use.
    pub fn large() -> Grid {
        let mut specs = every_recurrence();
        let kept = [
            "muon k5",
            "polar-express k5",
            "turbo k4",
            "fitted 1/2 k6",
            "coupled 1/2 k6",
            "authors 1/3 k6",
        ];
        specs.retain(|(label, _)| kept.contains(label));
        let tiles = [(128, 128), (144, 150), (64, 256)];
        let ragged = |edge: u32| (edge + edge / 8) as usize;
        Grid {
            specs,
            tiles: tiles
                .into_iter()
                .map(|(h, w)| (tile(h, w), vec![(ragged(h), ragged(w))]))
                .collect(),
            inputs: vec![Input::Gaussian, Input::NearLowRank],
            elements: vec![Element::F32],
            roundings: vec![PLAIN],
        }
    }

    /// Other numbers of steps and powers, on what differs most.
    pub fn steps_and_powers() -> Grid {
        Grid {
            specs: other_steps_and_powers(),
            tiles: vec![
                (Tile::square(16), vec![(40, 24)]),
                (tile(20, 48), vec![(30, 100)]),
            ],
            inputs: vec![Input::Gaussian, Input::NearLowRank, Input::RankOne],
            elements: vec![Element::F32],
            roundings: vec![PLAIN],
        }
    }

    /// 16-bit storage.
    pub fn storage() -> Grid {
        Grid {
            specs: every_recurrence(),
            tiles: vec![
                (Tile::square(16), vec![(40, 24)]),
                (tile(48, 20), vec![(100, 30)]),
            ],
            inputs: vec![
                Input::Gaussian,
                Input::Zero,
                Input::RankOne,
                Input::Huge,
                Input::Tiny,
            ],
            elements: vec![Element::Bf16, Element::F16],
            roundings: vec![PLAIN],
        }
    }

    /// Operands and modes that round to 16 bits or to TF32.
    pub fn roundings(largest: u32) -> Grid {
        let mut specs = every_recurrence();
        specs.retain(promises_rounding);
        Grid {
            specs,
            tiles: tiles_up_to(largest),
            inputs: Input::ALL.to_vec(),
            elements: vec![Element::F32],
            roundings: vec![
                (Operand::Tf32, Mode::Accurate),
                (Operand::Bf16, Mode::Accurate),
                (Operand::F16, Mode::Accurate),
            ],
        }
    }

    /// The rounding points of the published code.
    pub fn published_rounding(largest: u32) -> Grid {
        Grid {
            specs: every_recurrence()
                .into_iter()
                .filter(|(_, spec)| {
                    let reference = with_rounding(spec, Operand::F32, Mode::Reference);
                    reference.check().is_ok()
                })
                .collect(),
            roundings: vec![(Operand::F32, Mode::Reference)],
            ..Grid::roundings(largest)
        }
    }

    /// Kernels that must be compiled one by one: each recurrence once, on tiles, types and operands that change from
    /// one to the next and with `turn`, so that a few turns meet every value of each.
    pub fn in_turn(turn: usize) -> Vec<Grid> {
        every_recurrence()
            .into_iter()
            .enumerate()
            .map(|(index, labelled)| {
                let tiles = on_chip_tiles();
                let operand = match promises_rounding(&labelled) {
                    true => OPERANDS[(index + turn) % OPERANDS.len()],
                    false => Operand::F32,
                };
                let tile = tiles[(index + 4 * turn) % tiles.len()].clone();
                Grid {
                    specs: vec![labelled],
                    tiles: vec![tile],
                    inputs: Input::ALL.to_vec(),
                    elements: vec![ELEMENTS[(index + turn) % ELEMENTS.len()]],
                    roundings: vec![(operand, Mode::Accurate)],
                }
            })
            .collect()
    }

    /// Every recurrence on every tile that fits on chip, with every operand and element.
    pub fn on_chip() -> Grid {
        Grid {
            specs: every_recurrence()
                .into_iter()
                .filter(promises_rounding)
                .collect(),
            tiles: on_chip_tiles(),
            inputs: Input::ALL.to_vec(),
            elements: ELEMENTS.to_vec(),
            roundings: OPERANDS.map(|operand| (operand, Mode::Accurate)).to_vec(),
        }
    }

    /// Other numbers of steps and powers with every operand.
    pub fn steps_and_powers_on_chip() -> Grid {
        Grid {
            roundings: OPERANDS.map(|operand| (operand, Mode::Accurate)).to_vec(),
            ..Grid::steps_and_powers()
        }
    }

    /// The rounding points of the published code on tiles that fit on chip.
    pub fn published_rounding_on_chip() -> Grid {
        Grid {
            tiles: on_chip_tiles(),
            ..Grid::published_rounding(0)
        }
    }
}

/// A user's own list promises nothing about the rounding that it amplifies.
fn promises_rounding((label, _): &Labelled) -> bool {
    !label.starts_with("custom")
}

/// Types of weights and gradients.
const ELEMENTS: [Element; 3] = [Element::F32, Element::Bf16, Element::F16];
/// Operands of the products.
const OPERANDS: [Operand; 4] = [Operand::F32, Operand::Bf16, Operand::Tf32, Operand::F16];

/// The tiles of the stock grid and rectangles, each with one matrix: four tiles, three of them ragged.
fn on_chip_tiles() -> Vec<(Tile, Vec<(usize, usize)>)> {
    let sizes = [
        (16, 16),
        (96, 40),
        (32, 32),
        (64, 64),
        (20, 48),
        (48, 48),
        (96, 96),
        (128, 128),
        (64, 256),
    ];
    let ragged = |edge: u32| (edge + edge / 4 + 1) as usize;
    sizes
        .into_iter()
        .map(|(h, w)| (tile(h, w), vec![(ragged(h), ragged(w))]))
        .collect()
}
