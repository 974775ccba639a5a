#pragma once
// p > 0: the scale comes from the norm of the whole matrix, so a step is three launches. The first writes
// momentum, maps and reports; here each matrix's factor is found, for the third, which updates the weights.
#include "block.cuh"
#include "launch.cuh"

namespace himuon {

// Threads of the block that finds a matrix's factor: a matrix has hundreds of thousands of small tiles, whatever threads one of them takes.
static constexpr u32 NORM_THREADS = 512u;

// One block per matrix: v_t = f_t^p Y_t of its finite tiles, the factor that sets the RMS of v to scale_factor.
// f_t / max f_t stands for f_t: the maximum cancels and guards against overflow.
template <class Kernel>
HIMUON_DEVICE void matrix_factor(Matrix& matrix, u32 tile_end, const Group* groups, const TileReport* reports) {
  const u32 first = matrix.first_tile;
  float largest = 0.0f;
  for (u32 tile = first + threadIdx.x; tile < tile_end; tile += blockDim.x)
    largest = reports[tile].norm > largest ? reports[tile].norm : largest;
  largest = largest_over_block(largest);
  float square = 0.0f, elements = 0.0f;
  for (u32 tile = first + threadIdx.x; tile < tile_end; tile += blockDim.x) {
    const TileReport report = reports[tile];
    if (report.flags & TILE_NON_FINITE) continue;
    const Place place = place_of(matrix, tile, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
    elements += float(place.rows) * float(place.columns);
    if (largest == 0.0f) continue;
    const float part = powf(report.norm / largest, Kernel::POWER);
    square = __fmaf_rn(part * part, report.mapped_norm_squared, square);
  }
  square = sum_over_block(square);
  elements = sum_over_block(elements);
  if (threadIdx.x != 0) return;
  matrix.factor = square > 0.0f ? groups[matrix.group].scale_factor * square_root(elements / square) : 0.0f;
  matrix.largest = largest;
}

// What the third launch multiplies the map of a tile by, before the learning rate: factor (f_t / max f)^p.
template <class Kernel>
HIMUON_DEVICE float tile_factor(const Matrix& matrix, const TileReport& report) {
  return matrix.largest > 0.0f ? matrix.factor * powf(report.norm / matrix.largest, Kernel::POWER) : 0.0f;
}

}  // namespace himuon
