#pragma once
// The matrices of one block in global memory, f32, row after row. `rows` <= `columns` always: a taller tile is
// held transposed.
#include "block.cuh"

namespace himuon {

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
};

HIMUON_DEVICE void swap(float*& a, float*& b) {
  float* const held = a;
  a = b;
  b = held;
}

HIMUON_DEVICE float operand(float value) { return rounded<Kernel::Operand>(value); }

// A number as the published code would have stored it at this point; itself in accurate mode.
HIMUON_DEVICE float stored(float value) { return Kernel::REFERENCE ? rounded<Bf16>(value) : value; }

// Row i of `left` times column j of `right`: one chain of fused multiply-adds in ascending k.
HIMUON_DEVICE float row_by_column(const float* left, u32 i, const float* right, u32 j, u32 inner, u32 columns) {
  float sum = 0.0f;
  for (u32 k = 0; k < inner; k++)
    sum = fmaf(operand(left[u64(i) * inner + k]), operand(right[u64(k) * columns + j]), sum);
  return sum;
}

// The Gram matrix m m^T.
HIMUON_DEVICE void gram(const Work& work, const float* m, float* out) {
  each(work.square(), [&](u64 index) {
    const u64 i = index / work.rows, j = index % work.rows;
    float sum = 0.0f;
    for (u32 k = 0; k < work.columns; k++)
      sum = fmaf(operand(m[i * work.columns + k]), operand(m[j * work.columns + k]), sum);
    out[index] = stored(sum);
  });
}

// An element of square * m, for the element `index` of m.
HIMUON_DEVICE float product(const Work& work, const float* square, const float* m, u64 index) {
  return row_by_column(square, u32(index / work.columns), m, u32(index % work.columns), work.rows, work.columns);
}

}  // namespace himuon
