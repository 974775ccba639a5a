#pragma once
// The whole optimizer step of one tile in one go: gradient, momentum and weight are read once, momentum
// and weight written once, and everything between stays on chip.
#include "criterion.cuh"
#include "power_map.cuh"
#include "prologue.cuh"

namespace himuon {

template <class Kernel, bool OPTIMIZER>
struct ResidentStep {
  using Site = Resident<Kernel>;
  using Access = Fragment<Kernel>;
  using Start = Prologue<Kernel>;
  using Rows = typename Start::Rows;
  using Gradient = typename Kernel::Gradient;
  using Momentum = typename Kernel::Momentum;
  using Weight = typename Kernel::Weight;
  static constexpr int QUADS = Access::QUADS;
  static constexpr int BATCH = Access::BATCH;
  static constexpr bool STAGED = Kernel::STAGE_MOMENTUM;

  Site site;
  const Launch& launch;
  u32 tile;
  u32 matrix_index;
  Place place;
  Window window;
  Group group;
  u64 gradient, momentum, weight;  // corners of the tile
  u64 remainder;  //: master weights

  __device__ __forceinline__ ResidentStep(const Site& site, const Launch& launch, u32 tile)
      : site(site), launch(launch), tile(tile),
        matrix_index(matrix_of(launch.matrices, launch.matrix_count, tile)) {
    open();
  }

