#pragma once
// Q R = A with orthonormal columns, by Cholesky-QR twice (Fukaya, Nakatsukasa, Yanagisawa, Yamamoto, 2014), by one thread block.
//
// The Gram matrix of A is formed in f64, where products of two f32 are exact, its Cholesky factor R1 is inverted in f64, and A R1^-1
// computed in f32. Collapsed columns are zero in Q and have a zero row in R.
#include "small_product.cuh"

namespace himuon {

// rank x rank matrices in f64, row by row.
struct Factors {
  double* gram;     // A^T A, then its upper Cholesky factor
  double* inverse;  // of that
  double* factor;   // R
  double* spare;
  HIMUON_DEVICE Factors of(const Coupled& matrix) {
    const u32 size = matrix.rank * matrix.rank;
    double* first = matrix.factors;
    return {first, first + size, first + 2u * size, first + 3u * size};
  }
};

// output <- A^T B, all of it, or what lies on and above the diagonal; sums ascend over the rows. A thread computes 2 x 2 numbers.
template <bool UPPER>
HIMUON_DEVICE void inner_products(const float* a, const float* b, u32 rows, u32 rank, u32 stride, double* output) {
  const u32 across = (rank + 1u) / 2u;
  for (u32 block = threadIdx.x; block < across * across; block += COUPLING_THREADS) {
    const u32 i = 2u * (block / across), j = 2u * (block % across);
    if (UPPER && i > j) continue;
    double sums[2][2] = {};
#pragma unroll 4
    for (u32 row = 0; row < rows; row++) {
      const float2 l = *reinterpret_cast<const float2*>(a + u64(row) * stride + i);
      const float2 r = *reinterpret_cast<const float2*>(b + u64(row) * stride + j);
      sums[0][0] += double(l.x) * double(r.x);
      sums[0][1] += double(l.x) * double(r.y);
      sums[1][0] += double(l.y) * double(r.x);
      sums[1][1] += double(l.y) * double(r.y);
    }
#pragma unroll
    for (u32 k = 0; k < 4u; k++)
      if (i + k / 2u < rank && j + k % 2u < rank) output[(i + k / 2u) * rank + j + k % 2u] = sums[k / 2u][k % 2u];
  }
  __syncthreads();
}

HIMUON_DEVICE bool is_finite(double value) { return value - value == 0.0; }

// The upper Cholesky factor over a Gram matrix whose upper part is given; how many columns collapsed.
HIMUON_DEVICE u32 cholesky(double* gram, u32 rank) {
  double longest = 0.0;
  for (u32 j = 0; j < rank; j++) longest = gram[j * rank + j] > longest ? gram[j * rank + j] : longest;
  const bool zero = longest <= SMALLEST * SMALLEST;
  const double limit = COLLAPSE * COLLAPSE * longest;
  u32 collapsed = 0;
  for (u32 j = 0; j < rank; j++) {
    __syncthreads();
    const double pivot = gram[j * rank + j];
    const bool lost = zero || pivot <= limit;
    const double root = lost ? 0.0 : sqrt(pivot), inverse = lost ? 0.0 : 1.0 / root;
    collapsed += u32(lost);
    __syncthreads();
    for (u32 i = j + threadIdx.x; i < rank; i += COUPLING_THREADS)
      gram[j * rank + i] = i == j ? root : gram[j * rank + i] * inverse;
    __syncthreads();
    const u32 next = j + 1u;
    each_place(rank - next, rank - next, [=](u32 k, u32 i) {
      if (i >= k) gram[(next + k) * rank + next + i] -= gram[j * rank + next + k] * gram[j * rank + next + i];
    });
  }
  __syncthreads();
  return collapsed;
}

// The inverse of an upper triangular matrix on the columns that did not collapse, zero on the others. A thread has a column.
HIMUON_DEVICE void invert_upper(const double* upper, double* inverse, u32 rank) {
  for (u32 j = threadIdx.x; j < rank; j += COUPLING_THREADS)
    for (u32 i = rank; i-- > 0u;) {
      const double pivot = upper[i * rank + i];
      double value = i == j ? 1.0 : 0.0;
      for (u32 k = i + 1u; k <= j; k++) value -= upper[i * rank + k] * inverse[k * rank + j];
      const bool kept = i <= j && pivot > 0.0 && upper[j * rank + j] > 0.0;
      inverse[i * rank + j] = kept ? value / pivot : 0.0;
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

// Q over `a`, R in the factors; `spare` is as large as `a`, `small` rank x stride. How many columns collapsed, or
// NOT_FACTORED where a number is not finite; then `a` is any.
static constexpr u32 NOT_FACTORED = 0xffffffffu;
HIMUON_DEVICE u32 orthonormalise(float* a, float* spare, float* small, const Factors& factors, u32 rows, u32 rank, u32 stride) {
  u32 collapsed = 0;
#pragma unroll 1
  for (u32 round = 0; round < 2u; round++) {
    const float* from = round == 0u ? a : spare;
    float* to = round == 0u ? spare : a;
    inner_products<true>(from, from, rows, rank, stride, factors.gram);
    bool finite = true;
    for (u32 j = threadIdx.x; j < rank; j += COUPLING_THREADS) finite = finite && is_finite(factors.gram[j * rank + j]);
    if (__syncthreads_or(!finite)) return NOT_FACTORED;
    collapsed = cholesky(factors.gram, rank);
    invert_upper(factors.gram, factors.inverse, rank);
    if (round == 0u) {
      const Factors f = factors;
      each_place(rank, rank, [=](u32 i, u32 j) { f.factor[i * rank + j] = j < i ? 0.0 : f.gram[i * rank + j]; });
      __syncthreads();
    } else {
      multiply_upper(factors.gram, factors.factor, factors.spare, rank);
    }
    const double* inverse = factors.inverse;
    fill_small(small, rank, stride, [=](u32 i, u32 j) { return float(inverse[i * rank + j]); });
    small_product(from, small, to, rows, rank, stride);
  }
  return collapsed;
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

// The largest rank of a coarse part.
static constexpr u32 MOST_RANK = 512u;

// Puts the columns of a basis that are not zero first, seeded ones in the place of the others, and makes all of them
// orthonormal. A basis without a zero column is left as it is.
HIMUON_DEVICE void complete_basis(float* basis, float* spare, float* small, const Factors& factors, u32 rows, u32 rank,
                                  u32 stride) {
  __shared__ u32 used[MOST_RANK];
  for (u32 j = threadIdx.x; j < rank; j += COUPLING_THREADS) used[j] = 0u;
  __syncthreads();
  for (u32 j = threadIdx.x & 31u; j < rank; j += 32u) {
    bool any = false;
    for (u32 i = threadIdx.x >> 5; i < rows; i += COUPLING_THREADS / 32u) any = any || basis[u64(i) * stride + j] != 0.0f;
    if (any) atomicOr(&used[j], 1u);
  }
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
  orthonormalise(basis, spare, small, factors, rows, rank, stride);
}

}  // namespace himuon
