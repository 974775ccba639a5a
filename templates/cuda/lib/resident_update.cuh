#pragma once
// The third launch at p > 0 with the access of the resident family.
#include "fragment.cuh"
#include "matrix_norm.cuh"

namespace himuon {

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
                       Access::aligned(matrix.remainder, matrix.columns, 2) &&  //: master weights
                       Access::aligned(reinterpret_cast<u64>(matrix.mapped), matrix.columns, 4);
  const Window window = Access::window(place, aligned);
  const u64 weight = matrix.weight + (u64(place.row) * matrix.weight_leading + place.column) * Weight::BYTES;
  const u64 mapped = reinterpret_cast<u64>(matrix.mapped + u64(place.row) * matrix.columns + place.column);
  const u64 remainder = matrix.remainder + (u64(place.row) * matrix.columns + place.column) * 2u;  //: master weights
  const float rate = -group.learning_rate * tile_factor<Kernel>(matrix, report);
  const float keep = 1.0f - group.learning_rate * group.weight_decay;
#pragma unroll
  for (int first = 0; first < Access::QUADS; first += Access::BATCH) {
    Quad<Weight> weights[Access::BATCH];
    Quad<F32> maps[Access::BATCH];
    Quad<Bf16> remainders[Access::BATCH];  //: master weights
    Access::template load<Bf16>(site, window, remainder, matrix.columns, first, remainders);  //: master weights
    Access::template load<Weight>(site, window, weight, matrix.weight_leading, first, weights);
    Access::template load<F32>(site, window, mapped, matrix.columns, first, maps);
#pragma unroll
    for (int i = 0; i < Access::BATCH; i++) {
      float w[4], v[4];
      decode(weights[i], w);
      join_masters(weights[i], remainders[i], w);  //: master weights
      decode(maps[i], v);
#pragma unroll
      for (int e = 0; e < 4; e++) w[e] = __fmaf_rn(keep, w[e], rate * v[e]);
      weights[i] = encode<Weight>(w);
      split_masters(w, weights[i], remainders[i]);  //: master weights
    }
    Access::template store<Weight, Access::BATCH>(site, window, weight, matrix.weight_leading, first,
                                                  [&](int i) { return weights[i]; });
    Access::template store<Bf16, Access::BATCH>(site, window, remainder, matrix.columns, first,  //: master weights
                                                [&](int i) { return remainders[i]; });  //: master weights
  }
}

}  // namespace himuon