  // Reads the tables. Done again after the map, so that nothing of it occupies registers in between.
  __device__ __forceinline__ void open() {
    tile = forget(tile);
    matrix_index = forget(matrix_index);
    place = place_of(launch.matrices[matrix_index], tile, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
    const Matrix& matrix = place.matrix;
    bool aligned = Access::aligned(matrix.gradient, matrix.gradient_leading, Gradient::BYTES) &&
                   Access::aligned(matrix.weight, matrix.weight_leading, Weight::BYTES);
    if (OPTIMIZER) aligned = aligned && Access::aligned(matrix.momentum, matrix.columns, Momentum::BYTES);
    if (OPTIMIZER && Kernel::MATRIX_NORMALISED)
      aligned = aligned && Access::aligned(reinterpret_cast<u64>(matrix.mapped), matrix.columns, 4);
    if (OPTIMIZER) aligned = aligned && Access::aligned(matrix.remainder, matrix.columns, 2);  //: master weights
    window = Access::window(place, aligned);
    if (OPTIMIZER) group = launch.groups[matrix.group];
    gradient = corner(matrix.gradient, matrix.gradient_leading, Gradient::BYTES);
    weight = corner(matrix.weight, matrix.weight_leading, Weight::BYTES);
    if (OPTIMIZER) momentum = corner(matrix.momentum, matrix.columns, Momentum::BYTES);
    if (OPTIMIZER) remainder = corner(matrix.remainder, matrix.columns, 2);  //: master weights
  }

  __device__ __forceinline__ u64 corner(u64 pointer, u32 leading, u32 bytes) const {
    return pointer + (u64(place.row) * leading + place.column) * bytes;
  }
  __device__ __forceinline__ bool speaks() const { return site.warp == 0 && site.lane == 0; }

  // Where quad q of this lane waits for the check, private to the lane.
  __device__ __forceinline__ u32 staged(int q) const {
    return site.shared + (u32(q) * (32u * Site::WARPS) + site.warp * 32u + site.lane) * (4u * Momentum::BYTES);
  }

  // Reads the tile into x; returns the largest magnitude as bits, at least infinity if anything is not
  // finite. The new momentum stays on chip until the whole tile is known to be finite.
  __device__ __forceinline__ u32 read(Rows& x, Quad<Momentum> (&buffers)[STAGED ? 1 : QUADS]) const {
    u32 largest = 0, worst = 0;
#pragma unroll
    for (int first = 0; first < QUADS; first += BATCH) {
      Quad<Gradient> gradients[BATCH];
      Quad<Momentum> batch[BATCH];
      Access::template load<Gradient>(site, window, gradient, place.matrix.gradient_leading, first, gradients);
      if (OPTIMIZER)
        Access::template load<Momentum>(site, window, momentum, place.matrix.columns, first, batch);
#pragma unroll
      for (int i = 0; i < BATCH; i++) {
        float m[4];
        if (OPTIMIZER) {
          Start::momentum_quad(group, gradients[i], batch[i], m);
          float b[4];
          decode(batch[i], b);
#pragma unroll
          for (int e = 0; e < 4; e++) worst = larger(worst, magnitude(b[e]));
          if constexpr (STAGED)
            store_shared_quad(staged(first + i), batch[i]);
          else
            buffers[first + i] = batch[i];
        } else {
          decode(gradients[i], m);
        }
        if (Kernel::REFERENCE) Start::round_to_bf16(m);
#pragma unroll
        for (int e = 0; e < 4; e++) {
          largest = larger(largest, magnitude(m[e]));
          Access::at(x, first + i, e) = m[e];
        }
      }
    }
    return site.maximum(worst >= INFINITE ? worst : largest, 0);
  }

  __device__ __forceinline__ void write_momentum(const Quad<Momentum> (&buffers)[STAGED ? 1 : QUADS]) const {
#pragma unroll
    for (int first = 0; first < QUADS; first += BATCH)
      Access::template store<Momentum, BATCH>(
          site, window, momentum, place.matrix.columns, first, [&](int i) {
            Quad<Momentum> quad;
            if constexpr (STAGED)
              quad = load_shared_quad<Momentum>(staged(first + i));
            else
              quad = buffers[first + i];
            return quad;
          });
  }

  // Calls use(q, m) with the numbers of the tile's M, read again.
  template <class Use>
  __device__ __forceinline__ void read_again(Use use) const {
#pragma unroll
    for (int first = 0; first < QUADS; first += BATCH) {
      Quad<Gradient> gradients[BATCH];
      Quad<Momentum> batch[BATCH];
      Access::template load<Gradient>(site, window, gradient, place.matrix.gradient_leading, first, gradients);
      if (OPTIMIZER)
        Access::template load<Momentum>(site, window, momentum, place.matrix.columns, first, batch);
#pragma unroll
      for (int i = 0; i < BATCH; i++) {
        float m[4];
        if (OPTIMIZER)
          Start::update_quad(group, gradients[i], batch[i], m);
        else
          decode(gradients[i], m);
        use(first + i, m);
      }
    }
  }

  // <X, O> with O = x and X = M / norm.
  __device__ __forceinline__ float inner_product(Rows& x, const Norm& norm, int use) const {
    const float down = reciprocal_of_power(norm.power);
    float sum = 0.0f;
    read_again([&](int q, const float (&m)[4]) {
#pragma unroll
      for (int e = 0; e < 4; e++) sum = __fmaf_rn(m[e] * down, Access::at(x, q, e), sum);
    });
    sum = site.sum(sum, use);
    return norm.root > 0.0f ? sum / norm.root : 0.0f;
  }

  __device__ __forceinline__ float squares(Rows& x, int use) const {
    float sum = 0.0f;
#pragma unroll
    for (int q = 0; q < QUADS; q++)
#pragma unroll
      for (int e = 0; e < 4; e++) sum = __fmaf_rn(Access::at(x, q, e), Access::at(x, q, e), sum);
    return site.sum(sum, use);
  }

  // W <- (1 - lr wd) W - lr factor x, or x itself where there is no optimizer.
  __device__ __forceinline__ void write(Rows& x, float factor) const {
    const float keep = OPTIMIZER ? 1.0f - group.learning_rate * group.weight_decay : 0.0f;
    const float rate = OPTIMIZER ? -group.learning_rate * factor : factor;
#pragma unroll
    for (int first = 0; first < QUADS; first += BATCH) {
      Quad<Weight> weights[BATCH];
      Quad<Bf16> remainders[BATCH];  //: master weights
      if (OPTIMIZER)
        Access::template load<Weight>(site, window, weight, place.matrix.weight_leading, first, weights);
      if (OPTIMIZER)  //: master weights
        Access::template load<Bf16>(site, window, remainder, place.matrix.columns, first, remainders);  //: master weights
#pragma unroll
      for (int i = 0; i < BATCH; i++) {
        float w[4];
        if (OPTIMIZER) decode(weights[i], w);
        if (OPTIMIZER) join_masters(weights[i], remainders[i], w);  //: master weights
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const float change = rate * Access::at(x, first + i, e);
          w[e] = OPTIMIZER ? __fmaf_rn(keep, w[e], change) : change;
        }
        weights[i] = encode<Weight>(w);
        if (OPTIMIZER) split_masters(w, weights[i], remainders[i]);  //: master weights
      }
      if (OPTIMIZER)  //: master weights
        Access::template store<Bf16, BATCH>(site, window, remainder, place.matrix.columns, first,  //: master weights
                                            [&](int i) { return remainders[i]; });  //: master weights
      Access::template store<Weight, BATCH>(site, window, weight, place.matrix.weight_leading, first,
                                            [&](int i) { return weights[i]; });
    }
  }

  // p > 0: the map waits for the norm of the whole matrix.
  __device__ __forceinline__ void write_map(Rows& x, float factor) const {
    const u64 mapped = corner(reinterpret_cast<u64>(place.matrix.mapped), place.matrix.columns, 4);
#pragma unroll
    for (int first = 0; first < QUADS; first += BATCH)
      Access::template store<F32, BATCH>(site, window, mapped, place.matrix.columns, first, [&](int i) {
        float value[4];
#pragma unroll
        for (int e = 0; e < 4; e++) value[e] = factor * Access::at(x, first + i, e);
        return encode<F32>(value);
      });
  }

