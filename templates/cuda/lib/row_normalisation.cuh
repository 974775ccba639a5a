#pragma once
// Row normalisation (NorMuon, arXiv 2510.05491) of the sum O of coarse part and tiles:
// s_i <- b2 s_i + (1 - b2) mean_j O_ij^2, O_ij / (sqrt(s_i) + eps), and the RMS of the whole set to the scale factor.
// Tiles that are left alone take no part; a row of such tiles alone keeps its s_i.
#include "small_product.cuh"

namespace himuon {

static constexpr u32 ROW_LANES = COUPLING_THREADS / PATCH;  // neighbouring threads that have a row

// Columns of a row that take part, of every fourth tile.
HIMUON_DEVICE u32 counted_columns(const Coupled& matrix, const TileReport* reports, u32 row, u32 lane) {
  const u32 across = (matrix.columns - 1u) / matrix.tile_columns + 1u;
  const TileReport* first = reports + matrix.first_tile + row / matrix.tile_rows * across;
  u32 columns = 0;
  for (u32 tile = lane; tile < across; tile += ROW_LANES)
    if (!(first[tile].flags & TILE_NON_FINITE))
      columns += smaller(matrix.tile_columns, matrix.columns - tile * matrix.tile_columns);
  return columns;
}

HIMUON_DEVICE u32 column_patches(const Coupled& matrix) { return (matrix.columns - 1u) / PATCH + 1u; }

// Behind the sums of squares: for each 64 rows that of the normalised squares, and how many numbers they are.
HIMUON_DEVICE double* row_sums(const Coupled& matrix) { return matrix.row_squares + u64(column_patches(matrix)) * matrix.rows; }

// Moments of 64 rows, and the factors that follow from them.
HIMUON_DEVICE void row_moments(const Coupled& matrix, const TileReport* reports, u32 unit) {
  const u32 row = unit * PATCH + threadIdx.x / ROW_LANES, lane = threadIdx.x % ROW_LANES;
  const bool inside = row < matrix.rows;
  const u32 patches = column_patches(matrix);
  u32 columns = inside ? counted_columns(matrix, reports, row, lane) : 0u;
  double squares = 0.0;
  if (inside)
    for (u32 patch = lane; patch < patches; patch += ROW_LANES) squares += matrix.row_squares[u64(patch) * matrix.rows + row];
#pragma unroll
  for (u32 mask = ROW_LANES / 2u; mask > 0u; mask /= 2u) {
    columns += __shfl_xor_sync(0xffffffffu, columns, mask);
    squares += __shfl_xor_sync(0xffffffffu, squares, mask);
  }
  if (columns == 0u) squares = 0.0;
  double divisor = 1.0;
  if (inside && lane == 0u) {
    if (columns > 0u) {
      const double beta2 = double(matrix.row_beta2);
      const float moment = float(beta2 * double(matrix.row_moments[row]) + (1.0 - beta2) * (squares / double(columns)));
      matrix.row_moments[row] = moment;
      const double found = sqrt(double(moment)) + double(matrix.row_epsilon);
      if (found > 0.0) divisor = found;
    }
    matrix.row_factors[row] = float(1.0 / divisor);
  }
  const double total = block_sum(lane == 0u ? squares / (divisor * divisor) : 0.0);
  const double count = block_sum(lane == 0u ? double(columns) : 0.0);
  if (threadIdx.x != 0u) return;
  row_sums(matrix)[2u * unit] = total;
  row_sums(matrix)[2u * unit + 1u] = count;
}

// The factors of all rows, by one thread block.
HIMUON_DEVICE void normalise_rows(const Coupled& matrix, const Group& group) {
  const u32 units = (matrix.rows - 1u) / PATCH + 1u;
  const double* sums = row_sums(matrix);
  double total = 0.0, count = 0.0;
  for (u32 unit = threadIdx.x; unit < units; unit += COUPLING_THREADS) {
    total += sums[2u * unit];
    count += sums[2u * unit + 1u];
  }
  const double norm = sqrt(block_sum(total)), elements = block_sum(count);
  const double factor = norm > 0.0 ? double(group.scale_factor) * sqrt(elements) / norm : 0.0;
#pragma unroll 8
  for (u32 row = threadIdx.x; row < matrix.rows; row += COUPLING_THREADS)
    matrix.row_factors[row] = float(factor * double(matrix.row_factors[row]));
}

}  // namespace himuon
