#pragma once
// The optimizer step around the map of tiles in the workspace. A launch with no groups maps the gradient alone.
#include "matrix_norm.cuh"
#include "streamed_patch.cuh"

namespace himuon {

// One number of M for each i, with the new momentum before it is rounded to its own type.
template <class Kernel>
struct Direction {
  using Gradient = typename Kernel::Gradient;
  using Momentum = typename Kernel::Momentum;
  const StreamedLaunch& launch;
  const PatchInMemory<Kernel>& memory;
  bool optimizer;
  Group group;
  Plane gradient, momentum;

  __device__ __forceinline__ Direction(const StreamedLaunch& launch, const PatchInMemory<Kernel>& memory)
      : launch(launch), memory(memory), optimizer(launch.groups != nullptr), group{}, gradient(memory.gradient()),
        momentum(memory.momentum()) {
    if (optimizer) group = launch.groups[memory.place.matrix.group];
  }

  // Infinity where the momentum is not finite, or would not be once it is stored.
  HIMUON_DEVICE u32 damage(float buffer) {
    if constexpr (Momentum::BYTES == 2) buffer = Momentum::low(Momentum::pack(buffer, 0.0f));
    return magnitude(buffer) >= INFINITE ? INFINITE : 0u;
  }

  __device__ __forceinline__ float at(int i, float& buffer) const {
    const bool wanted = memory.inside(i);
    const float g = gradient.load<Gradient>(memory.row + i, memory.column, wanted);
    buffer = 0.0f;
    if (!optimizer) return g;
    buffer = next_momentum(group, g, momentum.load<Momentum>(memory.row + i, memory.column, wanted));
    return update_direction(group, g, buffer);
  }
};

// Reads gradient and momentum; M goes to the workspace, its largest magnitude and the sum of its squares (divided
// by the power of two below that magnitude) to the partial sums. Nothing else is written: the tile may not be finite.
template <class Kernel>
HIMUON_DEVICE void scan(const StreamedLaunch& launch) {
  __shared__ float words[PATCH_THREADS / 32][EDGE][EDGE + 1];
  each_item<Kernel, &StreamedTile::patch>(launch, 0u, [&](const StreamedWork<Kernel>& work, u32 item) {
    const Patch<Kernel> patch(work, item);
    const PatchInMemory<Kernel> memory(launch, patch);
    const Direction<Kernel> direction(launch, memory);
    float values[EDGE];
    u32 top = 0u;
#pragma unroll
    for (int i = 0; i < EDGE; i++) {
      float buffer;
      float m = direction.at(i, buffer);
      if (Kernel::REFERENCE) m = Bf16::low(Bf16::pack(m, 0.0f));
      top = larger(top, larger(magnitude(m), direction.damage(buffer)));
      values[i] = m;
    }
    const float largest = largest_over_block(float_of(smaller(top, INFINITE)));
    const float down = reciprocal_of_power(power_below(bits_of(largest)));
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < EDGE; i++) {
      const float scaled = values[i] * down;
      sum = __fmaf_rn(scaled, scaled, sum);
    }
    sum = sum_over_block(sum);
    if (threadIdx.x == 0) work.partial_sums()[item] = {largest, sum};
    if (memory.flipped) patch.transpose(values, words[threadIdx.x >> 5]);
    patch.template store<typename Kernel::Exact>(work.exact(0), values);
  });
}

// Adds up the partial sums of a tile: one block.
template <class Kernel>
struct Decision {
  const StreamedWork<Kernel>& work;

  template <class Term>
  __device__ __forceinline__ float sum(u32 count, Term term) const {
    float value = 0.0f;
    for (u32 i = threadIdx.x; i < count; i += PATCH_THREADS) value += term(work.partial_sums()[i]);
    return sum_over_block(value);
  }

