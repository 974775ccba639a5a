//! The recurrences, in the operations of an [`Engine`].
//!
//! All of them are written from the right, on an oriented tile (rows >= columns): with A = X^T X the
//! products X A and A' X, A' = X X^T, are the same polynomial of X, and only the smaller Gram matrix is formed.

use super::engine::{Engine, MOST_TILES, PerTile, Products, Rescale, Slot, Slots};
use himuon_templates::StepTable;

const X: Slot = Slot::Tall(0);
const Y: Slot = Slot::Tall(1);
const Z: Slot = Slot::Tall(2);

/// Where a recurrence expects A = X^T X of its first step, if it is computed before.
pub(super) fn gram_slot(table: &StepTable, rounds: bool) -> Slot {
    match table {
        StepTable::Odd(steps) if steps.first().is_some_and(|step| !is_cubic(step, rounds)) => Y,
        StepTable::Turbo(_) => Y,
        _ => Slot::Gram,
    }
}

/// Whether a step needs no A^2. With rounded matrices B = bA is rounded like any other B.
#[inline(always)]
fn is_cubic(step: &[f32; 3], rounds: bool) -> bool {
    step[2] == 0.0 && !rounds
}

/// The buffers that a recurrence needs; `kept` where X is needed afterwards.
pub(super) fn slots(table: &StepTable, kept: bool) -> Slots {
    let tall = match table {
        StepTable::Fitted(_) | StepTable::Coupled { .. } | StepTable::Authors { .. } => 3,
        _ => 2,
    };
    Slots { tall, kept }
}

/// Products of a tile, at least.
pub(super) fn fewest_products(table: &StepTable) -> usize {
    match table {
        StepTable::Odd(steps) | StepTable::Turbo(steps) => {
            let step = |step: &[f32; 3]| if step[2] == 0.0 { 2 } else { 3 };
            (steps.iter().map(step).sum::<usize>()).saturating_sub(1)
        }
        StepTable::Fitted(steps) => (2 * steps.len()).saturating_sub(1),
        StepTable::Coupled { steps, .. } => 2 * steps.len(),
        StepTable::Authors { steps, .. } => (2 * *steps as usize).saturating_sub(1),
        StepTable::Identity => 0,
    }
}

/// Where the result is, and what it is still to be multiplied with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapped {
    pub(super) slot: Slot,
    pub(super) factors: PerTile,
}

impl Mapped {
    fn plain(slot: Slot) -> Mapped {
        Mapped {
            slot,
            factors: [1.0; MOST_TILES],
        }
    }
}

/// Maps X in [`Slot::Tall`]`(0)`; with `gram_ready` its Gram matrix is in [`gram_slot`] already.
pub(super) fn iterate<E: Rescale>(
    engine: &E,
    table: &StepTable,
    power: f64,
    gram_ready: bool,
) -> Mapped {
    match table {
        StepTable::Turbo(steps) => turbo(engine, steps, gram_ready),
        StepTable::Identity => Mapped::plain(X),
        StepTable::Odd(_)
        | StepTable::Fitted(_)
        | StepTable::Coupled { .. }
        | StepTable::Authors { .. } => multiply(engine, table, power, gram_ready),
    }
}

/// As [`iterate`], of the recurrences that are made of products; the others leave X as it is.
#[inline(always)]
pub(super) fn multiply<E: Engine>(
    engine: &E,
    table: &StepTable,
    power: f64,
    gram_ready: bool,
) -> Mapped {
    match table {
        StepTable::Odd(steps) => odd(engine, steps, gram_ready),
        StepTable::Fitted(steps) => fitted(engine, steps, power, gram_ready),
        StepTable::Coupled { m, n, steps } => coupled(engine, *m, *n, steps, gram_ready),
        StepTable::Authors { steps, damping } => authors(engine, *steps, *damping, gram_ready),
        StepTable::Turbo(_) | StepTable::Identity => Mapped::plain(X),
    }
}

/// Whether a table is one of [`multiply`].
pub(super) fn is_made_of_products(table: &StepTable) -> bool {
    !matches!(table, StepTable::Turbo(_) | StepTable::Identity)
}

