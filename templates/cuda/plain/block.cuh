#pragma once
// Work shared by the threads of a block. Reductions have a fixed order: the same bits on every run.
#include "element.cuh"

namespace himuon {

struct Sum {
  HIMUON_DEVICE float join(float a, float b) { return a + b; }
};
struct Largest {
  HIMUON_DEVICE float join(float a, float b) { return a > b ? a : b; }
};

// Joins one value of each thread; every thread gets the result.
template <class Join>
HIMUON_DEVICE float over_block(float value) {
  __shared__ float partial[Kernel::THREADS];
  partial[threadIdx.x] = value;
  __syncthreads();
  // Kernel::THREADS need not be a power of two.
  for (u32 count = Kernel::THREADS; count > 1;) {
    const u32 half = (count + 1) / 2;
    if (threadIdx.x + half < count)
      partial[threadIdx.x] = Join::join(partial[threadIdx.x], partial[threadIdx.x + half]);
    __syncthreads();
    count = half;
  }
  const float result = partial[0];
  __syncthreads();
  return result;
}

// Calls `body(i)` for i = 0..count, spread over the block, and waits for all.
template <class Body>
HIMUON_DEVICE void each(u64 count, Body body) {
#pragma unroll 1
  for (u64 i = threadIdx.x; i < count; i += Kernel::THREADS) body(i);
  __syncthreads();
}

// The sum of `term(i)` for i = 0..count.
template <class Term>
HIMUON_DEVICE float sum(u64 count, Term term) {
  float local = 0.0f;
#pragma unroll 1
  for (u64 i = threadIdx.x; i < count; i += Kernel::THREADS) local += term(i);
  return over_block<Sum>(local);
}

}  // namespace himuon
