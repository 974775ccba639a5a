#pragma once
// The table of matrices whose tiles a coarse part couples, or whose rows are normalised, and what is known of a matrix while it is
// computed.
#include "element.cuh"
#include "number.cuh"

namespace himuon {

// What became of the coarse part of one matrix, 16 bytes.
struct __align__(16) CoarseReport {
  u32 state;
  float norm;          // ||P P^T M||_F
  float nuclear_norm;  // ||P P^T M||_*
  u32 collapsed;       // columns of the basis that start from their seeds again
};
// The states of a coarse part.
static constexpr u32 COARSE_NOTHING = 0u;     // a zero matrix, or nothing of it in the span of the basis
static constexpr u32 COARSE_CAPTURED = 1u;
static constexpr u32 COARSE_NON_FINITE = 2u;  // gradient, momentum, or their products with the basis

// One matrix M of H rows and W columns with a basis of `rank` columns, 240 bytes. What has `rank` columns lies row by row,
// `stride` numbers apart, a multiple of four, with zeros beyond the rank. Rank 0: tiles alone.
struct __align__(16) Coupled {
  u64 gradient;
  u64 momentum;
  u64 weight;
  u64 remainder;           // of bf16 weights, see master_weight.cuh; 0 without
  float* fine;             // H x W: what the coarse part leaves of M, then its mapped tiles; not there in one pass
  float* basis;            // V, the state: W x capacity
  float* left;             // P, H x rank
  float* captured;         // P X, H x rank
  float* added;            // P S, H x rank; with a projected fine part Z of `correct_fine`
  float* spare_left;       // H x rank
  float* right;            // V', W x rank
  float* spare_right;      // W x rank
  double* factors;         // four rank x rank matrices and those of chunks, see orthonormal.cuh
  float* small;            // three rank x rank matrices, see orthonormal.cuh
  u32* largest;            // by tile: the largest |m|, as bits
  CoarseReport* report;
  float* row_moments;      // the state of row normalisation: H numbers
  double* row_squares;     // H numbers for each column of patches: sums of squares; behind them two for each 64 rows
  float* row_factors;      // H: what the rows of the sum of both parts are multiplied with
  u32 rows, columns, gradient_leading, weight_leading;
  u32 tile_rows, tile_columns;
  u32 first_tile, group;
  u32 rank, stride, capacity, flags;
  u32 first_row_unit, first_column_unit, first_patch;  // numbered through all matrices
  float factor;            // of the coarse part beside the tiles
  float captured_decay;    // buf <- buf - captured_decay captured(m)
  float row_beta2, row_epsilon;
  u32 first_left_gram, first_right_gram, first_row_block;  // as well
};
static_assert(sizeof(Coupled) == 240u, "an entry of the table");
static constexpr u32 COUPLED_REFRESH = 1u;    // the basis moves
static constexpr u32 COUPLED_ALONE = 2u;      // the coarse part is all there is
static constexpr u32 COUPLED_PROJECTED = 4u;  // the fine part is taken out of both spans
static constexpr u32 COUPLED_NORMALISED = 8u; // rows are normalised (NorMuon, arXiv 2510.05491)

// A column whose part outside the columns before it is at most this times the longest column has collapsed.
static constexpr double COLLAPSE = 1e-5;
// Columns shorter than this are zero.
static constexpr double SMALLEST = 1e-30;
// A tile of what is left whose RMS is at most this times its largest |m| is rounding.
static constexpr float REMAINDER = 1e-5f;

static constexpr u32 COUPLING_THREADS = 256u;
// Rows and columns of a patch: what a block has of a matrix where numbers are taken one by one.
static constexpr u32 PATCH = 64u;
// Behind the two of the tile kernels and that of AdamW: matrices without their coarse part, because they are not finite.
static constexpr u32 COUNTER_UNCOUPLED = 3u;

HIMUON_DEVICE bool is_captured(const Coupled& matrix) {
  return matrix.rank > 0u && matrix.report->state == COARSE_CAPTURED;
}

// The matrix that unit `unit` belongs to, by the member that holds each matrix's first: the last one that is not beyond it.
template <u32 Coupled::* FIRST>
HIMUON_DEVICE u32 coupled_of(const Coupled* matrices, u32 count, u32 unit) {
  u32 low = 0, high = count;
  while (high - low > 1u) {
    const u32 middle = (low + high) >> 1;
    if (matrices[middle].*FIRST <= unit)
      low = middle;
    else
      high = middle;
  }
  return low;
}

// What a tile of these extents is multiplied with (`tile_rows` x `tile_columns` where it is whole).
HIMUON_DEVICE float scale_of(const Group& group, const Coupled& matrix, u32 rows, u32 columns, u32 tile_rows,
                             u32 tile_columns) {
  Place place = {};
  place.matrix.rows = matrix.rows;
  place.matrix.columns = matrix.columns;
  place.rows = rows;
  place.columns = columns;
  return tile_scale(group, place, tile_rows, tile_columns);
}

// The scale of the coarse part: that of a tile that is the whole matrix, and its own factor.
HIMUON_DEVICE float coarse_scale(const Group& group, const Coupled& matrix) {
  return matrix.factor * scale_of(group, matrix, matrix.rows, matrix.columns, matrix.rows, matrix.columns);
}

// The tile that holds an element, and what its mapped numbers are multiplied with.
struct FineTile {
  u32 number;  // in the matrix
  bool left_alone;
  float factor;
};

HIMUON_DEVICE u32 tile_number(const Coupled& matrix, u32 row, u32 column) {
  const u32 across = (matrix.columns - 1u) / matrix.tile_columns + 1u;
  return row / matrix.tile_rows * across + column / matrix.tile_columns;
}

HIMUON_DEVICE FineTile fine_tile(const Group& group, const Coupled& matrix, const TileReport* reports, u32 row, u32 column) {
  FineTile tile;
  tile.number = tile_number(matrix, row, column);
  const TileReport report = reports[matrix.first_tile + tile.number];
  tile.left_alone = (report.flags & TILE_NON_FINITE) != 0u;
  const u32 rows = smaller(matrix.tile_rows, matrix.rows - row / matrix.tile_rows * matrix.tile_rows);
  const u32 columns = smaller(matrix.tile_columns, matrix.columns - column / matrix.tile_columns * matrix.tile_columns);
  const float limit = is_captured(matrix)
                          ? REMAINDER * float_of(matrix.largest[tile.number]) * square_root(float(rows) * float(columns))
                          : 0.0f;
  // Rows of tiles alone are normalised before any scale.
  const bool unscaled = (matrix.flags & COUPLED_NORMALISED) != 0u && !is_captured(matrix);
  const float scale =
      unscaled ? 1.0f : scale_of(group, matrix, rows, columns, matrix.tile_rows, matrix.tile_columns);
  tile.factor = tile.left_alone || report.norm <= limit ? 0.0f : scale;
  return tile;
}

// One bit for each of four neighbours of row `row` that lie in the matrix.
HIMUON_DEVICE u32 inside_bits(const Coupled& matrix, u32 row, u32 column) {
  u32 bits = 0;
#pragma unroll
  for (u32 e = 0; e < 4u; e++) bits |= u32(row < matrix.rows && column + e < matrix.columns) << e;
  return bits;
}

// Four neighbours, of which `wanted` names those that are accessed.
template <class Element>
HIMUON_DEVICE Quad<Element> load_neighbours(u64 tensor, u64 at, u32 wanted) {
  const u8* place = reinterpret_cast<const u8*>(tensor) + at * Element::BYTES;
  if (wanted == 15u && (u32(u64(place)) & (4u * Element::BYTES - 1u)) == 0u) return load_quad<Element>(place, true);
  return gather_quad<Element>(place, Element::BYTES, wanted);
}
template <class Element>
HIMUON_DEVICE void store_neighbours(u64 tensor, u64 at, const Quad<Element>& quad, u32 wanted) {
  u8* place = reinterpret_cast<u8*>(tensor) + at * Element::BYTES;
  if (wanted == 15u && (u32(u64(place)) & (4u * Element::BYTES - 1u)) == 0u)
    store_quad<Element>(place, quad, true);
  else
    scatter_quad<Element>(place, Element::BYTES, quad, wanted);
}

}  // namespace himuon
