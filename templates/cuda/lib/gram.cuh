#pragma once
// Gram matrices of tall factors, which many thread blocks share: each has a chunk of the rows and 32 columns on either side. What
// the chunks give is summed up in their order by whoever needs it, so that the bits are the same on every run.
#include "block.cuh"
#include "small_product.cuh"

namespace himuon {

static constexpr u32 GRAM_EDGE = 32u;    // columns on either side
static constexpr u32 GRAM_PANEL = 64u;   // rows in shared memory
static constexpr u32 GRAM_ROWS = 128u;   // of a chunk, at least
static constexpr u32 GRAM_CHUNKS = 64u;  // of a factor, at most

// How the Gram matrix of a factor is shared out. A chunk has twice as many rows as there are columns, so that what is left of all of
// them, chunks x rank x rank numbers of f64, takes about as much memory as a factor of f32: at most one chunk's more.
struct GramCut {
  u32 rows, rank, stride;
  u32 chunk;  // rows of one
  HIMUON_DEVICE GramCut of(u32 rows, u32 rank, u32 stride) {
    const u32 least = larger(larger(GRAM_ROWS, 2u * rank), (rows - 1u) / GRAM_CHUNKS + 1u);
    return {rows, rank, stride, (least + GRAM_PANEL - 1u) / GRAM_PANEL * GRAM_PANEL};
  }
  __device__ __forceinline__ u32 chunks() const { return (rows - 1u) / chunk + 1u; }
  __device__ __forceinline__ u32 edges() const { return (rank - 1u) / GRAM_EDGE + 1u; }
  // Pairs of 32 columns, the mirrored ones left out.
  __device__ __forceinline__ u32 pairs() const { return edges() * (edges() + 1u) / 2u; }
  __device__ __forceinline__ u32 units() const { return chunks() * pairs(); }
};

#if __CUDA_ARCH__ == 800 || __CUDA_ARCH__ == 900 || __CUDA_ARCH__ == 1000
// f64 at half the rate of f32: products of f32 numbers are exact in it.
static constexpr bool GRAM_SCALED = false;
using GramNumber = double;
struct ProductSum {
  double sum;
  __device__ __forceinline__ void add(double left, double right) { sum = __fma_rn(left, right, sum); }
  __device__ __forceinline__ void merge(const ProductSum& other) { sum += other.sum; }
  __device__ __forceinline__ void scale(float) {}
  __device__ __forceinline__ double value(double) const { return sum; }
};
#else
// Elsewhere f64 has a 32nd of the rate of f32 or less, so that sums are pairs of f32 numbers (Ogita, Rump, Oishi, "Accurate sum and dot
// product", 2005, Dot2): what a product and a sum are rounded by is exact, and summed up in f32, which is at most n^2 / 2^49 of
// the sum of the magnitudes from the exact sum of n products. Of a panel a thread has at most 16, then the pair is made one again: 5e-13 a
// panel, 7e-12 for the 1024 rows of a chunk at rank 512, and far less where roundings fall to either side. A squared length
// of 1e-10 of the longest is what collapses, and the rounding of the numbers themselves to f32 leaves 1e-12.
static constexpr bool GRAM_SCALED = true;
using GramNumber = float;
struct ProductSum {
  float high, low;
  __device__ __forceinline__ void add_part(float part, float rest) {
    const float sum = __fadd_rn(high, part);
    const float added = __fadd_rn(sum, -high);
    const float lost = __fadd_rn(__fadd_rn(high, -__fadd_rn(sum, -added)), __fadd_rn(part, -added));
    high = sum;
    low = __fadd_rn(low, __fadd_rn(rest, lost));
  }
  __device__ __forceinline__ void add(float left, float right) {
    const float product = __fmul_rn(left, right);
    add_part(product, __fmaf_rn(left, right, -product));
  }
  __device__ __forceinline__ void merge(const ProductSum& other) { add_part(other.high, other.low); }
  // A panel ends: what is next is smaller by `factor`.
  __device__ __forceinline__ void scale(float factor) {
    const float part = __fmul_rn(high, factor), rest = __fmul_rn(low, factor);
    high = __fadd_rn(part, rest);
    low = __fadd_rn(rest, -__fadd_rn(high, -part));
  }
  __device__ __forceinline__ double value(double scale) const { return scale * (double(high) + double(low)); }
};
#endif

struct __align__(2 * sizeof(GramNumber)) GramPair {
  GramNumber x, y;
};

union GramShared {
  struct {
    GramNumber left[GRAM_PANEL * GRAM_EDGE];  // row by row
    GramNumber right[GRAM_PANEL * GRAM_EDGE];
  };
  ProductSum sums[16u * COUPLING_THREADS];
};

// Some rows of 32 columns, zeros beyond both. Where f32 must hold products and what they are rounded by, they are divided by `power`,
// a power of two, which grows with the largest number. Returns what sums up to here are then to be multiplied with.
HIMUON_DEVICE float load_panel(const GramCut& cut, const float* factor, u32 first_row, u32 end_row, u32 first_column, float& power,
                               GramNumber* panel) {
  static constexpr u32 QUADS = GRAM_PANEL * GRAM_EDGE / 4u / COUPLING_THREADS;
  float4 quads[QUADS];
  float largest = 0.0f;
#pragma unroll
  for (u32 i = 0; i < QUADS; i++) {
    const u32 number = i * COUPLING_THREADS + threadIdx.x;
    const u32 row = first_row + number / (GRAM_EDGE / 4u), column = first_column + 4u * (number % (GRAM_EDGE / 4u));
    quads[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (row < end_row && column < cut.stride) quads[i] = *reinterpret_cast<const float4*>(factor + u64(row) * cut.stride + column);
    largest = fmaxf(largest, fmaxf(fmaxf(fabsf(quads[i].x), fabsf(quads[i].y)), fmaxf(fabsf(quads[i].z), fabsf(quads[i].w))));
  }
  float down = 1.0f, change = 1.0f;
  if constexpr (GRAM_SCALED) {
    const float grown = fmaxf(power, power_below(magnitude(largest_over_block(largest))));
    down = reciprocal_of_power(grown);
    change = power * down;
    power = grown;
  }
#pragma unroll
  for (u32 i = 0; i < QUADS; i++) {
    GramNumber* place = panel + 4u * (i * COUPLING_THREADS + threadIdx.x);
    *reinterpret_cast<GramPair*>(place) = {GramNumber(down * quads[i].x), GramNumber(down * quads[i].y)};
    *reinterpret_cast<GramPair*>(place + 2) = {GramNumber(down * quads[i].z), GramNumber(down * quads[i].w)};
  }
  return change;
}

// Four of 32 columns, and eight such sets: two neighbours in either half, so that lanes read without conflicts.
static constexpr u32 GRAM_SETS = GRAM_EDGE / 4u;
HIMUON_DEVICE u32 gram_column(u32 set, u32 e) { return e / 2u * (GRAM_EDGE / 2u) + 2u * set + e % 2u; }
HIMUON_DEVICE void gram_row(const GramNumber* row, u32 set, GramNumber (&numbers)[4]) {
  const GramPair low = *reinterpret_cast<const GramPair*>(row + gram_column(set, 0u));
  const GramPair high = *reinterpret_cast<const GramPair*>(row + gram_column(set, 2u));
  numbers[0] = low.x, numbers[1] = low.y, numbers[2] = high.x, numbers[3] = high.y;
}

// Number `number` of those on and above the diagonal of a square matrix, row by row.
HIMUON_DEVICE void upper_place(u32 number, u32 edge, u32& row, u32& column) {
  row = 0, column = number;
  for (u32 across = edge; column >= across; across--, row++) column -= across;
  column += row;
}

// output <- a^T b on a chunk of rows, columns from `first_left` and `first_right` on; where both are the same, on and above the
// diagonal. A thread has 4 x 4 numbers and every fourth or seventh row.
HIMUON_DEVICE void gram_block(GramShared& shared, const GramCut& cut, const float* a, const float* b, u32 chunk, u32 first_left,
                              u32 first_right, double* output) {
  const bool same = a == b && first_left == first_right;
  const u32 blocks = same ? GRAM_SETS * (GRAM_SETS + 1u) / 2u : GRAM_SETS * GRAM_SETS;
  const u32 teams = COUPLING_THREADS / blocks, team = threadIdx.x / blocks, block = threadIdx.x % blocks;
  u32 i = block / GRAM_SETS, j = block % GRAM_SETS;
  if (same) upper_place(block, GRAM_SETS, i, j);
  const u32 begin = chunk * cut.chunk, end = smaller(begin + cut.chunk, cut.rows);
  const GramNumber* right = same ? shared.left : shared.right;
  float left_power = 0.0f, right_power = 0.0f;
  ProductSum sums[16] = {};
#pragma unroll 1
  for (u32 first = begin; first < end; first += GRAM_PANEL) {
    __syncthreads();  // what was there has been read
    float change = load_panel(cut, a, first, end, first_left, left_power, shared.left);
    change *= same ? change : load_panel(cut, b, first, end, first_right, right_power, shared.right);
    __syncthreads();
#pragma unroll
    for (u32 e = 0; e < 16u; e++) sums[e].scale(change);
    const u32 count = team < teams ? smaller(GRAM_PANEL, end - first) : 0u;
#pragma unroll 1
    for (u32 row = team; row < count; row += teams) {
      GramNumber l[4], r[4];
      gram_row(shared.left + row * GRAM_EDGE, i, l);
      gram_row(right + row * GRAM_EDGE, j, r);
#pragma unroll
      for (u32 e = 0; e < 16u; e++) sums[e].add(l[e / 4u], r[e % 4u]);
    }
  }
  __syncthreads();
#pragma unroll
  for (u32 e = 0; e < 16u; e++) shared.sums[e * COUPLING_THREADS + threadIdx.x] = sums[e];
  __syncthreads();
  const double up = double(left_power) * double(same ? left_power : right_power);
  for (u32 number = threadIdx.x; number < 16u * blocks; number += COUPLING_THREADS) {
    const u32 e = number / blocks, of = number % blocks;
    ProductSum sum = shared.sums[e * COUPLING_THREADS + of];
    for (u32 other = 1; other < teams; other++) sum.merge(shared.sums[e * COUPLING_THREADS + other * blocks + of]);
    u32 row = of / GRAM_SETS, column = of % GRAM_SETS;
    if (same) upper_place(of, GRAM_SETS, row, column);
    if (same && row == column && e / 4u > e % 4u) continue;
    row = gram_column(row, e / 4u), column = gram_column(column, e % 4u);
    // Sets interleave: a number may be the mirror image of its place.
    const u32 high = same ? smaller(row, column) : row, low = same ? larger(row, column) : column;
    if (first_left + high < cut.rank && first_right + low < cut.rank)
      output[(first_left + high) * cut.rank + first_right + low] = sum.value(up);
  }
}

// Unit `unit` of the Gram matrix of `a`, or of a^T b with every number of it, to the chunk's own place in `chunks`.
HIMUON_DEVICE void gram_unit(GramShared& shared, const GramCut& cut, const float* a, const float* b, u32 unit, double* chunks) {
  const u32 chunk = unit / cut.pairs();
  u32 left, right;
  upper_place(unit % cut.pairs(), cut.edges(), left, right);
  double* output = chunks + chunk * cut.rank * cut.rank;
  gram_block(shared, cut, a, b, chunk, left * GRAM_EDGE, right * GRAM_EDGE, output);
  if (a != b && left != right) gram_block(shared, cut, a, b, chunk, right * GRAM_EDGE, left * GRAM_EDGE, output);
}

// gram <- the sum over the chunks.
HIMUON_DEVICE void sum_chunk(const GramCut& cut, const double* chunks, u32 place, double* gram) {
  const u32 count = cut.chunks(), size = cut.rank * cut.rank;
  double sum = 0.0;
#pragma unroll 8
  for (u32 chunk = 0; chunk < count; chunk++) sum += chunks[chunk * size + place];
  gram[place] = sum;
}
HIMUON_DEVICE void sum_chunks(const GramCut& cut, const double* chunks, double* gram) {
  for (u32 place = threadIdx.x; place < cut.rank * cut.rank; place += COUPLING_THREADS) sum_chunk(cut, chunks, place, gram);
  __syncthreads();
}
// On and above the diagonal: one row and the one that is as far from the end together are one longer than a row.
HIMUON_DEVICE void sum_upper_chunks(const GramCut& cut, const double* chunks, double* gram) {
  const u32 rank = cut.rank;
  for (u32 number = threadIdx.x; number < (rank + 1u) / 2u * (rank + 1u); number += COUPLING_THREADS) {
    const u32 pair = number / (rank + 1u), place = number % (rank + 1u), mirror = rank - 1u - pair;
    const bool first = place < rank - pair;
    if (!first && mirror == pair) continue;
    const u32 row = first ? pair : mirror, column = first ? pair + place : place - 1u;
    sum_chunk(cut, chunks, row * rank + column, gram);
  }
  __syncthreads();
}

}  // namespace himuon
