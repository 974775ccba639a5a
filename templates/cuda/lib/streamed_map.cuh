#pragma once
// The map of tiles in the workspace: A = X X^T; B = b A + c A^2; X <- a X + B X, and the recurrences in two matrices
// (arXiv 2606.13867). Symmetric products compute one triangle of blocks and write each block to both its places.
#include "streamed_patch.cuh"
#include "streamed_product.cuh"

namespace himuon {

static constexpr u32 LEFT_OUT = STATE_NON_FINITE | STATE_UNMAPPED;

// Block `item` of the lower triangle, row by row.
struct TrianglePlace {
  u32 row, column;
  HIMUON_DEVICE TrianglePlace of(u32 item) {
    u32 row = u32((square_root(8.0f * float(item) + 1.0f) - 1.0f) * 0.5f);
    while (row * (row + 1u) / 2u > item) row--;
    while ((row + 1u) * (row + 2u) / 2u <= item) row++;
    return {row, item - row * (row + 1u) / 2u};
  }
};

template <class Kernel>
struct StreamedMap {
  using Operand = typename Kernel::Operand;
  using Operation = Block<Operand>;
  using Work = StreamedWork<Kernel>;
  using Blocks = BlockInMemory<Operand>;

  const StreamedLaunch& launch;
  const Work& work;
  Product<Kernel>& product;

  __device__ __forceinline__ Panel wide(u8* base) const { return {base, work.rows, work.x_leading}; }
  __device__ __forceinline__ Panel square(u8* base) const { return {base, work.rows, work.gram_leading}; }
  __device__ __forceinline__ Blocks of(const Panel& panel) const {
    return {const_cast<u8*>(panel.base), panel.leading, panel.rows, product.lane};
  }

  // What the Gram matrix of this step is taken of.
  __device__ __forceinline__ u8* gram_source() const {
    const u32 step = launch.index;
    if (Kernel::RECURRENCE == RECURRENCE_FITTED) return work.operands(step == 0u ? 0u : 2u);
    if (Kernel::RECURRENCE == RECURRENCE_COUPLED) return work.operands(2u + (step * Kernel::COUPLED_M & 1u));
    return work.operands(step & 1u);
  }

  // A block of a symmetric matrix, and its mirror image.
  __device__ __forceinline__ void store_symmetric(const Blocks& to, const TrianglePlace& place, u32 row, u32 column,
                                                  const Operation& block) const {
    to.store(row, column, block);
    if (place.row != place.column) to.store(column, row, product.turned(block));
  }

  // A = X X^T. Without a second product a step, b A.
  __device__ __forceinline__ void gram(u32 item) {
    const auto place = TrianglePlace::of(item);
    const Panel x = wide(gram_source());
    product.template multiply<true>(x, place.row, x, place.column, work.x_leading);
    const Blocks to = of(square(work.grams(0)));
    constexpr bool MEASURED = Kernel::RESCALE || Kernel::CRITERION == CRITERION_EFFECTIVE_RANK;
    float squares = 0.0f;
    product.each_block(place.row, place.column, work.rows, work.gram_leading,
                       [&](const Accumulator& sums, u32 row, u32 column) {
                         if (MEASURED) squares += sum_of_squares(sums);
                         Operation block = pack<Operand>(sums);
                         if (Kernel::RECURRENCE == RECURRENCE_ODD && !Kernel::QUINTIC) {
                           Accumulator values = unpack<Operand>(block);
                           scale(values, Kernel::coefficient(launch.index, 1));
                           block = pack<Operand>(values);
                         }
                         store_symmetric(to, place, row, column, block);
                       });
    if (MEASURED && launch.index == 0u) {
      squares = product.sum_over_warps(squares);
      if (threadIdx.x == 0)
        work.partial_sums()[item] = {place.row != place.column ? 2.0f * squares : squares, 0.0f};
    }
  }

  HIMUON_DEVICE float sum_of_squares(const Accumulator& sums) {
    float sum = 0.0f;
#pragma unroll
    for (int c = 0; c < 2; c++)
#pragma unroll
      for (int i = 0; i < 4; i++) sum = __fmaf_rn(sums.value[c][i], sums.value[c][i], sum);
    return sum;
  }

  // B = b A + c A^2; A = A^T.
  __device__ __forceinline__ void square_gram(u32 item) {
    const auto place = TrianglePlace::of(item);
    const Panel gram = square(work.grams(0));
    product.template multiply<true>(gram, place.row, gram, place.column, work.gram_leading);
    const Blocks from = of(gram), to = of(square(work.grams(1)));
    const float b = Kernel::coefficient(launch.index, 1), c = Kernel::coefficient(launch.index, 2);
    product.each_block(place.row, place.column, work.rows, work.gram_leading,
                       [&](const Accumulator& sums, u32 row, u32 column) {
                         Accumulator values = unpack<Operand>(from.load(row, column));
                         combine(values, b, values, c, sums);
                         store_symmetric(to, place, row, column, pack<Operand>(values));
                       });
  }