  // After `scan`: the norm.
  __device__ __forceinline__ void norm() const {
    float largest = 0.0f;
    for (u32 i = threadIdx.x; i < work.patches(); i += PATCH_THREADS) {
      const float own = work.partial_sums()[i].first;
      largest = own > largest ? own : largest;
    }
    largest = largest_over_block(largest);
    const bool finite = bits_of(largest) < INFINITE;
    const float power = power_below(bits_of(largest)), down = reciprocal_of_power(power);
    const float square = sum(work.patches(), [&](const PartialSums& part) {
      const float ratio = power_below(bits_of(part.first)) * down;
      return finite ? ratio * ratio * part.second : 0.0f;
    });
    if (threadIdx.x != 0) return;
    StreamedTile& entry = work.entry;
    entry.root = square_root(square);
    entry.power = power;
    entry.nu_squared = 1.0f;
    entry.inner_product = 0.0f;
    entry.mapped_norm_squared = 0.0f;
    entry.state = finite ? 0u : STATE_NON_FINITE;
    if (Kernel::CRITERION == CRITERION_NORM && finite && !(entry.root * entry.power >= Kernel::threshold()))
      entry.state = STATE_UNMAPPED | STATE_UNORTHOGONALISED;
  }

  // After the first Gram matrix: its norm.
  __device__ __forceinline__ void gram() const {
    const float square = sum(work.triangle(), [](const PartialSums& part) { return part.first; });
    if (threadIdx.x != 0) return;
    StreamedTile& entry = work.entry;
    if (Kernel::RESCALE) entry.nu_squared = square_root(square);
    if (Kernel::CRITERION == CRITERION_EFFECTIVE_RANK) {
      const float threshold = Kernel::threshold();  // a zero tile has rank 0
      if (square > 0.0f ? square * float(work.rows) * threshold > 1.0f : threshold > 0.0f)
        entry.state |= STATE_UNMAPPED | STATE_UNORTHOGONALISED;
    }
  }

  // After `measure`: <X, O> and ||O||^2.
  __device__ __forceinline__ void maps() const {
    const float inner = sum(work.patches(), [](const PartialSums& part) { return part.first; });
    const float squares = sum(work.patches(), [](const PartialSums& part) { return part.second; });
    if (threadIdx.x != 0) return;
    StreamedTile& entry = work.entry;
    const float factor = map_factor();
    entry.inner_product = entry.root > 0.0f ? factor * inner / entry.root : 0.0f;
    entry.mapped_norm_squared = factor * factor * squares;
    if (Kernel::CRITERION == CRITERION_NUCLEAR_RANK &&
        !(entry.inner_product * entry.inner_product >= Kernel::threshold() * float(work.rows)))
      entry.state |= STATE_UNORTHOGONALISED;
  }

  // What the iterated matrix is to be multiplied by: nu^p where X was divided by nu.
  __device__ __forceinline__ float map_factor() const {
    const float square = work.entry.nu_squared;
    if (!Kernel::RESCALE) return 1.0f;
    return square > 0.0f ? powf(square_root(square), Kernel::POWER) : 0.0f;
  }
};

static constexpr u32 DECIDE_NORM = 0u, DECIDE_GRAM = 1u, DECIDE_MAPS = 2u;

template <class Kernel>
HIMUON_DEVICE void decide(const StreamedLaunch& launch) {
#pragma unroll 1
  for (u32 index = blockIdx.x; index < launch.tile_count; index += gridDim.x) {
    const StreamedWork<Kernel> work(launch, index);
    const Decision<Kernel> decision{work};
    if (launch.turn == DECIDE_NORM) {
      decision.norm();
    } else if (work.entry.state == 0u) {
      if (launch.turn == DECIDE_GRAM) decision.gram();
      if (launch.turn == DECIDE_MAPS) decision.maps();
    }
  }
}

// X = M / ||M||, and the operands of the first products.
template <class Kernel>
HIMUON_DEVICE void normalise(const StreamedLaunch& launch) {
  using Exact = typename Kernel::Exact;
  each_item<Kernel, &StreamedTile::patch>(
      launch, STATE_NON_FINITE | STATE_UNMAPPED, [&](const StreamedWork<Kernel>& work, u32 item) {
        const Patch<Kernel> patch(work, item);
        float values[EDGE];
        patch.template load<Exact>(work.exact(0), values);
        const float down = reciprocal_of_power(work.entry.power), root = work.entry.root;
        const float divisor = Kernel::REFERENCE ? root + 1e-7f * down : root;
        const float inverse = divisor > 0.0f ? 1.0f / divisor : 0.0f;
#pragma unroll
        for (int i = 0; i < EDGE; i++) values[i] = values[i] * down * inverse;
        patch.template store<Exact>(work.exact(0), values);
        if (Kernel::SEPARATE && Kernel::OPERANDS > 0) patch.store_operand(work.operands(0), values);
        if (Kernel::RECURRENCE == RECURRENCE_COUPLED) {  // Z and Y both start as X
          patch.template store<F32>(work.masters(1), values);
          patch.store_operand(work.operands(2), values);
        }
      });
}

