#pragma once
// When a tile is orthogonalised at all (MiMuon, arXiv 2605.19619), and what it gets otherwise.

namespace himuon {

enum Criterion {
  CRITERION_ALWAYS = 0,
  CRITERION_NORM = 1,            // ||M||_F >= threshold, before any product
  CRITERION_EFFECTIVE_RANK = 2,  // 1 / (r ||X X^T||_F^2) >= threshold, after the first Gram matrix
  CRITERION_NUCLEAR_RANK = 3,    // <X, O>^2 / r >= threshold
};

// Which iteration maps a tile.
enum Recurrence {
  RECURRENCE_ODD = 0,       // odd polynomials of X
  RECURRENCE_FITTED = 1,    // Y <- a Y + d X + A (b Y + e X)
  RECURRENCE_COUPLED = 2,   // Z <- Q^n Z, Y <- Q^m Y
  RECURRENCE_IDENTITY = 3,  // none: p = 1
};

enum Otherwise {
  OTHERWISE_MOMENTUM = 0,     // M itself, without the tile scale
  OTHERWISE_RMS_MATCHED = 1,  // sqrt(r) X, scaled like a mapped tile
};

}  // namespace himuon
