#pragma once
// Odd polynomials: power 0.
#include "tile.cuh"

namespace himuon {

// X <- aX + BX, B = bA + cA^2, A = X X^T (arXiv 2606.27216).
HIMUON_DEVICE void odd_step(Work& work, float a, float b, float c) {
  gram(work, work.x, work.gram);
  each(work.square(), [&](u64 index) {
    const u32 i = u32(index / work.rows), j = u32(index % work.rows);
    const float square = c == 0.0f ? 0.0f : row_by_column(work.gram, i, work.gram, j, work.rows, work.rows);
    work.poly[index] = stored(fmaf(b, work.gram[index], c * square));
  });
  each(work.size(), [&](u64 index) {
    const float moved = stored(product(work, work.poly, work.x, index));
    work.next[index] = stored(fmaf(a, work.x[index], moved));
  });
  swap(work.x, work.next);
}

// The almost-orthogonal rescale X_i / sqrt(sum_j |X X^T|_ij) (arXiv 2512.04632); a zero row stays zero.
HIMUON_DEVICE void rescale_rows(Work& work) {
  gram(work, work.x, work.gram);
  each(work.rows, [&](u64 i) {
    float sum = 0.0f;
    for (u32 j = 0; j < work.rows; j++) sum += fabsf(work.gram[i * work.rows + j]);
    work.poly[i] = sum > 0.0f ? 1.0f / sqrtf(sum) : 0.0f;
  });
  each(work.size(), [&](u64 index) { work.x[index] *= work.poly[index / work.columns]; });
}

}  // namespace himuon