  // result = alpha y + beta x
  HIMUON_DEVICE void combine(Accumulator& result, float alpha, const Accumulator& y, float beta, const Accumulator& x) {
#pragma unroll
    for (int c = 0; c < 2; c++)
#pragma unroll
      for (int i = 0; i < 4; i++) result.value[c][i] = __fmaf_rn(beta, x.value[c][i], alpha * y.value[c][i]);
  }

  // The block of the launch's product M R, M the Gram matrix or its polynomial, that is numbered `item`.
  template <class Store>
  __device__ __forceinline__ void multiply(u32 item, u8* right, Store store) {
    // Sixteen columns of blocks are worked through from top to bottom: what runs at the same time shares columns of a wide matrix, which
    // would else be read from memory once for every row of blocks or two.
    constexpr u32 AT_A_TIME = 16u;
    const u32 across = parts(work.x_leading, Kernel::BLOCK), height = parts(work.rows, Kernel::BLOCK);
    const u32 first = item / (AT_A_TIME * height) * AT_A_TIME, place = item - first * height;
    const u32 width = smaller(AT_A_TIME, across - first);
    const u32 down = place / width, over = first + place - down * width;
    const Panel left = square(work.grams(Kernel::QUINTIC ? 1u : 0u));
    product.template multiply<false>(left, down, wide(right), over, work.rows);
    product.each_block(down, over, work.rows, work.x_leading, store);
  }

  __device__ __forceinline__ bool last() const { return launch.index + 1u == u32(Kernel::STEPS); }

  // X <- a X + M X.
  __device__ __forceinline__ void odd(u32 item) {
    const u32 now = launch.index & 1u, next = now ^ 1u;
    const float a = Kernel::coefficient(launch.index, 0);
    const Blocks operands = of(wide(work.operands(next))), exact = of(wide(work.masters(0)));
    const Blocks before = of(wide(work.operands(now)));
    multiply(item, work.operands(now), [&](const Accumulator& sums, u32 row, u32 column) {
      // The published code rounds B X and the new X; without a copy in f32 the operands are exact.
      const Accumulator x = Kernel::SEPARATE ? exact.load_f32(row, column) : unpack<Operand>(before.load(row, column));
      Accumulator moved;
      combine(moved, a, x, 1.0f, Kernel::REFERENCE ? unpack<Operand>(pack<Operand>(sums)) : sums);
      if (Kernel::SEPARATE) exact.store_f32(row, column, moved);
      if (!Kernel::SEPARATE || !last()) operands.store(row, column, pack<Operand>(moved));
    });
  }

  // Y <- a Y + d X + A R, R = b Y + e X. X is kept as the norm left it, and divided by nu, the root of ||X X^T||_F,
  // where it is used; so at the first step, where Y is X, is A by nu^2. The next R and Y go to their places as operands.
  __device__ __forceinline__ void fitted(u32 item) {
    const u32 step = launch.index, now = step & 1u, next = now ^ 1u;
    const float a = Kernel::coefficient(step, 0), b = Kernel::coefficient(step, 1);
    const float d = Kernel::coefficient(step, 2), e = Kernel::coefficient(step, 3);
    const float nu = Kernel::RESCALE ? square_root(work.entry.nu_squared) : 1.0f;
    const float by_nu = nu > 0.0f ? 1.0f / nu : 0.0f;
    const bool first = step == 0u;
    const float of_product = first ? (b + e) * by_nu * by_nu * by_nu : 1.0f;
    const float of_x = (first ? a + d : d) * by_nu;
    const float next_b = last() ? 0.0f : Kernel::coefficient(step + 1u, 1);
    const float next_e = last() ? 0.0f : Kernel::coefficient(step + 1u, 3) * by_nu;
    const Blocks x_master = of(wide(work.masters(0))), y_master = of(wide(work.masters(1)));
    const Blocks y_operand = of(wide(work.operands(2))), right = of(wide(work.operands(next)));
    multiply(item, work.operands(now), [&](const Accumulator& sums, u32 row, u32 column) {
      const Accumulator x = x_master.load_f32(row, column);
      Accumulator y;
      combine(y, of_product, sums, of_x, x);
      if (!first) combine(y, 1.0f, y, a, y_master.load_f32(row, column));
      y_master.store_f32(row, column, y);
      if (last()) return;
      y_operand.store(row, column, pack<Operand>(y));
      combine(y, next_b, y, next_e, x);
      right.store(row, column, pack<Operand>(y));
    });
  }

