#pragma once
// The optimizer step of one tile around the map.
#include "launch.cuh"
#include "tile.cuh"

namespace himuon {

// One tile of a matrix with its group. Elements are numbered as the workspace holds them.
struct Tile {
  const Matrix& matrix;
  const Group& group;
  Place place;
  bool transposed;
  u32 rows;
  u32 columns;

  __device__ __forceinline__ Tile(const Matrix* matrices, const Group* groups, const Place& place)
      : matrix(matrices[place.matrix]),
        group(groups[matrices[place.matrix].group]),
        place(place),
        transposed(place.height > place.width),
        rows(smaller(place.height, place.width)),
        columns(larger(place.height, place.width)) {}

  __device__ __forceinline__ u64 size() const { return u64(rows) * columns; }
  __device__ __forceinline__ u32 row(u64 index) const {
    return place.row + u32(transposed ? index % columns : index / columns);
  }
  __device__ __forceinline__ u32 column(u64 index) const {
    return place.column + u32(transposed ? index / columns : index % columns);
  }
  __device__ __forceinline__ u64 in(u64 index, u32 leading) const { return u64(row(index)) * leading + column(index); }

  __device__ __forceinline__ float gradient(u64 index) const {
    using Element = Kernel::Weight;
    return Element::load(static_cast<const typename Element::Word*>(matrix.gradient)[in(index, matrix.gradient_leading)]);
  }
  __device__ __forceinline__ typename Kernel::Momentum::Word& momentum(u64 index) const {
    return static_cast<typename Kernel::Momentum::Word*>(matrix.momentum)[in(index, matrix.columns)];
  }
  __device__ __forceinline__ typename Kernel::Weight::Word& weight(u64 index) const {
    return static_cast<typename Kernel::Weight::Word*>(matrix.weight)[in(index, matrix.weight_leading)];
  }
  __device__ __forceinline__ float& mapped(u64 index) const { return matrix.mapped[in(index, matrix.columns)]; }

  // buf <- mu buf + c g
  __device__ __forceinline__ float buffer(u64 index) const {
    return fmaf(group.mu, Kernel::Momentum::load(momentum(index)), group.c * gradient(index));
  }
  // m <- alpha g + beta buf
  __device__ __forceinline__ float update(u64 index) const {
    return fmaf(group.alpha, gradient(index), group.beta * buffer(index));
  }
  __device__ __forceinline__ bool usable(u64 index) const {
    return finite(gradient(index)) && finite(Kernel::Momentum::load(momentum(index))) && finite(update(index));
  }

  __device__ __forceinline__ void keep_momentum() const {
    each(size(), [&](u64 i) { momentum(i) = Kernel::Momentum::store(buffer(i)); });
  }
  // W <- (1 - lr wd) W - lr u(i)
  template <class Update>
  __device__ __forceinline__ void subtract(Update u) const {
    const float decay = 1.0f - group.learning_rate * group.weight_decay;
    each(size(), [&](u64 i) {
      const float old = Kernel::Weight::load(weight(i));
      weight(i) = Kernel::Weight::store(fmaf(-group.learning_rate, u(i), decay * old));
    });
  }
};

// Puts X = M / ||M||_F into the workspace and returns ||M||_F; the norm is scaled by the largest element, so
// that it neither overflows nor underflows. A NaN is returned for a tile that is not finite.
HIMUON_DEVICE float normalise(const Tile& tile, Work& work) {
  float bad = 0.0f, largest = 0.0f;
  for (u64 i = threadIdx.x; i < tile.size(); i += Kernel::THREADS) {
    const float value = stored(tile.update(i));
    work.x[i] = value;
    if (!tile.usable(i)) bad = 1.0f;
    if (fabsf(value) > largest) largest = fabsf(value);
  }
  if (over_block<Largest>(bad) > 0.0f) return __int_as_float(0x7fffffff);
  largest = over_block<Largest>(largest);
  if (largest == 0.0f) return 0.0f;
  const float inside = sqrtf(sum(tile.size(), [&](u64 i) {
    const float value = work.x[i] / largest;
    return value * value;
  }));
  const float norm = largest * inside;
  if (Kernel::REFERENCE) {
    each(tile.size(), [&](u64 i) { work.x[i] = stored(work.x[i] / (norm + 1e-7f)); });
  } else {
    each(tile.size(), [&](u64 i) { work.x[i] = work.x[i] / largest / inside; });
  }
  return norm;
}

// 1 / (r ||X X^T||_F^2) in (0, 1].
HIMUON_DEVICE float effective_rank(Work& work) {
  gram(work, work.x, work.gram);
  const float square = sum(work.square(), [&](u64 i) { return work.gram[i] * work.gram[i]; });
  return square > 0.0f ? 1.0f / (float(work.rows) * square) : 0.0f;
}

}  // namespace himuon
