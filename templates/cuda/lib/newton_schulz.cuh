#pragma once
// One step of an odd polynomial: A = X X^T, X <- a X + (b A + c A^2) X, everything on chip.
#include "criterion.cuh"
#include "resident_tile.cuh"

namespace himuon {

template <class Kernel>
struct NewtonSchulz {
  using Site = Resident<Kernel>;
  using Operand = typename Site::Operand;
  using Operation = Block<Operand>;
  using TileX = typename Site::TileX;
  using TileGram = typename Site::TileGram;
  static constexpr int ROW_BLOCKS = Site::ROW_BLOCKS;
  static constexpr int STRIPS = Site::STRIPS;
  static constexpr int REACH = Site::REACH;
  static constexpr int SPAN = Site::SPAN;
  static constexpr int CHUNK = Site::CHUNK;
  static constexpr int COLUMN_BLOCKS = Site::COLUMN_BLOCKS;
  static constexpr bool KEEP_GRAM = Kernel::KEEP_GRAM || !Site::GRAM_SHARED;

  // This warp's rows of X, in f32.
  using Rows = Accumulator[ROW_BLOCKS][COLUMN_BLOCKS];
  // Its computed blocks of the Gram matrix, by offset, when they stay in registers.
  using Kept = Operation[ROW_BLOCKS][KEEP_GRAM ? REACH + 1 : 1];
  using Sums = Accumulator[ROW_BLOCKS][CHUNK];

  Site site;
  TileX x_tile;
  TileGram gram_tile;

  __device__ __forceinline__ NewtonSchulz(const Site& site)
      : site(site), x_tile(TileX::at(site.shared, site.lane)),
        gram_tile(TileGram::at(site.shared + Site::BUFFERS * Site::X_BYTES, site.lane)) {}

  __device__ __forceinline__ void store_rows(const Rows& x) const {
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++) x_tile.store(site.first_strip + m, n, pack<Operand>(x[m][n]));
  }

