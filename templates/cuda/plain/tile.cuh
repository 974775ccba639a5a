#pragma once
// The matrices of one block in global memory, f32, row after row. `rows` <= `columns` always: a taller tile is
// held transposed.
#include "../lib/block.cuh"
#include "element.cuh"

namespace himuon {

// Calls `body(i)` for i = 0..count, spread over the block, and waits for all.
template <class Body>
HIMUON_DEVICE void each(u64 count, Body body) {
#pragma unroll 1
  for (u64 i = threadIdx.x; i < count; i += blockDim.x) body(i);
  __syncthreads();
}

// The sum of `term(i)` for i = 0..count.
template <class Term>
HIMUON_DEVICE float sum(u64 count, Term term) {
  float local = 0.0f;
#pragma unroll 1
  for (u64 i = threadIdx.x; i < count; i += blockDim.x) local += term(i);
  return sum_over_block(local);
}

HIMUON_DEVICE void swap(float*& a, float*& b) {
  float* const held = a;
  a = b;
  b = held;
}

template <class Kernel>
struct Work {
  u32 rows;
  u32 columns;
  float* x;     // rows x columns: the tile, and at last its map
  float* y;     // rows x columns
  float* next;  // rows x columns
  float* mix;   // rows x columns
  float* gram;  // rows x rows
  float* poly;  // rows x rows

  HIMUON_DEVICE Work at(float* memory, u32 rows, u32 columns) {
    const u64 size = u64(rows) * columns, square = u64(rows) * rows;
    Work work;
    work.rows = rows;
    work.columns = columns;
    work.x = memory;
    work.y = work.x + size;
    work.next = work.y + size;
    work.mix = work.next + size;
    work.gram = work.mix + size;
    work.poly = work.gram + square;
    return work;
  }
  __device__ __forceinline__ u64 size() const { return u64(rows) * columns; }
  __device__ __forceinline__ u64 square() const { return u64(rows) * rows; }

  HIMUON_DEVICE float operand(float value) { return rounded<typename Kernel::Operand>(value); }
  // A number as the published code would have stored it at this point; itself in accurate mode.
  HIMUON_DEVICE float stored(float value) { return Kernel::REFERENCE ? rounded<Bf16>(value) : value; }

  // Row i of `left` times column j of `right`: one chain of fused multiply-adds in ascending k.
  HIMUON_DEVICE float row_by_column(const float* left, u32 i, const float* right, u32 j, u32 inner, u32 columns) {
    float sum = 0.0f;
    for (u32 k = 0; k < inner; k++)
      sum = __fmaf_rn(operand(left[u64(i) * inner + k]), operand(right[u64(k) * columns + j]), sum);
    return sum;
  }

  // `gram` <- m m^T.
  __device__ __forceinline__ void multiply_transposed(const float* m) const {
    each(square(), [&](u64 index) {
      const u64 i = index / rows, j = index % rows;
      float sum = 0.0f;
      for (u32 k = 0; k < columns; k++)
        sum = __fmaf_rn(operand(m[i * columns + k]), operand(m[j * columns + k]), sum);
      gram[index] = stored(sum);
    });
  }

  // An element of matrix * m, rows x rows times rows x columns, for the element `index` of m.
  __device__ __forceinline__ float product(const float* matrix, const float* m, u64 index) const {
    return row_by_column(matrix, u32(index / columns), m, u32(index % columns), rows, columns);
  }
};

}  // namespace himuon
