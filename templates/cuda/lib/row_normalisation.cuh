#pragma once
// Row normalisation (NorMuon, arXiv 2510.05491) of the sum O of coarse part and tiles, one thread block a matrix:
// s_i <- b2 s_i + (1 - b2) mean_j O_ij^2, O_ij / (sqrt(s_i) + eps), and the RMS of the whole set to the scale factor.
// Tiles that are left alone take no part; a row of such tiles alone keeps its s_i.
#include "small_product.cuh"

namespace himuon {

// Columns of a row that take part.
HIMUON_DEVICE u32 counted_columns(const Coupled& matrix, const TileReport* reports, u32 row) {
  const u32 across = (matrix.columns - 1u) / matrix.tile_columns + 1u;
  const TileReport* first = reports + matrix.first_tile + row / matrix.tile_rows * across;
  u32 columns = 0;
  for (u32 tile = 0; tile < across; tile++)
    if (!(first[tile].flags & TILE_NON_FINITE))
      columns += smaller(matrix.tile_columns, matrix.columns - tile * matrix.tile_columns);
  return columns;
}

// Moments and factors of all rows.
HIMUON_DEVICE void normalise_rows(const Coupled& matrix, const Group& group, const TileReport* reports) {
  const u32 patches = (matrix.columns - 1u) / PATCH + 1u;
  const double beta2 = double(matrix.row_beta2);
  double total = 0.0, count = 0.0;
  for (u32 row = threadIdx.x; row < matrix.rows; row += COUPLING_THREADS) {
    const u32 columns = counted_columns(matrix, reports, row);
    double squares = 0.0, divisor = 1.0;
    if (columns > 0u) {
      for (u32 patch = 0; patch < patches; patch++) squares += matrix.row_squares[u64(patch) * matrix.rows + row];
      const float moment = float(beta2 * double(matrix.row_moments[row]) + (1.0 - beta2) * (squares / double(columns)));
      matrix.row_moments[row] = moment;
      const double found = sqrt(double(moment)) + double(matrix.row_epsilon);
      if (found > 0.0) divisor = found;
    }
    matrix.row_factors[row] = float(1.0 / divisor);
    total += squares / (divisor * divisor);
    count += double(columns);
  }
  const double norm = sqrt(block_sum(total)), elements = block_sum(count);
  const double factor = norm > 0.0 ? double(group.scale_factor) * sqrt(elements) / norm : 0.0;
  for (u32 row = threadIdx.x; row < matrix.rows; row += COUPLING_THREADS)
    matrix.row_factors[row] = float(factor * double(matrix.row_factors[row]));
}

}  // namespace himuon
