#pragma once
// Q R = A with orthonormal columns, by Cholesky-QR twice (Fukaya, Nakatsukasa, Yanagisawa, Yamamoto, 2014).
//
// The Gram matrix of A is formed in about twice the precision of f32 by many thread blocks (gram.cuh), its Cholesky factor R1
// inverted in f64 by one, and A R1^-1 computed in f32 by many again. Collapsed columns are zero in Q and have a zero row in R.
#include "gram.cuh"
#include "skinny_product.cuh"

namespace himuon {

// Up to this rank the numbers that threads hand each other stay in shared memory.
static constexpr u32 NEAR_RANK = 32u;
struct NearFactors {
  double numbers[4][NEAR_RANK * NEAR_RANK];
};

// rank x rank matrices in f64, row by row.
struct Factors {
  double* gram;     // A^T A, then its upper Cholesky factor
  double* inverse;  // of that
  double* factor;   // R
  double* spare;
  double* turned;   // for small_polar.cuh, which may lose R
  double* chunks;   // Gram matrices of chunks of rows, see gram.cuh
  HIMUON_DEVICE Factors of(const Coupled& matrix) {
    const u32 size = matrix.rank * matrix.rank;
    double* first = matrix.factors;
    return {first, first + size, first + 2u * size, first + 3u * size, first + 2u * size, first + 4u * size};
  }
  // What one launch needs of them in shared memory, where there is room. R is for the next launch too.
  HIMUON_DEVICE Factors near(const Coupled& matrix, NearFactors& shared) {
    Factors factors = of(matrix);
    if (matrix.rank > NEAR_RANK) return factors;
    factors.gram = shared.numbers[0], factors.inverse = shared.numbers[1], factors.spare = shared.numbers[2];
    factors.turned = shared.numbers[3];
    return factors;
  }
};

// Three rank x stride matrices in f32.
struct Smalls {
  float* x;        // what is mapped, as it is
  float* mapped;   // its polar factor
  float* inverse;  // of a Cholesky factor
  HIMUON_DEVICE Smalls of(const Coupled& matrix) {
    const u32 size = matrix.rank * matrix.stride;
    return {matrix.small, matrix.small + size, matrix.small + 2u * size};
  }
};

HIMUON_DEVICE bool is_finite(double value) { return value - value == 0.0; }

// The largest rank of a coarse part.
static constexpr u32 MOST_RANK = 512u;

// The upper Cholesky factor over a Gram matrix whose upper part is given, and one over each number of its diagonal, 0 for columns
// that collapsed; how many those are.
HIMUON_DEVICE u32 cholesky(double* gram, double* reciprocals, u32 rank) {
  __shared__ double root;
  double longest = 0.0;
  u32 collapsed = 0;
  // One warp does what every thread needs to know: where f64 is slow all would wait for each other's roots.
  const bool first_warp = threadIdx.x < 32u;
  for (u32 j = 0; first_warp && j < rank; j++) longest = gram[j * rank + j] > longest ? gram[j * rank + j] : longest;
  const bool zero = longest <= SMALLEST * SMALLEST;
  const double limit = COLLAPSE * COLLAPSE * longest;
  for (u32 j = 0; j < rank; j++) {
    if (first_warp) {
      const double pivot = gram[j * rank + j];
      const bool lost = zero || pivot <= limit;
      const double found = lost ? 0.0 : sqrt(pivot), inverse = lost ? 0.0 : 1.0 / found;
      __syncwarp();
      if (threadIdx.x == 0u) root = found, reciprocals[j] = inverse;
      for (u32 i = j + threadIdx.x; i < rank; i += 32u) gram[j * rank + i] = i == j ? found : gram[j * rank + i] * inverse;
    }
    __syncthreads();
    collapsed += u32(root == 0.0);
    const u32 next = j + 1u;
    each_place(rank - next, rank - next, [=](u32 k, u32 i) {
      if (i >= k) gram[(next + k) * rank + next + i] -= gram[j * rank + next + k] * gram[j * rank + next + i];
    });
    __syncthreads();
  }
  return collapsed;
}

// The inverse of an upper triangular matrix on the columns that did not collapse, zero on the others. A thread has a column.
HIMUON_DEVICE void invert_upper(const double* upper, const double* reciprocals, double* inverse, u32 rank) {
  for (u32 j = threadIdx.x; j < rank; j += COUPLING_THREADS)
    for (u32 i = rank; i-- > 0u;) {
      double value = i == j ? 1.0 : 0.0;
      for (u32 k = i + 1u; k <= j; k++) value -= upper[i * rank + k] * inverse[k * rank + j];
      inverse[i * rank + j] = i <= j && reciprocals[j] != 0.0 ? value * reciprocals[i] : 0.0;
    }
  __syncthreads();
}

// factor <- upper factor, both upper triangular.
HIMUON_DEVICE void multiply_upper(const double* upper, double* factor, double* spare, u32 rank) {
  each_place(rank, rank, [=](u32 i, u32 j) {
    double sum = 0.0;
    for (u32 k = i; k <= j; k++) sum += upper[i * rank + k] * factor[k * rank + j];
    spare[i * rank + j] = sum;
  });
  __syncthreads();
  for (u32 number = threadIdx.x; number < rank * rank; number += COUPLING_THREADS) factor[number] = spare[number];
  __syncthreads();
}

// One of both rounds over a factor, from one of two places to the other.
struct Round {
  const float* from;
  float* to;
  u32 rows;
  bool second;
};

// Where R1^-1 of a round goes, and R into the factors, by one thread block; the Gram matrix is there, in chunks. How many columns
// collapsed, or NOT_FACTORED where a number is not finite.
static constexpr u32 NOT_FACTORED = 0xffffffffu;
HIMUON_DEVICE u32 factor_round(const Coupled& matrix, const Round& round, const Factors& factors) {
  __shared__ double reciprocals[MOST_RANK];
  const u32 rank = matrix.rank, stride = matrix.stride;
  sum_upper_chunks(GramCut::of(round.rows, rank, stride), factors.chunks, factors.gram);
  bool finite = true;
  for (u32 j = threadIdx.x; j < rank; j += COUPLING_THREADS) finite = finite && is_finite(factors.gram[j * rank + j]);
  if (__syncthreads_or(!finite)) return NOT_FACTORED;
  const u32 collapsed = cholesky(factors.gram, reciprocals, rank);
  invert_upper(factors.gram, reciprocals, factors.inverse, rank);
  if (round.second) {
    multiply_upper(factors.gram, factors.factor, factors.spare, rank);
  } else {
    each_place(rank, rank, [=](u32 i, u32 j) { factors.factor[i * rank + j] = j < i ? 0.0 : factors.gram[i * rank + j]; });
    __syncthreads();
  }
  const double* inverse = factors.inverse;
  fill_small(Smalls::of(matrix).inverse, rank, stride, [=](u32 i, u32 j) { return float(inverse[i * rank + j]); });
  return collapsed;
}

union RoundShared {
  GramShared gram;
  SkinnyShared product;
};

// A whole round by one thread block: where it is rare that there is one. Whether there is a factor.
HIMUON_DEVICE bool round_alone(RoundShared& shared, const Coupled& matrix, const Round& round) {
  const GramCut cut = GramCut::of(round.rows, matrix.rank, matrix.stride);
  const Factors factors = Factors::of(matrix);
  for (u32 unit = 0; unit < cut.units(); unit++) gram_unit(shared.gram, cut, round.from, round.from, unit, factors.chunks);
  __syncthreads();
  if (factor_round(matrix, round, factors) == NOT_FACTORED) return false;
  const FactorSource source{matrix, round.from, round.rows};
  for (u32 unit = 0; unit < source.units(); unit++)
    skinny_product<false>(shared.product, source, unit, Smalls::of(matrix).inverse, round.to);
  __syncthreads();
  return true;
}

// The start of a basis: uniform in [-1, 1), by the finaliser of splitmix64 (Steele, Lea, Flood, 2014) of the position.
HIMUON_DEVICE float seed(u32 row, u32 column) {
  u64 bits = (u64(row) << 32) | column;
  bits += 0x9e3779b97f4a7c15ull;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9ull;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebull;
  bits ^= bits >> 31;
  return float(u32(bits >> 40)) / 8388608.0f - 1.0f;
}

// Puts the columns of a basis in `spare_right` that are not zero first, seeded ones in the place of the others, and makes all of
// them orthonormal, by one thread block. A basis without a zero column is left as it is. `right` is scratch; on entry it says
// of 64 rows each whether a column is used there.
HIMUON_DEVICE void complete_basis(RoundShared& shared, const Coupled& matrix) {
  __shared__ u32 used[MOST_RANK];
  const u32 rows = matrix.columns, rank = matrix.rank, stride = matrix.stride;
  float* basis = matrix.spare_right;
  for (u32 j = threadIdx.x; j < rank; j += COUPLING_THREADS) used[j] = 0u;
  __syncthreads();
  each_place((rows - 1u) / SKINNY_ROWS + 1u, rank, [&](u32 i, u32 j) {
    if (matrix.right[u64(i) * stride + j] != 0.0f) atomicOr(&used[j], 1u);
  });
  __syncthreads();
  u32 kept = 0;
  for (u32 j = 0; j < rank; j++) {
    if (used[j] == 0u) continue;
    // Columns move to places that have been read.
    if (kept < j)
      for (u32 i = threadIdx.x; i < rows; i += COUPLING_THREADS) basis[u64(i) * stride + kept] = basis[u64(i) * stride + j];
    kept++;
  }
  if (kept == rank) return;
  for (u32 i = threadIdx.x; i < rows; i += COUPLING_THREADS)
    for (u32 j = kept; j < rank; j++) basis[u64(i) * stride + j] = seed(i, j);
  __syncthreads();
  if (round_alone(shared, matrix, {basis, matrix.right, rows, false})) round_alone(shared, matrix, {matrix.right, basis, rows, true});
}

}  // namespace himuon