// The iterated matrix after the last step.
template <class Kernel>
HIMUON_DEVICE void load_map(const Patch<Kernel>& patch, float (&values)[EDGE]) {
  if constexpr (Kernel::RECURRENCE == RECURRENCE_FITTED)
    patch.template load<F32>(patch.work.masters(1), values);
  else
    patch.template load<typename Kernel::Exact>(patch.work.exact(Kernel::STEPS & 1), values);
}

// Partial sums of <M, O>, M divided by the power of its norm, and ||O||^2.
template <class Kernel>
HIMUON_DEVICE void measure(const StreamedLaunch& launch) {
  __shared__ float words[PATCH_THREADS / 32][EDGE][EDGE + 1];
  each_item<Kernel, &StreamedTile::patch>(
      launch, STATE_NON_FINITE | STATE_UNMAPPED, [&](const StreamedWork<Kernel>& work, u32 item) {
        const Patch<Kernel> patch(work, item);
        const PatchInMemory<Kernel> memory(launch, patch);
        const Direction<Kernel> direction(launch, memory);
        float values[EDGE];
        load_map(patch, values);
        if (memory.flipped) patch.transpose(values, words[threadIdx.x >> 5]);
        const float down = reciprocal_of_power(work.entry.power);
        float inner = 0.0f, squares = 0.0f;
#pragma unroll
        for (int i = 0; i < EDGE; i++) {
          float buffer;
          inner = __fmaf_rn(direction.at(i, buffer) * down, values[i], inner);
          squares = __fmaf_rn(values[i], values[i], squares);
        }
        inner = sum_over_block(inner);
        squares = sum_over_block(squares);
        if (threadIdx.x == 0) work.partial_sums()[item] = {inner, squares};
      });
}

HIMUON_DEVICE void report_tile(const StreamedLaunch& launch, const StreamedTile& entry, u32 tile) {
  const bool finite = (entry.state & STATE_NON_FINITE) == 0u, mapped = (entry.state & STATE_UNORTHOGONALISED) == 0u;
  if (launch.counters != nullptr && !finite) add_to_counter(launch.counters + COUNTER_NON_FINITE, 1u);
  if (launch.counters != nullptr && !mapped) add_to_counter(launch.counters + COUNTER_UNORTHOGONALISED, 1u);
  if (launch.reports == nullptr) return;
  launch.reports[tile] = {finite ? entry.root * entry.power : 0.0f, entry.inner_product, entry.mapped_norm_squared,
                          (finite ? 0u : TILE_NON_FINITE) | (mapped ? 0u : TILE_UNORTHOGONALISED)};
}

