#pragma once
// The whole optimizer step of a tile that a coarse part couples: what that captures of M is subtracted where the tile is read, and
// the coarse part added where it is written. What is left of M never leaves the chip.
#include "resident_product.cuh"
#include "resident_step.cuh"

namespace himuon {

template <class Kernel>
struct CoupledStep : ResidentStep<Kernel, true> {
  using Base = ResidentStep<Kernel, true>;
  using Product = TileProduct<Kernel>;
  using typename Base::Access;
  using typename Base::Gradient;
  using typename Base::Momentum;
  using typename Base::Rows;
  using typename Base::Start;
  static constexpr bool STAGED = Base::STAGED;
  static constexpr int QUADS = Base::QUADS;
  // X is there before anything is read, which leaves fewer registers for what is in flight.
  static constexpr int BATCH = Base::BATCH % 2 == 0 ? Base::BATCH / 2 : Base::BATCH;
  using Buffers = Quad<Momentum>[STAGED ? 1 : QUADS];

  const Coupled* coupled;  // in the order of the matrices

  __device__ __forceinline__ CoupledStep(const typename Base::Site& site, const Launch& launch, const Coupled* coupled, u32 tile)
      : Base(site, launch, tile), coupled(coupled) {}

  __device__ __forceinline__ const Coupled& entry() const { return coupled[this->matrix_index]; }
  // Nothing is left to be mapped.
  __device__ __forceinline__ bool alone() const { return is_captured(entry()) && (entry().flags & COUPLED_ALONE) != 0u; }

  // Calls use(x, l, r) for each number of the tile and each term l r of left right^T there.
  template <class Use>
  __device__ __forceinline__ void each_term(Rows& x, const float* left, Use use) const {
    const Coupled& matrix = entry();
    const float* at_rows = left + u64(this->place.row) * matrix.stride;
    const float* at_columns = matrix.right + u64(this->place.column) * matrix.stride;
    const bool flipped = this->window.flipped != 0u;
    const Product product{this->site, flipped ? at_columns : at_rows, flipped ? at_rows : at_columns, this->window, matrix.stride};
    product.each_term(x, use);
  }

  // x += factor left right^T
  __device__ __forceinline__ void add_product(Rows& x, const float* left, float factor) const {
    each_term(x, left, [factor](float& value, float l, float r) { value = __fmaf_rn(factor * l, r, value); });
  }

  // Reads M; x, which holds what is captured of it, becomes what is left. Returns the largest magnitude there as bits, at least
  // infinity if anything is not finite, and that of M in `largest_of_m`.
  __device__ __forceinline__ u32 read_remainder(Rows& x, Buffers& buffers, u32& largest_of_m) const {
    const float decay = entry().captured_decay;
    const bool nothing = alone();
    u32 largest = 0, worst = 0;
    largest_of_m = 0;
#pragma unroll
    for (int first = 0; first < QUADS; first += BATCH) {
      Quad<Gradient> gradients[BATCH];
      Quad<Momentum> batch[BATCH];
      Access::template load<Gradient>(this->site, this->window, this->gradient, this->place.matrix.gradient_leading, first,
                                      gradients);
      Access::template load<Momentum>(this->site, this->window, this->momentum, this->place.matrix.columns, first, batch);
#pragma unroll
      for (int i = 0; i < BATCH; i++) {
        float m[4], b[4];
        Start::momentum_quad(this->group, gradients[i], batch[i], m);
        decode(batch[i], b);
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const float held = Access::at(x, first + i, e);
          worst = larger(worst, magnitude(b[e]));
          largest_of_m = larger(largest_of_m, magnitude(m[e]));
          b[e] -= decay * held;
          // A number that is not finite stays so.
          m[e] = nothing ? m[e] - m[e] : m[e] - held;
        }
        batch[i] = encode<Momentum>(b);
        if constexpr (STAGED)
          store_shared_quad(this->staged(first + i), batch[i]);
        else
          buffers[first + i] = batch[i];
        if (Kernel::REFERENCE) Start::round_to_bf16(m);
#pragma unroll
        for (int e = 0; e < 4; e++) {
          largest = larger(largest, magnitude(m[e]));
          Access::at(x, first + i, e) = m[e];
        }
      }
    }
    return this->site.maximum(worst >= INFINITE ? worst : largest, 0);
  }

