#pragma once
// The optimizer step of one tile around the map, or the map alone, of the gradient into the weight.
#include "../lib/criterion.cuh"
#include "../lib/launch.cuh"
#include "../lib/master_weight.cuh"  //: master weights
#include "../lib/matrix_norm.cuh"
#include "tile.cuh"

namespace himuon {

// One tile of a matrix with its group. Elements are numbered as the workspace holds them.
template <class Kernel, bool OPTIMIZER>
struct Tile {
  using Weight = typename Kernel::Weight;
  using Momentum = typename Kernel::Momentum;

  Place place;
  Group group;
  bool transposed;
  u32 rows;
  u32 columns;

  HIMUON_DEVICE Tile at(const Launch& launch, u32 index) {
    Tile tile;
    const Matrix& matrix = launch.matrices[matrix_of(launch.matrices, launch.matrix_count, index)];
    tile.place = place_of(matrix, index, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
    if (OPTIMIZER) tile.group = launch.groups[matrix.group];
    tile.transposed = tile.place.rows > tile.place.columns;
    tile.rows = smaller(tile.place.rows, tile.place.columns);
    tile.columns = larger(tile.place.rows, tile.place.columns);
    return tile;
  }

  __device__ __forceinline__ u64 size() const { return u64(rows) * columns; }
  // Where element `index` of the tile lies in a tensor.
  __device__ __forceinline__ u64 in(u64 index, u32 leading) const {
    const u32 major = u32(index / columns), minor = u32(index % columns);
    return u64(place.row + (transposed ? minor : major)) * leading + place.column + (transposed ? major : minor);
  }

  __device__ __forceinline__ float gradient(u64 index) const {
    const auto* words = reinterpret_cast<const typename Weight::Word*>(place.matrix.gradient);
    return Weight::load(words[in(index, place.matrix.gradient_leading)]);
  }
  __device__ __forceinline__ typename Momentum::Word& momentum(u64 index) const {
    return reinterpret_cast<typename Momentum::Word*>(place.matrix.momentum)[in(index, place.matrix.columns)];
  }
  __device__ __forceinline__ typename Weight::Word& weight(u64 index) const {
    return reinterpret_cast<typename Weight::Word*>(place.matrix.weight)[in(index, place.matrix.weight_leading)];
  }
  __device__ __forceinline__ u16& remainder(u64 index) const {  //: master weights
    return reinterpret_cast<u16*>(place.matrix.remainder)[in(index, place.matrix.columns)];  //: master weights
  }  //: master weights
  __device__ __forceinline__ float& mapped(u64 index) const {
    return place.matrix.mapped[in(index, place.matrix.columns)];
  }

  // buf <- mu buf + c g
  __device__ __forceinline__ float buffer(u64 index) const {
    return __fmaf_rn(group.mu, Momentum::load(momentum(index)), group.c * gradient(index));
  }
  // m <- alpha g + beta buf
  __device__ __forceinline__ float update(u64 index) const {
    if (!OPTIMIZER) return gradient(index);
    return __fmaf_rn(group.beta, buffer(index), group.alpha * gradient(index));
  }
  __device__ __forceinline__ bool usable(u64 index) const {
    if (!OPTIMIZER) return finite(gradient(index));
    return finite(gradient(index)) && finite(Momentum::load(momentum(index))) && finite(update(index));
  }

  __device__ __forceinline__ void keep_momentum() const {
    if (OPTIMIZER) each(size(), [&](u64 i) { momentum(i) = Momentum::store(buffer(i)); });
  }
  // W <- (1 - lr wd) W - lr u(i), or u(i) itself where there is no optimizer.
  template <class Update>
  __device__ __forceinline__ void write(Update u) const {
    const float keep = OPTIMIZER ? 1.0f - group.learning_rate * group.weight_decay : 0.0f;
    each(size(), [&](u64 i) {
      const float changed = OPTIMIZER ? __fmaf_rn(-group.learning_rate, u(i), keep * Weight::load(weight(i))) : u(i);  //: no master weights
      weight(i) = Weight::store(changed);  //: no master weights
      if (!OPTIMIZER) {  //: master weights
        weight(i) = Weight::store(u(i));  //: master weights
        return;  //: master weights
      }  //: master weights
      const float master = master_of(weight(i), remainder(i));  //: master weights
      const u32 bits = master_bits(__fmaf_rn(-group.learning_rate, u(i), keep * master));  //: master weights
      weight(i) = u16(rounded_half(bits));  //: master weights
      remainder(i) = u16(bits);  //: master weights
    });
  }
};

// Puts X = M / ||M||_F into the workspace and returns ||M||_F; the norm is scaled by the largest element, so
// that it neither overflows nor underflows. A NaN is returned for a tile that is not finite.
template <class Kernel, bool OPTIMIZER>
HIMUON_DEVICE float normalise(const Tile<Kernel, OPTIMIZER>& tile, const Work<Kernel>& work) {
  float bad = 0.0f, largest = 0.0f;
  for (u64 i = threadIdx.x; i < tile.size(); i += blockDim.x) {
    const float value = work.stored(tile.update(i));
    work.x[i] = value;
    if (!tile.usable(i)) bad = 1.0f;
    if (absolute(value) > largest) largest = absolute(value);
  }
  if (largest_over_block(bad) > 0.0f) return float_of(0x7fffffffu);
  largest = largest_over_block(largest);
  if (largest == 0.0f) return 0.0f;
  const float inside = square_root(sum(tile.size(), [&](u64 i) {
    const float value = work.x[i] / largest;
    return value * value;
  }));
  const float norm = largest * inside;
  each(tile.size(), [&](u64 i) {
    work.x[i] = Kernel::REFERENCE ? work.stored(work.x[i] / (norm + 1e-7f)) : work.x[i] / largest / inside;
  });
  return norm;
}

// Whether the tile is worth mapping, as far as that is known before.
template <class Kernel>
HIMUON_DEVICE bool holds_before(const Work<Kernel>& work, float norm) {
  if (Kernel::CRITERION == CRITERION_NORM) return norm >= Kernel::threshold();
  if (Kernel::CRITERION != CRITERION_EFFECTIVE_RANK) return true;
  work.multiply_transposed(work.x);
  const float square = sum(work.square(), [&](u64 i) { return work.gram[i] * work.gram[i]; });
  return (square > 0.0f ? 1.0f / (float(work.rows) * square) : 0.0f) >= Kernel::threshold();
}

// Puts the mapped tile into `work.x` and says what became of it.
template <class Kernel, bool OPTIMIZER>
HIMUON_DEVICE TileReport mapped_tile(const Tile<Kernel, OPTIMIZER>& tile, Work<Kernel>& work) {
  TileReport report = {0.0f, 0.0f, 0.0f, 0};
  report.norm = normalise(tile, work);
  if (!(report.norm >= 0.0f)) {
    report.norm = 0.0f;
    report.flags = TILE_NON_FINITE;
    return report;
  }
  if (!holds_before(work, report.norm)) {
    report.flags = TILE_UNORTHOGONALISED;
    return report;
  }
  if (report.norm > 0.0f) Kernel::map(work);
  const float inverse = report.norm > 0.0f ? 1.0f / report.norm : 0.0f;
  report.inner_product = sum(tile.size(), [&](u64 i) { return tile.update(i) * inverse * work.x[i]; });
  report.mapped_norm_squared = sum(tile.size(), [&](u64 i) { return work.x[i] * work.x[i]; });
  if (Kernel::CRITERION == CRITERION_NUCLEAR_RANK &&
      !(report.inner_product * report.inner_product / float(work.rows) >= Kernel::threshold()))
    report.flags = TILE_UNORTHOGONALISED;
  return report;
}

template <class Kernel, bool OPTIMIZER>
HIMUON_DEVICE void finish_tile(const Tile<Kernel, OPTIMIZER>& tile, const Work<Kernel>& work, const TileReport& report) {
  if (OPTIMIZER && Kernel::MATRIX_NORMALISED) {
    tile.keep_momentum();  // first: `mapped` may lie where the gradient lies
    each(tile.size(), [&](u64 i) { tile.mapped(i) = work.x[i]; });
  } else {
    const float scale = OPTIMIZER ? tile_scale(tile.group, tile.place, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS) : 1.0f;
    if (!(report.flags & TILE_UNORTHOGONALISED)) {
      tile.write([&](u64 i) { return scale * work.x[i]; });
    } else if (Kernel::OTHERWISE == OTHERWISE_MOMENTUM) {
      tile.write([&](u64 i) { return tile.update(i); });
    } else {
      const float inverse = report.norm > 0.0f ? scale * square_root(float(tile.rows)) / report.norm : 0.0f;
      tile.write([&](u64 i) { return tile.update(i) * inverse; });
    }
    tile.keep_momentum();
  }
}

// The body of both entry points: blocks take tiles in turn.
template <class Kernel, bool OPTIMIZER>
HIMUON_DEVICE void run_tiles(const Launch& launch, float* workspace, u64 workspace_of_block) {
  for (u32 index = blockIdx.x; index < launch.tile_count; index += gridDim.x) {
    const auto tile = Tile<Kernel, OPTIMIZER>::at(launch, index);
    auto work = Work<Kernel>::at(workspace + blockIdx.x * workspace_of_block, tile.rows, tile.columns);
    const TileReport report = mapped_tile(tile, work);
    if (threadIdx.x == 0) {
      if (launch.reports != nullptr) launch.reports[index] = report;
      if (launch.counters != nullptr && report.flags != 0u)
        add_to_counter(launch.counters + (report.flags & TILE_NON_FINITE ? COUNTER_NON_FINITE : COUNTER_UNORTHOGONALISED), 1u);
    }
    if (!(report.flags & TILE_NON_FINITE)) finish_tile(tile, work, report);
  }
}

// The third launch at p > 0: W <- (1 - lr wd) W - lr factor (f_t / max f)^p Y_t.
template <class Kernel>
HIMUON_DEVICE void update_tiles(const Launch& launch) {
  for (u32 index = blockIdx.x; index < launch.tile_count; index += gridDim.x) {
    const TileReport report = launch.reports[index];
    if (report.flags & TILE_NON_FINITE) continue;
    const auto tile = Tile<Kernel, true>::at(launch, index);
    const float factor = tile_factor<Kernel>(tile.place.matrix, report);
    tile.write([&](u64 i) { return factor * tile.mapped(i); });
  }
}

}  // namespace himuon