// Momentum, and the weight or, where the norm of the whole matrix sets the scale, the map. Reports and counts.
template <class Kernel>
HIMUON_DEVICE void finish(const StreamedLaunch& launch) {
  __shared__ float words[PATCH_THREADS / 32][EDGE][EDGE + 1];
  using Weight = typename Kernel::Weight;
  each_item<Kernel, &StreamedTile::patch>(launch, 0u, [&](const StreamedWork<Kernel>& work, u32 item) {
    const StreamedTile& entry = work.entry;
    if (item == 0u && threadIdx.x == 0) report_tile(launch, entry, work.tile);
    if (entry.state & STATE_NON_FINITE) return;
    const Patch<Kernel> patch(work, item);
    const PatchInMemory<Kernel> memory(launch, patch);
    const Direction<Kernel> direction(launch, memory);
    const bool mapped = (entry.state & STATE_UNORTHOGONALISED) == 0u;
    float values[EDGE];
    if (mapped) {
      load_map(patch, values);
      if (memory.flipped) patch.transpose(values, words[threadIdx.x >> 5]);
    }
    const bool optimizer = direction.optimizer;
    const Group& group = direction.group;
    float scale = 1.0f;
    if (optimizer && !Kernel::MATRIX_NORMALISED)
      scale = tile_scale(group, memory.place, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
    // What stands in the place of the map: M itself, unscaled, or X with the RMS of a mapped tile.
    const bool bare = !mapped && Kernel::OTHERWISE == OTHERWISE_MOMENTUM;
    const float down = bare ? 1.0f : reciprocal_of_power(entry.power);
    const float inverse = bare ? 1.0f : entry.root > 0.0f ? 1.0f / entry.root : 0.0f;
    const float factor = mapped ? scale * Decision<Kernel>{work}.map_factor()
                         : bare ? 1.0f
                                : scale * square_root(float(work.rows));
    const float keep = optimizer ? 1.0f - group.learning_rate * group.weight_decay : 0.0f;
    const float rate = optimizer ? -group.learning_rate * factor : factor;
    const Plane weight = memory.weight(), momentum = memory.momentum(), target = memory.mapped();  //: no master weights
    const MasterPlane weight = memory.masters();  //: master weights
    const Plane momentum = memory.momentum(), target = memory.mapped();  //: master weights
#pragma unroll
    for (int i = 0; i < EDGE; i++) {
      const bool wanted = memory.inside(i);
      const u32 row = memory.row + i, column = memory.column;
      float buffer;
      const float m = direction.at(i, buffer);
      const float value = mapped ? values[i] : m * down * inverse;
      if (Kernel::MATRIX_NORMALISED && optimizer) {
        target.store<F32>(row, column, factor * value, wanted);
      } else {
        const float old = optimizer ? weight.load<Weight>(row, column, wanted) : 0.0f;
        weight.store<Weight>(row, column, __fmaf_rn(keep, old, rate * value), wanted);
      }
      if (optimizer) momentum.store<typename Kernel::Momentum>(row, column, buffer, wanted);
    }
  });
}

// p > 0, when all tiles have been reported: the factor that sets the RMS of each matrix's update.
template <class Kernel>
HIMUON_DEVICE void matrix_factors(const StreamedLaunch& launch) {
#pragma unroll 1
  for (u32 matrix = blockIdx.x; matrix < launch.matrix_count; matrix += gridDim.x) {
    const u32 tile_end = matrix + 1u < launch.matrix_count ? launch.matrices[matrix + 1u].first_tile
                                                           : launch.first_tile + launch.tile_count;
    matrix_factor<Kernel>(launch.matrices[matrix], tile_end, launch.groups, launch.reports);
  }
}

// p > 0, when every matrix has its factor: W <- (1 - lr wd) W - lr factor (f_t / max f)^p Y_t.
template <class Kernel>
HIMUON_DEVICE void update(const StreamedLaunch& launch) {
  using Weight = typename Kernel::Weight;
  each_item<Kernel, &StreamedTile::patch>(launch, 0u, [&](const StreamedWork<Kernel>& work, u32 item) {
    const TileReport report = launch.reports[work.tile];
    if (report.flags & TILE_NON_FINITE) return;
    const Patch<Kernel> patch(work, item);
    const PatchInMemory<Kernel> memory(launch, patch);
    const Matrix& matrix = memory.place.matrix;
    const Group group = launch.groups[matrix.group];
    const float rate = -group.learning_rate * tile_factor<Kernel>(matrix, report);
    const float keep = 1.0f - group.learning_rate * group.weight_decay;
    const Plane weight = memory.weight(), map = memory.mapped();  //: no master weights
    const MasterPlane weight = memory.masters();  //: master weights
    const Plane map = memory.mapped();  //: master weights
#pragma unroll
    for (int i = 0; i < EDGE; i++) {
      const bool wanted = memory.inside(i);
      const u32 row = memory.row + i, column = memory.column;
      const float old = weight.load<Weight>(row, column, wanted), value = map.load<F32>(row, column, wanted);
      weight.store<Weight>(row, column, __fmaf_rn(keep, old, rate * value), wanted);
    }
  });
}

}  // namespace himuon