  // Q = a I - b A: turns 0 .. n - 1 are Z <- Q Z, the others Y <- Q Y.
  __device__ __forceinline__ void coupled(u32 item) {
    const float a = Kernel::coefficient(launch.index, 0), b = Kernel::coefficient(launch.index, 1);
    const bool of_z = launch.turn < u32(Kernel::COUPLED_N);
    const u32 done = of_z ? launch.index * Kernel::COUPLED_N + launch.turn
                          : launch.index * Kernel::COUPLED_M + launch.turn - Kernel::COUPLED_N;
    const u32 which = of_z ? 0u : 2u, now = which + (done & 1u), next = which + (~done & 1u);
    const Blocks master = of(wide(work.masters(of_z ? 0u : 1u))), operands = of(wide(work.operands(next)));
    multiply(item, work.operands(now), [&](const Accumulator& sums, u32 row, u32 column) {
      Accumulator moved = master.load_f32(row, column);
      combine(moved, a, moved, -b, sums);
      master.store_f32(row, column, moved);
      operands.store(row, column, pack<Operand>(moved));
    });
  }
};

// The three products of a step, as launches.
template <class Kernel>
HIMUON_DEVICE void gram_launch(const StreamedLaunch& launch, u32 shared) {
  Product<Kernel> product(shared);
  each_item<Kernel, &StreamedTile::triangle>(launch, LEFT_OUT, [&](const StreamedWork<Kernel>& work, u32 item) {
    StreamedMap<Kernel>{launch, work, product}.gram(item);
  });
}
template <class Kernel>
HIMUON_DEVICE void square_launch(const StreamedLaunch& launch, u32 shared) {
  Product<Kernel> product(shared);
  each_item<Kernel, &StreamedTile::triangle>(launch, LEFT_OUT, [&](const StreamedWork<Kernel>& work, u32 item) {
    StreamedMap<Kernel>{launch, work, product}.square_gram(item);
  });
}
template <class Kernel>
HIMUON_DEVICE void multiply_launch(const StreamedLaunch& launch, u32 shared) {
  Product<Kernel> product(shared);
  each_item<Kernel, &StreamedTile::block>(launch, LEFT_OUT, [&](const StreamedWork<Kernel>& work, u32 item) {
    StreamedMap<Kernel> map{launch, work, product};
    if constexpr (Kernel::RECURRENCE == RECURRENCE_ODD)
      map.odd(item);
    else if constexpr (Kernel::RECURRENCE == RECURRENCE_FITTED)
      map.fitted(item);
    else
      map.coupled(item);
  });
}

// The almost-orthogonal rescale X_i <- X_i / sqrt(sum_j |X X^T|_ij) (arXiv 2512.04632), the sums first; a zero row
// stays zero. A warp adds up a row at a time.
template <class Kernel>
HIMUON_DEVICE void row_sums(const StreamedLaunch& launch) {
  using Stored = typename Patch<Kernel>::Stored;
  each_item<Kernel, &StreamedTile::patch>(launch, LEFT_OUT, [&](const StreamedWork<Kernel>& work, u32 item) {
    const u32 across = parts(work.x_leading, PATCH_COLUMNS), down = item / across;
    if (item != down * across) return;  // one item for 64 rows
    const Plane gram{work.grams(0), work.gram_leading};
    constexpr u32 ROWS = PATCH_ROWS / (PATCH_THREADS / 32u);
    const u32 first = down * PATCH_ROWS + (threadIdx.x >> 5) * ROWS, lane = threadIdx.x & 31u;
    for (u32 row = first; row < smaller(first + ROWS, work.rows); row++) {
      float sum = 0.0f;
      for (u32 column = lane; column < work.rows; column += 32u)
        sum += absolute(gram.load<Stored>(row, column, true));
#pragma unroll
      for (int mask = 16; mask > 0; mask >>= 1) sum += shuffle_xor(sum, mask);
      if (lane == 0) work.row_factor()[row] = sum > 0.0f ? 1.0f / square_root(sum) : 0.0f;
    }
  });
}
template <class Kernel>
HIMUON_DEVICE void rescale_rows(const StreamedLaunch& launch) {
  using Exact = typename Kernel::Exact;
  each_item<Kernel, &StreamedTile::patch>(launch, LEFT_OUT, [&](const StreamedWork<Kernel>& work, u32 item) {
    const Patch<Kernel> patch(work, item);
    float values[EDGE];
    patch.template load<Exact>(work.exact(0), values);
#pragma unroll
    for (int i = 0; i < EDGE; i++)
      if (patch.row + i < work.rows) values[i] *= work.row_factor()[patch.row + i];
    patch.template store<Exact>(work.exact(0), values);
    if (Kernel::SEPARATE) patch.store_operand(work.operands(0), values);
  });
}

}  // namespace himuon
