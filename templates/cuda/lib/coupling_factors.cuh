#pragma once
// From a basis to both factors of the coarse part:
// P = orth(M V); B = M^T P; V', R = qr(B); captured = P R^T V'^T, coarse part = P polar(R^T) V'^T.
// Where the basis stands still P, R = qr(M V), captured = P R V^T, coarse part = P polar(R) V^T.
//
// What walks the rows of a factor is shared by many thread blocks, what is rank x rank is done by one a matrix.
#include "small_polar.cuh"

namespace himuon {

// What launches over factors are told: the first or second round of P or V', or the products of P with what the tiles hold.
static constexpr u32 STAGE_RIGHT = 2u;    // V' from here on
static constexpr u32 STAGE_POLAR = 3u;    // its second round, and the polar factor
static constexpr u32 STAGE_PROJECT = 4u;

HIMUON_DEVICE bool of_right_factor(u32 stage) { return stage == STAGE_RIGHT || stage == STAGE_POLAR; }

// The round of a stage before STAGE_PROJECT. The numbers are in turns in the factor and in its spare place.
HIMUON_DEVICE Round round_of(const Coupled& matrix, u32 stage) {
  const bool second = (stage & 1u) != 0u, right = of_right_factor(stage);
  float* factor = right ? matrix.right : matrix.left;
  float* spare = right ? matrix.spare_right : matrix.spare_left;
  return {second ? spare : factor, second ? factor : spare, right ? matrix.columns : matrix.rows, second};
}

// Whether a stage has anything to do with the rows: V stays where the basis stands still.
HIMUON_DEVICE bool has_round(const Coupled& matrix, u32 stage) {
  if (stage == STAGE_PROJECT) return (matrix.flags & COUPLED_PROJECTED) != 0u;
  return !of_right_factor(stage) || (matrix.flags & COUPLED_REFRESH) != 0u;
}

// Unit `unit` of the Gram matrix of a stage.
HIMUON_DEVICE void gram_stage(GramShared& shared, const Coupled& matrix, u32 stage, u32 unit) {
  if (!has_round(matrix, stage)) return;
  const bool project = stage == STAGE_PROJECT;
  const Round round = round_of(matrix, project ? 0u : stage);
  const float* other = project ? matrix.spare_left : round.from;
  const GramCut cut = GramCut::of(round.rows, matrix.rank, matrix.stride);
  gram_unit(shared, cut, round.from, other, unit, Factors::of(matrix).chunks);
}

// The basis of the step before goes to `spare_right`, unit `unit` of it, and which columns are used there to `right`.
HIMUON_DEVICE void read_basis(const Coupled& matrix, u32 unit) {
  __shared__ u32 used[SKINNY_COLUMNS];
  const u32 across = (matrix.columns - 1u) / matrix.tile_columns + 1u, down = (matrix.rows - 1u) / matrix.tile_rows + 1u;
  const u32 chunks = skinny_chunks(matrix.rank), stride = matrix.stride;
  const u32 units = ((matrix.columns - 1u) / SKINNY_ROWS + 1u) * chunks;
  for (u32 tile = unit * COUPLING_THREADS + threadIdx.x; tile < across * down; tile += units * COUPLING_THREADS)
    matrix.largest[tile] = 0u;
  if (threadIdx.x < SKINNY_COLUMNS) used[threadIdx.x] = 0u;
  __syncthreads();
  const u32 line = threadIdx.x / SKINNY_COLUMNS, column = unit % chunks * SKINNY_COLUMNS + threadIdx.x % SKINNY_COLUMNS;
  const u32 first = unit / chunks * SKINNY_ROWS;
  bool any = false;
#pragma unroll
  for (u32 i = line; i < SKINNY_ROWS; i += COUPLING_THREADS / SKINNY_COLUMNS) {
    const u32 row = first + i;
    if (row >= matrix.columns || column >= stride) continue;
    const float value = column < matrix.rank ? matrix.basis[u64(row) * matrix.capacity + column] : 0.0f;
    matrix.spare_right[u64(row) * stride + column] = value;
    any = any || value != 0.0f;
  }
  if (any) atomicOr(&used[threadIdx.x % SKINNY_COLUMNS], 1u);
  __syncthreads();
  if (line == 0u && column < stride) matrix.right[u64(unit / chunks) * stride + column] = float(used[threadIdx.x]);
}

// A quarter of the largest f32: the Frobenius norm of X bounds every sum of the products with it, which are f32.
constexpr double LARGEST_STRENGTH = 8.5e37;

// R of a round and what its factor is multiplied with; after the last one the mapped rank x rank matrix. One thread block a matrix.
template <class Kernel>
HIMUON_DEVICE void factor_stage(NearFactors& shared, const Coupled& matrix, u32 stage) {
  const u32 rank = matrix.rank, stride = matrix.stride;
  const Factors factors = Factors::near(matrix, shared);
  const Smalls smalls = Smalls::of(matrix);
  if (stage == STAGE_PROJECT) {
    if (!has_round(matrix, stage)) return;
    sum_chunks(GramCut::of(matrix.rows, rank, stride), factors.chunks, factors.gram);
    const double* across = factors.gram;
    fill_small(smalls.x, rank, stride, [=](u32 i, u32 j) { return float(across[i * rank + j]); });
    return;
  }
  const bool refresh = (matrix.flags & COUPLED_REFRESH) != 0u;
  const u32 collapsed = has_round(matrix, stage) ? factor_round(matrix, round_of(matrix, stage), factors) : 0u;
  if (collapsed == NOT_FACTORED) {
    if (threadIdx.x == 0u) matrix.report->state = COARSE_NON_FINITE;
    return;
  }
  if (stage != STAGE_POLAR) return;
  const double* factor = factors.factor;
  double squares = 0.0;
  for (u32 number = threadIdx.x; number < rank * rank; number += COUPLING_THREADS) squares += factor[number] * factor[number];
  const double norm = sqrt(block_sum(squares));
  if (!(norm < LARGEST_STRENGTH) || norm == 0.0) {
    if (threadIdx.x == 0u) matrix.report->state = norm == 0.0 ? COARSE_NOTHING : COARSE_NON_FINITE;
    return;
  }
  fill_small(smalls.x, rank, stride,
             [=](u32 i, u32 j) { return float(refresh ? factor[j * rank + i] : factor[i * rank + j]); });
  small_polar<Kernel>(factors, smalls, refresh, norm, rank, stride);
  double inner = 0.0;
  for (u32 number = threadIdx.x; number < rank * stride; number += COUPLING_THREADS)
    inner += double(smalls.x[number]) * double(smalls.mapped[number]);
  const double nuclear_norm = block_sum(inner);
  if (threadIdx.x == 0u) *matrix.report = CoarseReport{COARSE_CAPTURED, float(norm), float(nuclear_norm), collapsed};
}

// Both left factors, unit `unit` of their rows.
HIMUON_DEVICE void left_parts(SkinnyShared& shared, const Coupled& matrix, u32 unit) {
  const FactorSource source{matrix, matrix.left, matrix.rows};
  const Smalls smalls = Smalls::of(matrix);
  skinny_product<false>(shared, source, unit, smalls.x, matrix.captured);
  skinny_product<false>(shared, source, unit, smalls.mapped, matrix.added);
}

// V', which is the next basis, unit `unit` of its rows. Columns that collapsed are zeros there until they are read; those beyond
// the rank are forgotten.
HIMUON_DEVICE void right_part(SkinnyShared& shared, const Coupled& matrix, u32 unit) {
  const FactorSource source{matrix, matrix.spare_right, matrix.columns};
  float* basis = matrix.basis;
  const u32 rank = matrix.rank, capacity = matrix.capacity;
  skinny_product<false>(shared, source, unit, Smalls::of(matrix).inverse, matrix.right, [=](u32 i, u32 j, float sum) {
    if (j < rank) basis[u64(i) * capacity + j] = sum;
    return sum;
  });
  const u32 chunks = skinny_chunks(rank);
  if (unit % chunks != 0u) return;
  const u32 first = unit / chunks * SKINNY_ROWS, beyond = capacity - rank;
  each_place(smaller(SKINNY_ROWS, matrix.columns - first), beyond,
             [=](u32 i, u32 j) { basis[u64(first + i) * capacity + rank + j] = 0.0f; });
}

// With F the scaled tiles, Q2 = F V' and Q1 = F^T P, what of F lies outside of both spans is F - P Q1^T - (Q2 - P P^T Q2) V'^T. So
// the update is F + Z V'^T - P Q1^T with Z = P (scale S + P^T Q2) - Q2. Q2 is in `spare_left`, Z goes to `added`.
HIMUON_DEVICE void correct_fine(SkinnyShared& shared, const Coupled& matrix, u32 unit, float scale) {
  const FactorSource source{matrix, matrix.left, matrix.rows};
  const float *added = matrix.added, *inner = matrix.spare_left;
  const u32 stride = matrix.stride;
  // Each thread replaces the numbers of P S that it reads.
  skinny_product<false>(shared, source, unit, Smalls::of(matrix).x, matrix.added, [=](u32 i, u32 j, float sum) {
    const u64 place = u64(i) * stride + j;
    return __fmaf_rn(scale, added[place], sum) - inner[place];
  });
}

}  // namespace himuon