/// X <- aX + X(bA + cA^2). A and the next X share a buffer: A is dead when X is written.
#[inline(always)]
pub(super) fn odd<E: Products>(engine: &E, steps: &[[f32; 3]], mut gram_ready: bool) -> Mapped {
    let (mut x, mut other) = (X, Y);
    for step in steps {
        let &[a, b, c] = step;
        let cubic = is_cubic(step, engine.rounds());
        // In one place, since some engines are compiled into every place.
        if !gram_ready {
            engine.gram(x, if cubic { Slot::Gram } else { other }, 1.0);
        }
        if cubic {
            engine.update(x, Slot::Gram, other, a, b);
        } else {
            engine.polynomial(other, Slot::Gram, b, c);
            engine.update(x, Slot::Gram, other, a, 1.0);
        }
        gram_ready = false;
        std::mem::swap(&mut x, &mut other);
    }
    Mapped::plain(x)
}

/// The almost-orthogonal rescale, then [`odd`] with the rescaled Gram matrix.
#[inline(always)]
fn turbo<E: Rescale>(engine: &E, steps: &[[f32; 3]], gram_ready: bool) -> Mapped {
    if !gram_ready {
        engine.gram(X, Y, 1.0);
    }
    engine.balance(X, Y, Slot::Gram);
    odd(engine, steps, true)
}

/// Y <- aY + dX + (bY + eX)A, A = Y^T Y, after X <- X/nu, nu = ||X^T X||_F^(1/2); the result is nu^p Y.
#[inline(always)]
fn fitted<E: Engine>(engine: &E, steps: &[[f32; 4]], power: f64, gram_ready: bool) -> Mapped {
    if !gram_ready {
        engine.gram(X, Slot::Gram, 1.0);
    }
    let squares = engine.gram_norm_squared(Slot::Gram);
    let mut mapped = Mapped::plain(Y);
    let (mut by_nu, mut by_nu_squared) = ([0.0; MOST_TILES], [0.0; MOST_TILES]);
    for (tile, &square) in squares.iter().enumerate() {
        if square > 0.0 {
            let nu_squared = square.sqrt();
            by_nu[tile] = 1.0 / nu_squared.sqrt();
            by_nu_squared[tile] = 1.0 / nu_squared;
            mapped.factors[tile] = f64::from(nu_squared).powf(0.5 * power) as f32;
        }
    }
    engine.scale(X, &by_nu);
    engine.scale_gram(Slot::Gram, &by_nu_squared);
    engine.copy(X, Y);
    for (step, &[a, b, d, e]) in steps.iter().enumerate() {
        if step > 0 {
            engine.gram(Y, Slot::Gram, 1.0);
        }
        engine.mix(Z, (Y, b), (X, e));
        engine.combine(Z, Slot::Gram, (Y, a), (X, d));
    }
    mapped
}

/// Y <- Y - damping (Y A - X), A = Y^T Y, Y0 = X.
#[inline(always)]
fn authors<E: Engine>(engine: &E, steps: u32, damping: f32, gram_ready: bool) -> Mapped {
    engine.copy(X, Y);
    for step in 0..steps {
        if step > 0 || !gram_ready {
            engine.gram(Y, Slot::Gram, 1.0);
        }
        engine.mix(Z, (Y, -damping), (X, 0.0));
        engine.combine(Z, Slot::Gram, (Y, 1.0), (X, damping));
    }
    Mapped::plain(Y)
}

/// Q = aI - b Y^T Y; Z <- Z Q^n; Y <- Y Q^m, except at the last step. Z0 = Y0 = X.
#[inline(always)]
fn coupled<E: Engine>(engine: &E, m: u32, n: u32, steps: &[[f32; 2]], gram_ready: bool) -> Mapped {
    // Y, Z and a third buffer that every multiplication writes to, taking turns.
    let (mut y, mut z, mut free) = (X, Y, Z);
    engine.copy(y, z);
    for (step, &[a, b]) in steps.iter().enumerate() {
        if step > 0 || !gram_ready {
            engine.gram(y, Slot::Gram, -b);
        } else {
            engine.scale_gram(Slot::Gram, &[-b; MOST_TILES]);
        }
        engine.add_diagonal(Slot::Gram, a);
        for _ in 0..n {
            engine.update(z, Slot::Gram, free, 0.0, 1.0);
            std::mem::swap(&mut z, &mut free);
        }
        if step + 1 < steps.len() {
            for _ in 0..m {
                engine.update(y, Slot::Gram, free, 0.0, 1.0);
                std::mem::swap(&mut y, &mut free);
            }
        }
    }
    Mapped::plain(z)
}