  static __device__ __forceinline__ void clear_sums(Sums& sums) {
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int r = 0; r < CHUNK; r++) clear(sums[m][r]);
  }

  // Blocks [first, first + CHUNK) of this warp's rows of X X^T. X is in shared memory.
  __device__ __forceinline__ void gram_chunk(const Rows& x, int first, Sums& sums) const {
    clear_sums(sums);
#pragma unroll
    for (int k = 0; k < COLUMN_BLOCKS; k++) {
      Operation left[ROW_BLOCKS];
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++)
        left[m] = Kernel::RELOAD_X ? x_tile.left(site.first_strip + m, k) : pack<Operand>(x[m][k]);
#pragma unroll
      for (int r = first; r < first + CHUNK; r++) {
        if (r >= SPAN) continue;
        const Operation right = x_tile.right(site.strip(r), k);
#pragma unroll
        for (int m = 0; m < ROW_BLOCKS; m++)
          if (Site::computed(m, r)) multiply_add(sums[m][r - first], left[m], right);
      }
    }
  }

  // The whole of this warp's computed blocks; `squares` gains its part of ||A||_F^2 where that is asked for.
  __device__ __forceinline__ void gram(const Rows& x, Kept& kept, float& squares) const {
#pragma unroll
    for (int first = 0; first < SPAN; first += CHUNK) {
      Sums sums;
      gram_chunk(x, first, sums);
#pragma unroll
      for (int r = first; r < first + CHUNK; r++)
#pragma unroll
        for (int m = 0; m < ROW_BLOCKS; m++) {
          if (r >= SPAN || !Site::computed(m, r)) continue;
          if (Kernel::CRITERION == CRITERION_EFFECTIVE_RANK || Kernel::RESCALE)
            squares += (Site::mirrored_elsewhere(Site::offset(m, r)) ? 2.0f : 1.0f) * sum_of_squares(sums[m][r - first]);
          const Operation block = pack<Operand>(sums[m][r - first]);
          if (KEEP_GRAM) kept[m][Site::offset(m, r)] = block;
          if (Site::GRAM_SHARED) gram_tile.store(site.first_strip + m, site.strip(r), block);
        }
    }
  }

  // Block (strip m of this warp, offset q from its first strip) of A as a left operand.
  __device__ __forceinline__ Operation gram_row(const Kept& kept, int m, int q) const {
    const int e = Site::offset(m, q);
    if (e > REACH) return gram_tile.left_transposed(site.strip(q), site.first_strip + m);
    if (KEEP_GRAM) return kept[m][e];
    return gram_tile.left(site.first_strip + m, site.strip(q));
  }

  // A is symmetric: block (r, q) of A, rows as columns of the product.
  __device__ __forceinline__ Operation gram_column(const Kept& kept, int r, int q) const {
    const int e = Site::offset(r, q);
    if (!Site::GRAM_SHARED) return kept[r % ROW_BLOCKS][e];
    if (e > REACH) return gram_tile.right_transposed(site.strip(q), site.strip(r));
    return gram_tile.right(site.strip(r), site.strip(q));
  }

  // Blocks [first, first + CHUNK) of this warp's rows of A A.
  __device__ __forceinline__ void square_chunk(const Kept& kept, int first, Sums& sums) const {
    clear_sums(sums);
#pragma unroll
    for (int q = 0; q < STRIPS; q++) {
      Operation left[ROW_BLOCKS];
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++) left[m] = gram_row(kept, m, q);
#pragma unroll
      for (int r = first; r < first + CHUNK; r++) {
        if (r >= SPAN) continue;
        const Operation right = gram_column(kept, r, q);
#pragma unroll
        for (int m = 0; m < ROW_BLOCKS; m++)
          if (Site::computed(m, r)) multiply_add(sums[m][r - first], left[m], right);
      }
    }
  }

  // x += M[:, block r] X[block r, :] for the strips m of which M[m] is given.
  template <class Wanted>
  __device__ __forceinline__ void apply(Rows& x, int r, const Operation (&left)[ROW_BLOCKS], Wanted wanted) const {
#pragma unroll
    for (int n = 0; n < COLUMN_BLOCKS; n++) {
      const Operation right = x_tile.right_transposed(site.strip(r), n);
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++)
        if (wanted(m)) multiply_add(x[m][n], left[m], right);
    }
  }

  // M = b A + c A^2 (or b A), applied to X chunk by chunk as it comes out of the products.
  template <bool QUINTIC>
  __device__ __forceinline__ void update(Rows& x, const Kept& kept, float a, float b, float c) const {
    // Else the factors a are folded into the other coefficients, see the table of steps.
    if (!Kernel::FOLDED && !Kernel::REFERENCE) {
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
        for (int n = 0; n < COLUMN_BLOCKS; n++) scale(x[m][n], a);
    }
#pragma unroll
    for (int first = 0; first < SPAN; first += CHUNK) {
      Sums sums;
      if (QUINTIC) square_chunk(kept, first, sums);
#pragma unroll
      for (int r = first; r < first + CHUNK; r++) {
        if (r >= SPAN) continue;
        Operation left[ROW_BLOCKS];
#pragma unroll
        for (int m = 0; m < ROW_BLOCKS; m++) {
          if (!Site::computed(m, r)) continue;
          left[m] = combine<QUINTIC>(gram_row(kept, m, r), sums[m][r - first], b, c);
          // The place of A's mirror image is free: no strip computes it.
          if (Site::mirrored_elsewhere(Site::offset(m, r)))
            gram_tile.store(site.strip(r), site.first_strip + m, left[m]);
        }
        apply(x, r, left, [r](int m) { return Site::computed(m, r); });
      }
    }
    if (Site::MIRRORED) {
      Site::barrier();
      apply_mirrored(x);
    }
  }

  template <bool QUINTIC>
  static __device__ __forceinline__ Operation combine(const Operation& a_block, const Accumulator& square, float b, float c) {
    Accumulator m = unpack<Operand>(a_block);
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        m.value[half][i] *= b;
        if (QUINTIC) m.value[half][i] = __fmaf_rn(c, square.value[half][i], m.value[half][i]);
      }
    return pack<Operand>(m);
  }

  // The blocks of M that other strips computed: M(i, j) = M(j, i)^T, left at place (i, j).
  __device__ __forceinline__ void apply_mirrored(Rows& x) const {
#pragma unroll
    for (int q = 0; q < STRIPS; q++) {
      const auto wanted = [q](int m) { return Site::offset(m, q) > REACH; };
      bool any = false;
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++) any = any || wanted(m);
      if (!any) continue;
      Operation left[ROW_BLOCKS];
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++)
        if (wanted(m)) left[m] = gram_tile.left_transposed(site.first_strip + m, site.strip(q));
      apply(x, q, left, wanted);
    }
  }

  HIMUON_DEVICE float sum_of_squares(const Accumulator& acc) {
    float sum = 0.0f;
#pragma unroll
    for (int c = 0; c < 2; c++)
#pragma unroll
      for (int i = 0; i < 4; i++) sum = __fmaf_rn(acc.value[c][i], acc.value[c][i], sum);
    return sum;
  }

  // X as an operand in shared memory. Enters with the other warps anywhere in the previous step.
  __device__ __forceinline__ void publish(const Rows& x, int index) {
    // Addresses are derived anew in each step: kept through the loop they would crowd out the tile. What is the
    // same for all lanes of a warp is made so for the compiler too, which then adds it within the access.
    site.lane = forget(site.lane);
    site.first_strip = Site::WARPS == 1 ? 0u : uniform(forget(site.first_strip));
    x_tile = TileX::at(site.shared + (Site::BUFFERS == 2 ? (index & 1) * Site::X_BYTES : 0), site.lane);
    gram_tile = TileGram::at(site.shared + Site::BUFFERS * Site::X_BYTES, site.lane);
    // The previous X has been read by all; of a single warp, the staged momentum too, behind whose reads no barrier stands.
    if (Site::BUFFERS == 1 || Site::WARPS == 1) Site::barrier();
    store_rows(x);
    Site::barrier();
  }

  // The published code rounds B X and the new X; here X holds rounded numbers, and the sums start at 0.
  template <bool QUINTIC>
  __device__ __forceinline__ void update_rounded(Rows& x, const Kept& kept, float a, float b, float c) const {
    Rows product;
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++) clear(product[m][n]);
    update<QUINTIC>(product, kept, 1.0f, b, c);
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++) {
        const Accumulator rounded = unpack<Operand>(pack<Operand>(product[m][n]));
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
          for (int i = 0; i < 4; i++)
            x[m][n].value[half][i] = __fmaf_rn(a, x[m][n].value[half][i], rounded.value[half][i]);
        x[m][n] = unpack<Operand>(pack<Operand>(x[m][n]));
      }
  }

  // Whether the effective rank 1 / (rank ||X X^T||_F^2) lies below the threshold; `squares` is this lane's part of
  // ||X X^T||_F^2. A zero tile has rank 0.
  __device__ __forceinline__ bool below_effective_rank(float squares, u32 rank) const {
    squares = site.sum(squares, 4);
    const float threshold = Kernel::threshold();
    return squares > 0.0f ? squares * float(rank) * threshold > 1.0f : threshold > 0.0f;
  }

  // The almost-orthogonal rescale X_i <- X_i / sqrt(sum_j |X X^T|_ij) (arXiv 2512.04632); zero rows stay zero.
  // False: the criterion, which is of X before it, does not hold, and x is as it was.
  __device__ __forceinline__ bool almost_orthogonal(Rows& x, u32 rank) {
    publish(x, 1);
    float squares = 0.0f;
    float sums[ROW_BLOCKS][2];
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++) sums[m][0] = sums[m][1] = 0.0f;
#pragma unroll
    for (int r = 0; r < STRIPS; r++) {
      Accumulator gram_block[ROW_BLOCKS];
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++) clear(gram_block[m]);
#pragma unroll
      for (int k = 0; k < COLUMN_BLOCKS; k++) {
        const Operation right = x_tile.right(site.strip(r), k);
#pragma unroll
        for (int m = 0; m < ROW_BLOCKS; m++) multiply_add(gram_block[m], pack<Operand>(x[m][k]), right);
      }
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
        for (int c = 0; c < 2; c++)
