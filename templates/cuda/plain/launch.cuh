#pragma once
// What a launch is handed: a table of matrices, a table of groups, and one report per tile.
#include "element.cuh"

namespace himuon {

// 64 bytes. Row i of a tensor starts at i * leading dimension; momentum and `mapped` are contiguous.
struct Matrix {
  const void* gradient;
  void* momentum;
  void* weight;
  float* mapped;  // rows x columns, power > 0 only: the mapped tiles between the launches
  u32 rows;
  u32 columns;
  u32 gradient_leading;
  u32 weight_leading;
  u32 first_tile;  // tiles are numbered through all matrices, row by row
  u32 group;
  float factor;  // power > 0: written by `himuon_norm`, what the update is multiplied by
  float largest;  // power > 0: the largest tile norm
};

// 32 bytes: buf <- mu buf + c g; m <- alpha g + beta buf; W <- (1 - lr wd) W - lr scale(map(m)).
struct Group {
  float learning_rate;
  float weight_decay;
  float mu;
  float c;
  float alpha;
  float beta;
  float scale_factor;
  u32 scale_rule;  // SCALE_*
};

enum ScaleRule : u32 {
  SCALE_EXACT = 0,
  SCALE_PAPER = 1,
  SCALE_ORIGINAL = 2,
  SCALE_MATCH_RMS_ADAMW = 3,
  SCALE_NONE = 4,
};

// 16 bytes.
struct TileReport {
  float norm;                 // ||M||_F
  float inner_product;        // <X, O>, X = M / ||M||_F
  float mapped_norm_squared;  // ||O||_F^2
  u32 flags;                  // TILE_*
};

constexpr u32 TILE_NON_FINITE = 1;
constexpr u32 TILE_UNORTHOGONALISED = 2;

// A tile as cut: the last row and column of tiles may be smaller.
struct Place {
  u32 matrix;
  u32 row;
  u32 column;
  u32 height;
  u32 width;
};

HIMUON_DEVICE u32 smaller(u32 a, u32 b) { return a < b ? a : b; }
HIMUON_DEVICE u32 larger(u32 a, u32 b) { return a > b ? a : b; }

// The matrix whose tiles include `tile`: the last one that starts at or before it.
HIMUON_DEVICE Place place_of(const Matrix* matrices, u32 matrix_count, u32 tile) {
  u32 low = 0, high = matrix_count;
  while (high - low > 1) {
    const u32 middle = low + (high - low) / 2;
    if (matrices[middle].first_tile <= tile)
      low = middle;
    else
      high = middle;
  }
  const Matrix& matrix = matrices[low];
  const u32 height = smaller(Kernel::TILE_ROWS, matrix.rows);
  const u32 width = smaller(Kernel::TILE_COLUMNS, matrix.columns);
  const u32 across = (matrix.columns - 1) / width + 1;
  const u32 index = tile - matrix.first_tile;
  Place place;
  place.matrix = low;
  place.row = index / across * height;
  place.column = index % across * width;
  place.height = smaller(height, matrix.rows - place.row);
  place.width = smaller(width, matrix.columns - place.column);
  return place;
}

HIMUON_DEVICE float root(u32 value) { return sqrtf(float(value)); }

// What a mapped tile is multiplied by at power 0, before the learning rate.
HIMUON_DEVICE float scale_of(const Matrix& matrix, const Group& group, const Place& place) {
  if (group.scale_rule == SCALE_NONE) return 1.0f;
  if (group.scale_rule == SCALE_ORIGINAL)
    return matrix.rows > matrix.columns ? sqrtf(float(matrix.rows) / float(matrix.columns)) : 1.0f;
  if (group.scale_rule == SCALE_MATCH_RMS_ADAMW)
    return group.scale_factor * root(larger(matrix.rows, matrix.columns));
  if (group.scale_rule == SCALE_EXACT) return group.scale_factor * root(larger(place.height, place.width));
  // SCALE_PAPER: the edge of a whole tile, unless one tile covers the matrix.
  const bool covers = Kernel::TILE_ROWS >= matrix.rows && Kernel::TILE_COLUMNS >= matrix.columns;
  return group.scale_factor * root(covers ? larger(matrix.rows, matrix.columns)
                                          : larger(Kernel::TILE_ROWS, Kernel::TILE_COLUMNS));
}

}  // namespace himuon