  // Whether what is left, of this norm, is rounding of M.
  __device__ __forceinline__ bool is_rounding(const Norm& norm, u32 largest_of_m) const {
    const float largest = float_of(this->site.maximum(largest_of_m, 4));
    const float limit =
        is_captured(entry()) ? REMAINDER * largest * square_root(float(this->place.rows) * float(this->place.columns)) : 0.0f;
    return norm.value() <= limit;
  }

  // <X, O> with O = x and X what was left of M, over its norm. The momentum in memory has lost its part of what was captured.
  __device__ __forceinline__ float inner_product_of_remainder(Rows& x, const Norm& norm) const {
    const float of_m = this->inner_product(x, norm, 2);
    if (!is_captured(entry()) || alone()) return of_m;
    const float down = reciprocal_of_power(norm.power) * (1.0f - this->group.beta * entry().captured_decay);
    float held = 0.0f;
    each_term(x, entry().captured, [&held, down](float& value, float l, float r) { held = __fmaf_rn(down * l * r, value, held); });
    held = this->site.sum(held, 5);
    return norm.root > 0.0f ? of_m - held / norm.root : 0.0f;
  }

  __device__ __forceinline__ void run() {
    Rows x;
#pragma unroll
    for (int m = 0; m < Product::ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < Product::COLUMN_BLOCKS; n++) clear(x[m][n]);
    if (is_captured(entry()) && !alone()) add_product(x, entry().captured, 1.0f);
    Buffers buffers;
    u32 largest_of_m;
    const u32 largest = read_remainder(x, buffers, largest_of_m);
    const bool first = this->tile == this->place.matrix.first_tile;
    if (first && entry().rank > 0u && entry().report->state == COARSE_NON_FINITE) this->count(COUNTER_UNCOUPLED);
    if (largest >= INFINITE) {
      this->count(COUNTER_NON_FINITE);
      this->report(0.0f, 0.0f, 0.0f, TILE_NON_FINITE);
      return;
    }
    this->write_momentum(buffers);
    const Norm norm = Start::normalise(this->site, x, largest, 1);
    if (Kernel::REFERENCE) Start::round_rows(x);
    const bool rounding = is_rounding(norm, largest_of_m);

    float factor = 1.0f;
    if (!alone()) map_rows<Kernel>(this->site, x, 0u, factor);
    this->open();
    float inner = 0.0f, squared = 0.0f;
    if (this->launch.reports != nullptr) {
      inner = factor * inner_product_of_remainder(x, norm);
      squared = factor * factor * this->squares(x, 3);
    }
    factor = rounding ? 0.0f : factor * tile_scale(this->group, this->place, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
    Product::each(x, [factor](float& value) { value = factor == 0.0f ? 0.0f : factor * value; });
    if (is_captured(entry())) add_product(x, entry().added, coarse_scale(this->group, entry()));
    this->write(x, 1.0f);
    this->report(norm.value(), inner, squared, 0u);
  }
};

// The body of the entry point.
template <class Kernel>
HIMUON_DEVICE void run_coupled_tiles(const Launch& launch, const Coupled* coupled, u32 shared_base) {
  const auto site = Resident<Kernel>::at(shared_base);
  const u32 slot = Resident<Kernel>::WARPS == 1 ? threadIdx.x >> 5 : 0u;
  const u32 tile = blockIdx.x * Resident<Kernel>::TILES_PER_BLOCK + slot;
  if (tile >= launch.tile_count) return;
  CoupledStep<Kernel> step(site, launch, coupled, tile);
  step.run();
}

}  // namespace himuon