#pragma unroll
          for (int i = 0; i < 4; i++) sums[m][i / 2] += absolute(gram_block[m].value[c][i]);
      if constexpr (Kernel::CRITERION == CRITERION_EFFECTIVE_RANK) {
#pragma unroll
        for (int m = 0; m < ROW_BLOCKS; m++) squares += sum_of_squares(gram_block[m]);
      }
    }
    if constexpr (Kernel::CRITERION == CRITERION_EFFECTIVE_RANK) {
      if (below_effective_rank(squares, rank)) return false;
    }
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float sum = sums[m][h];  // of this lane's columns; the four lanes of a row add up
        sum += shuffle_xor(sum, 1);
        sum += shuffle_xor(sum, 2);
        const float factor = sum > 0.0f ? 1.0f / square_root(sum) : 0.0f;
#pragma unroll
        for (int n = 0; n < COLUMN_BLOCKS; n++)
#pragma unroll
          for (int c = 0; c < 2; c++) {
            x[m][n].value[c][2 * h] *= factor;
            x[m][n].value[c][2 * h + 1] *= factor;
          }
      }
    if (Kernel::REFERENCE) {
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
        for (int n = 0; n < COLUMN_BLOCKS; n++) x[m][n] = unpack<Operand>(pack<Operand>(x[m][n]));
    }
    return true;
  }

  // All steps on X with ||X||_F = 1. False: the criterion does not hold, and x is as it was. `rank` is
  // min(rows, columns) of the tile.
  __device__ __forceinline__ bool iterate(Rows& x, u32 rank) {
    if constexpr (Kernel::TURBO) {
      if (!almost_orthogonal(x, rank)) return false;
    }
#pragma unroll 1
    for (int index = 0; index < Kernel::STEPS; index++) {
      publish(x, index);
      Kept kept;
      float squares = 0.0f;
      gram(x, kept, squares);
      if constexpr (Kernel::CRITERION == CRITERION_EFFECTIVE_RANK && !Kernel::TURBO) {
        if (index == 0 && below_effective_rank(squares, rank)) return false;
      }
      if (Site::GRAM_SHARED) Site::barrier();
      const float a = Kernel::coefficient(index, 0), b = Kernel::coefficient(index, 1), c = Kernel::coefficient(index, 2);
      if constexpr (Kernel::REFERENCE)
        update_rounded<Kernel::QUINTIC>(x, kept, a, b, c);
      else
        update<Kernel::QUINTIC>(x, kept, a, b, c);
    }
    return true;
  }
};

}  // namespace himuon
