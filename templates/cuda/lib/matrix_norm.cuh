#pragma once
// p > 0: the scale comes from the norm of the whole matrix, so a step is three launches. The first wrote
// momentum and maps; these find each matrix's factor and apply the update.
#include "fragment.cuh"
#include "prologue.cuh"

namespace himuon {

// Combines one number of every thread of the block, in a fixed order.
template <int THREADS, class Combine>
HIMUON_DEVICE float over_block(float value, Combine combine) {
  __shared__ float parts[32];
#pragma unroll
  for (int mask = 16; mask > 0; mask >>= 1) value = combine(value, shuffle_xor(value, mask));
  __syncthreads();  // the previous use has been read
  if (threadIdx.x % 32u == 0u) parts[threadIdx.x / 32u] = value;
  __syncthreads();
  value = parts[0];
  for (int warp = 1; warp < THREADS / 32; warp++) value = combine(value, parts[warp]);
  return value;
}

// One block per matrix: v_t = f_t^p Y_t of its finite tiles, the factor that sets the RMS of v to scale_factor.
// f_t / max f_t stands for f_t: the maximum cancels and guards against overflow.
template <class Kernel>
HIMUON_DEVICE void matrix_factor(Matrix& matrix, u32 tile_end, const Group* groups, const TileReport* reports) {
  constexpr int THREADS = Resident<Kernel>::THREADS;
  const u32 first = matrix.first_tile;
  float largest = 0.0f;
  for (u32 tile = first + threadIdx.x; tile < tile_end; tile += THREADS)
    largest = reports[tile].norm > largest ? reports[tile].norm : largest;
  largest = over_block<THREADS>(largest, [](float a, float b) { return a > b ? a : b; });
  float square = 0.0f, elements = 0.0f;
  for (u32 tile = first + threadIdx.x; tile < tile_end; tile += THREADS) {
    const TileReport report = reports[tile];
    if (report.flags & TILE_NON_FINITE) continue;
    const Place place = place_of(matrix, tile, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
    elements += float(place.rows) * float(place.columns);
    if (largest == 0.0f) continue;
    const float part = powf(report.norm / largest, Kernel::POWER);
    square = __fmaf_rn(part * part, report.mapped_norm_squared, square);
  }
  const auto add = [](float a, float b) { return a + b; };
  square = over_block<THREADS>(square, add);
  elements = over_block<THREADS>(elements, add);
  if (threadIdx.x != 0) return;
  matrix.factor = square > 0.0f ? groups[matrix.group].scale_factor * square_root(elements / square) : 0.0f;
  matrix.largest = largest;
}

// W <- (1 - lr wd) W - lr factor (f_t / max f)^p Y_t.
template <class Kernel>
HIMUON_DEVICE void update_tile(const Resident<Kernel>& site, const Launch& launch, u32 tile) {
  using Access = Fragment<Kernel>;
  using Weight = typename Kernel::Weight;
  const TileReport report = launch.reports[tile];
  if (report.flags & TILE_NON_FINITE) return;
  const u32 index = matrix_of(launch.matrices, launch.matrix_count, tile);
  const Place place = place_of(launch.matrices[index], tile, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
  const Matrix& matrix = place.matrix;
  const Group group = launch.groups[matrix.group];
  const bool aligned = Access::aligned(matrix.weight, matrix.weight_leading, Weight::BYTES) &&
                       Access::aligned(reinterpret_cast<u64>(matrix.mapped), matrix.columns, 4);
  const Window window = Access::window(place, aligned);
  const u64 weight = matrix.weight + (u64(place.row) * matrix.weight_leading + place.column) * Weight::BYTES;
  const u64 mapped = reinterpret_cast<u64>(matrix.mapped + u64(place.row) * matrix.columns + place.column);
  const float part = matrix.largest > 0.0f ? powf(report.norm / matrix.largest, Kernel::POWER) : 0.0f;
  const float rate = -group.learning_rate * matrix.factor * part;
  const float keep = 1.0f - group.learning_rate * group.weight_decay;
#pragma unroll
  for (int first = 0; first < Access::QUADS; first += Access::BATCH) {
    Quad<Weight> weights[Access::BATCH];
    Quad<F32> maps[Access::BATCH];
    Access::template load<Weight>(site, window, weight, matrix.weight_leading, first, weights);
    Access::template load<F32>(site, window, mapped, matrix.columns, first, maps);
#pragma unroll
    for (int i = 0; i < Access::BATCH; i++) {
      float w[4], v[4];
      decode(weights[i], w);
      decode(maps[i], v);
#pragma unroll
      for (int e = 0; e < 4; e++) w[e] = __fmaf_rn(keep, w[e], rate * v[e]);
      weights[i] = encode<Weight>(w);
    }
    Access::template store<Weight, Access::BATCH>(site, window, weight, matrix.weight_leading, first,
                                                  [&](int i) { return weights[i]; });
  }
}

}  // namespace himuon
