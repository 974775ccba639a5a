#pragma once
// The device tables of one launch: matrices, groups, reports (each aligned to 16 bytes), and where a tile lies.
#include "instruction.cuh"

namespace himuon {

// One matrix, 64 bytes. Row i of a tensor starts at i * leading dimension; momentum and `mapped` are contiguous.
struct __align__(16) Matrix {
  u64 gradient;
  u64 momentum;
  u64 weight;
  float* mapped;  // rows x columns, power > 0 only: the mapped tiles between the launches
  u32 rows;
  u32 columns;
  u32 gradient_leading;
  u32 weight_leading;
  u32 first_tile;  // tiles are numbered through all matrices, row by row
  u32 group;
  float factor;   // power > 0: written by `himuon_norm`, what the update is multiplied by
  float largest;  // power > 0: the largest tile norm
  u64 remainder;  // 16 bits more for each bf16 weight, contiguous, see master_weight.cuh; 16 bytes more in all  //: master weights
  u64 reserved;  //: master weights
};

// The run-time scalars of a parameter group, 32 bytes:
// buf <- mu buf + c g; m <- alpha g + beta buf; W <- (1 - lr wd) W - lr scale(map(m)).
struct __align__(16) Group {
  float learning_rate;
  float weight_decay;
  float mu;
  float c;
  float alpha;
  float beta;
  float scale_factor;
  u32 scale_rule;
};

enum ScaleRule : u32 {
  SCALE_EXACT = 0,
  SCALE_PAPER = 1,
  SCALE_ORIGINAL = 2,
  SCALE_MATCH_RMS_ADAMW = 3,
  SCALE_NONE = 4,
};

// What became of one tile, 16 bytes.
struct __align__(16) TileReport {
  float norm;                 // ||M||_F before the map
  float inner_product;        // <X, O>, X = M / ||M||_F; 0 where the map was skipped
  float mapped_norm_squared;  // ||O||_F^2; 0 where the map was skipped
  u32 flags;
};
static constexpr u32 TILE_NON_FINITE = 1u;
static constexpr u32 TILE_UNORTHOGONALISED = 2u;

// Counters of a launch, added to: tiles left alone because they were not finite, and tiles that the
// criterion left unorthogonalised.
static constexpr u32 COUNTER_NON_FINITE = 0u;
static constexpr u32 COUNTER_UNORTHOGONALISED = 1u;

// What a launch hands to every tile.
struct Launch {
  const Matrix* matrices;
  u32 matrix_count;
  const Group* groups;
  TileReport* reports;  // null: not wanted
  u32 tile_count;
  u32* counters;  // null: not wanted
};

// A launch recorded for the steps first .. end - 1 does nothing at any other.
HIMUON_DEVICE bool step_in_range(const u32* step, u32 first, u32 end) {
  return step == nullptr || (*step >= first && *step < end);
}

struct Place {
  Matrix matrix;
  u32 row, column;    // of the tile's corner
  u32 rows, columns;  // of the tile as cut
};

HIMUON_DEVICE u32 smaller(u32 a, u32 b) { return a < b ? a : b; }
HIMUON_DEVICE u32 larger(u32 a, u32 b) { return a > b ? a : b; }

// The matrix of tile `tile`: the last one whose first tile is not beyond it.
HIMUON_DEVICE u32 matrix_of(const Matrix* matrices, u32 count, u32 tile) {
  u32 low = 0, high = count;
  while (high - low > 1u) {
    const u32 middle = (low + high) >> 1;
    if (matrices[middle].first_tile <= tile)
      low = middle;
    else
      high = middle;
  }
  return low;
}

HIMUON_DEVICE Place place_of(const Matrix& matrix, u32 tile, u32 tile_rows, u32 tile_columns) {
  Place place;
  place.matrix = matrix;
  const u32 index = tile - matrix.first_tile;
  const u32 across = (matrix.columns - 1u) / tile_columns + 1u;
  const u32 down = index / across;
  place.row = down * tile_rows;
  place.column = (index - down * across) * tile_columns;
  place.rows = smaller(tile_rows, matrix.rows - place.row);
  place.columns = smaller(tile_columns, matrix.columns - place.column);
  return place;
}

// What a mapped tile is multiplied by at p = 0, before the learning rate.
HIMUON_DEVICE float tile_scale(const Group& group, const Place& place, u32 tile_rows, u32 tile_columns) {
  const Matrix& matrix = place.matrix;
  const bool whole = tile_rows >= matrix.rows && tile_columns >= matrix.columns;
  u32 edge = larger(place.rows, place.columns);
  switch (group.scale_rule) {
    case SCALE_PAPER:
      edge = whole ? larger(matrix.rows, matrix.columns) : larger(tile_rows, tile_columns);
      break;
    case SCALE_ORIGINAL: {
      const float ratio = float(matrix.rows) / float(matrix.columns);
      return square_root(ratio > 1.0f ? ratio : 1.0f);
    }
    case SCALE_MATCH_RMS_ADAMW:
      edge = larger(matrix.rows, matrix.columns);
      break;
    case SCALE_NONE:
      return 1.0f;
    default:
      break;
  }
  return group.scale_factor * square_root(float(edge));
}

}  // namespace himuon