  __device__ __forceinline__ void count(u32 counter) const {
    if (launch.counters != nullptr && speaks()) add_to_counter(launch.counters + counter, 1u);
  }

  __device__ __forceinline__ void report(float norm, float inner, float squared, u32 flags) const {
    if (launch.reports == nullptr || !speaks()) return;
    TileReport entry;
    entry.norm = norm;
    entry.inner_product = inner;
    entry.mapped_norm_squared = squared;
    entry.flags = flags;
    launch.reports[tile] = entry;
  }

  __device__ __forceinline__ void run() {
    Rows x;
    Quad<Momentum> buffers[STAGED ? 1 : QUADS];
    const u32 largest = read(x, buffers);
    if (largest >= INFINITE) {
      count(COUNTER_NON_FINITE);
      report(0.0f, 0.0f, 0.0f, TILE_NON_FINITE);
      return;
    }
    if (OPTIMIZER) write_momentum(buffers);
    const Norm norm = Start::normalise(site, x, largest, 1);
    if (Kernel::REFERENCE) Start::round_rows(x);

    bool mapped = true;
    float factor = 1.0f;
    if (Kernel::CRITERION == CRITERION_NORM) mapped = norm.value() >= Kernel::threshold();
    if (mapped) {
      const u32 rank = Kernel::CRITERION == CRITERION_EFFECTIVE_RANK ? smaller(place.rows, place.columns) : 0u;
      mapped = map_rows<Kernel>(site, x, rank, factor);
    }
    open();
    float inner = 0.0f, squared = 0.0f;
    if (mapped && (launch.reports != nullptr || Kernel::CRITERION == CRITERION_NUCLEAR_RANK)) {
      inner = factor * inner_product(x, norm, 2);
      squared = factor * factor * squares(x, 3);
    }
    bool orthogonalised = mapped;
    if (Kernel::CRITERION == CRITERION_NUCLEAR_RANK && mapped)
      orthogonalised = inner * inner >= Kernel::threshold() * float(smaller(place.rows, place.columns));

    if constexpr (OPTIMIZER && Kernel::MATRIX_NORMALISED) {
      write_map(x, factor);
      report(norm.value(), inner, squared, 0u);
      return;
    }
    if (OPTIMIZER) factor *= tile_scale(group, place, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
    if (!orthogonalised) factor = instead(x, mapped, norm);
    write(x, factor);
    if (!orthogonalised) count(COUNTER_UNORTHOGONALISED);
    report(norm.value(), inner, squared, orthogonalised ? 0u : TILE_UNORTHOGONALISED);
  }

  // What stands in the place of the map: M itself, unscaled, or X with the RMS of a mapped tile. Leaves
  // it in x and returns its factor.
  __device__ __forceinline__ float instead(Rows& x, bool mapped, const Norm& norm) const {
    if (mapped || Kernel::REFERENCE) {  // x is no longer M / norm
      read_again([&](int q, const float (&m)[4]) {
#pragma unroll
        for (int e = 0; e < 4; e++) Access::at(x, q, e) = m[e];
      });
      if (Kernel::OTHERWISE == OTHERWISE_MOMENTUM) return 1.0f;
      const float down = reciprocal_of_power(norm.power);
      const float inverse = norm.root > 0.0f ? 1.0f / norm.root : 0.0f;
      each(x, down, inverse);
    } else if (Kernel::OTHERWISE == OTHERWISE_MOMENTUM) {
      each(x, norm.root, norm.power);
      return 1.0f;
    }
    const float scale = OPTIMIZER ? tile_scale(group, place, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS) : 1.0f;
    return scale * square_root(float(smaller(place.rows, place.columns)));
  }

  static __device__ __forceinline__ void each(Rows& x, float first, float second) {
#pragma unroll
    for (int q = 0; q < QUADS; q++)
#pragma unroll
      for (int e = 0; e < 4; e++) Access::at(x, q, e) = Access::at(x, q, e) * first * second;
  }
};

// The body of both entry points.
template <class Kernel, bool OPTIMIZER>
HIMUON_DEVICE void run_tiles(const Launch& launch, u32 shared_base) {
  const auto site = Resident<Kernel>::at(shared_base);
  const u32 slot = Resident<Kernel>::WARPS == 1 ? threadIdx.x >> 5 : 0u;
  const u32 tile = blockIdx.x * Resident<Kernel>::TILES_PER_BLOCK + slot;
  if (tile >= launch.tile_count) return;
  ResidentStep<Kernel, OPTIMIZER> step(site, launch, tile);
  step.run();
}

}  // namespace himuon
