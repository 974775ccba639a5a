#pragma once
// Odd polynomials: power 0.
#include "tile.cuh"

namespace himuon {

// X <- aX + BX, B = bA + cA^2, A = X X^T (arXiv 2606.27216).
template <class Kernel>
HIMUON_DEVICE void odd_step(Work<Kernel>& work, float a, float b, float c) {
  work.multiply_transposed(work.x);
  each(work.square(), [&](u64 index) {
    const u32 i = u32(index / work.rows), j = u32(index % work.rows);
    const float square = c == 0.0f ? 0.0f : work.row_by_column(work.gram, i, work.gram, j, work.rows, work.rows);
    work.poly[index] = work.stored(__fmaf_rn(b, work.gram[index], c * square));
  });
  each(work.size(), [&](u64 index) {
    const float moved = work.stored(work.product(work.poly, work.x, index));
    work.next[index] = work.stored(__fmaf_rn(a, work.x[index], moved));
  });
  swap(work.x, work.next);
}

// The almost-orthogonal rescale X_i / sqrt(sum_j |X X^T|_ij) (arXiv 2512.04632); a zero row stays zero.
template <class Kernel>
HIMUON_DEVICE void rescale_rows(Work<Kernel>& work) {
  work.multiply_transposed(work.x);
  each(work.rows, [&](u64 i) {
    float sum = 0.0f;
    for (u32 j = 0; j < work.rows; j++) sum += absolute(work.gram[i * work.rows + j]);
    work.poly[i] = sum > 0.0f ? 1.0f / square_root(sum) : 0.0f;
  });
  each(work.size(), [&](u64 index) { work.x[index] *= work.poly[index / work.columns]; });
}

}  // namespace himuon
