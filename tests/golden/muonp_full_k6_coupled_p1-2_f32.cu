// HiMuon kernel 0.1.0, generated. Do not edit: remake it with
//   himuon emit --spec 'tile=full steps=6 power=1/2 recurrence=coupled weight=f32 momentum=f32 operand=f32 mode=accurate criterion=always coarse=0' --variant 'plain:warps=8' --architecture sm_90a
// specification  tile=full steps=6 power=1/2 recurrence=coupled weight=f32 momentum=f32 operand=f32 mode=accurate criterion=always coarse=0
// variant        plain:warps=8
// architecture   sm_90a
// accuracy       |s_K / s^p - 1| <= 9.00e-2 for singular values s of X in [1e-2, 1], p = 1/2; 22 matrix products

// ---- plain/odd.cuh
// Odd polynomials: power 0.
// ---- plain/tile.cuh
// The matrices of one block in global memory, f32, row after row. `rows` <= `columns` always: a taller tile is
// held transposed.
// ---- lib/block.cuh
// Work shared by the threads of a block. Reductions have a fixed order: the same bits on every run.
// ---- lib/instruction.cuh
// Single PTX instructions as functions. Nothing above this file contains inline assembly.

namespace himuon {

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

#define HIMUON_DEVICE [[maybe_unused]] static __device__ __forceinline__

// ---- bits and numbers -------------------------------------------------------------------------

HIMUON_DEVICE u32 bits_of(float value) { return __float_as_uint(value); }
HIMUON_DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }
HIMUON_DEVICE float absolute(float value) { return float_of(bits_of(value) & 0x7fffffffu); }

// Two floats rounded to nearest even into one word, `low` in the lower half.
HIMUON_DEVICE u32 pack_f16(float low, float high) {
  u32 word;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#else
  asm("{ .reg .b16 l, h; cvt.rn.f16.f32 l, %1; cvt.rn.f16.f32 h, %2; mov.b32 %0, {l, h}; }"
      : "=r"(word)
      : "f"(low), "f"(high));
#endif
  return word;
}

#if __CUDA_ARCH__ < 800
// Round to nearest even; a NaN stays a NaN.
HIMUON_DEVICE u32 round_bf16(float value) {
  const u32 bits = bits_of(value);
  const u32 rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return (bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : rounded >> 16;
}
#endif

HIMUON_DEVICE u32 pack_bf16(float low, float high) {
  u32 word;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#else
  word = round_bf16(low) | (round_bf16(high) << 16);
#endif
  return word;
}

HIMUON_DEVICE float low_f16(u32 word) {
  float value;
  asm("{ .reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, l; }" : "=f"(value) : "r"(word));
  return value;
}
HIMUON_DEVICE float high_f16(u32 word) {
  float value;
  asm("{ .reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, h; }" : "=f"(value) : "r"(word));
  return value;
}
HIMUON_DEVICE float low_bf16(u32 word) { return float_of(word << 16); }
HIMUON_DEVICE float high_bf16(u32 word) { return float_of(word & 0xffff0000u); }

#if __CUDA_ARCH__ >= 800
// The nearest number with a ten-bit mantissa, ties away from zero.
HIMUON_DEVICE u32 round_tf32(float value) {
  u32 word;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(value));
  return word;
}
#endif

HIMUON_DEVICE float square_root(float value) {
  float root;
  asm("sqrt.rn.f32 %0, %1;" : "=f"(root) : "f"(value));
  return root;
}

// ---- matrix products: acc += a * b^T on 16 x 16 x 8 blocks, see operand.cuh for the fragments ---

HIMUON_DEVICE void mma_f16(float (&acc)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#else
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(a0), "r"(a1), "r"(b0));
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(a2), "r"(a3), "r"(b1));
#endif
}

#if __CUDA_ARCH__ >= 800
HIMUON_DEVICE void mma_bf16(float (&acc)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

HIMUON_DEVICE void mma_tf32(float (&acc)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
#endif

// ---- shared memory, addressed by 32-bit window offsets -------------------------------------------

HIMUON_DEVICE u32 shared_address(const void* pointer) {
  u32 address;
  asm("{ .reg .u64 a; cvta.to.shared.u64 a, %1; cvt.u32.u64 %0, a; }"
      : "=r"(address)
      : "l"(pointer));
  return address;
}

// Four 8 x 8 blocks of 16-bit numbers; lane l gives the address of row l % 8 of block l / 8.
HIMUON_DEVICE void load_matrices(u32& r0, u32& r1, u32& r2, u32& r3, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)
               : "r"(address)
               : "memory");
}
HIMUON_DEVICE void load_matrices_transposed(u32& r0, u32& r1, u32& r2, u32& r3, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)
               : "r"(address)
               : "memory");
}
// The reverse of load_matrices, from compute capability 9.0 on.
#if __CUDA_ARCH__ >= 900
static constexpr bool STORES_MATRICES = true;
HIMUON_DEVICE void store_matrices(u32 address, u32 r0, u32 r1, u32 r2, u32 r3) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(r0), "r"(r1),
               "r"(r2), "r"(r3)
               : "memory");
}
#else
static constexpr bool STORES_MATRICES = false;
template <class... Words>
HIMUON_DEVICE void store_matrices(u32, Words...) {}
#endif
HIMUON_DEVICE void store_shared(u32 address, u32 word) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(word) : "memory");
}
HIMUON_DEVICE void store_shared2(u32 address, u32 w0, u32 w1) {
  asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(address), "r"(w0), "r"(w1) : "memory");
}
HIMUON_DEVICE void store_shared4(u32 address, u32 w0, u32 w1, u32 w2, u32 w3) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(w0), "r"(w1), "r"(w2), "r"(w3)
               : "memory");
}
HIMUON_DEVICE u32 load_shared(u32 address) {
  u32 word;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(word) : "r"(address) : "memory");
  return word;
}
HIMUON_DEVICE void load_shared2(u32& w0, u32& w1, u32 address) {
  asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];" : "=r"(w0), "=r"(w1) : "r"(address) : "memory");
}
HIMUON_DEVICE void load_shared4(u32& w0, u32& w1, u32& w2, u32& w3, u32 address) {
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(w0), "=r"(w1), "=r"(w2), "=r"(w3)
               : "r"(address)
               : "memory");
}

// ---- copies from global to shared memory behind the computation -----------------------------------

// Sixteen bytes, both sides aligned to sixteen; zeros where they are not wanted. Before 8.0 the copy is done at once.
HIMUON_DEVICE void copy_to_shared(u32 address, const void* pointer, bool wanted) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "{ .reg .u64 a; cvta.to.global.u64 a, %1; cp.async.cg.shared.global [%0], [a], 16, %2; }" ::"r"(address),
      "l"(pointer), "r"(wanted ? 16u : 0u)
      : "memory");
#else
  asm volatile(
      "{ .reg .pred p; .reg .u64 a; .reg .b32 w<4>; setp.ne.u32 p, %2, 0; cvta.to.global.u64 a, %1; mov.b32 w0, 0;"
      " mov.b32 w1, 0; mov.b32 w2, 0; mov.b32 w3, 0; @p ld.global.v4.b32 {w0, w1, w2, w3}, [a];"
      " st.shared.v4.b32 [%0], {w0, w1, w2, w3}; }" ::"r"(address),
      "l"(pointer), "r"(u32(wanted))
      : "memory");
#endif
}
// Closes the group of the copies since the last one.
HIMUON_DEVICE void close_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits for this thread's copies but those of the latest PENDING groups.
template <int PENDING>
HIMUON_DEVICE void await_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

// ---- global memory; a false predicate loads zeros and stores nothing -----------------------------

HIMUON_DEVICE u32 load_global_u16(const void* pointer, bool wanted) {
  u32 word;
  asm volatile(
      "{ .reg .pred p; .reg .u64 a; .reg .b16 h; setp.ne.u32 p, %2, 0; cvta.to.global.u64 a, %1; mov.b16 h, 0;"
      " @p ld.global.b16 h, [a]; cvt.u32.u16 %0, h; }"
      : "=r"(word)
      : "l"(pointer), "r"(u32(wanted))
      : "memory");
  return word;
}
HIMUON_DEVICE u32 load_global(const void* pointer, bool wanted) {
  u32 word;
  asm volatile(
      "{ .reg .pred p; .reg .u64 a; setp.ne.u32 p, %2, 0; cvta.to.global.u64 a, %1; mov.b32 %0, 0;"
      " @p ld.global.b32 %0, [a]; }"
      : "=r"(word)
      : "l"(pointer), "r"(u32(wanted))
      : "memory");
  return word;
}
HIMUON_DEVICE void load_global2(u32& w0, u32& w1, const void* pointer, bool wanted) {
  asm volatile(
      "{ .reg .pred p; .reg .u64 a; setp.ne.u32 p, %3, 0; cvta.to.global.u64 a, %2; mov.b32 %0, 0; mov.b32 %1, 0;"
      " @p ld.global.v2.b32 {%0, %1}, [a]; }"
      : "=&r"(w0), "=&r"(w1)
      : "l"(pointer), "r"(u32(wanted))
      : "memory");
}
HIMUON_DEVICE void load_global4(u32& w0, u32& w1, u32& w2, u32& w3, const void* pointer, bool wanted) {
  asm volatile(
      "{ .reg .pred p; .reg .u64 a; setp.ne.u32 p, %5, 0; cvta.to.global.u64 a, %4; mov.b32 %0, 0; mov.b32 %1, 0;"
      " mov.b32 %2, 0; mov.b32 %3, 0; @p ld.global.v4.b32 {%0, %1, %2, %3}, [a]; }"
      : "=&r"(w0), "=&r"(w1), "=&r"(w2), "=&r"(w3)
      : "l"(pointer), "r"(u32(wanted))
      : "memory");
}
HIMUON_DEVICE void store_global_u16(void* pointer, u32 word, bool wanted) {
  asm volatile(
      "{ .reg .pred p; .reg .u64 a; .reg .b16 h; setp.ne.u32 p, %2, 0; cvta.to.global.u64 a, %0; cvt.u16.u32 h, %1;"
      " @p st.global.b16 [a], h; }" ::"l"(pointer),
      "r"(word), "r"(u32(wanted))
      : "memory");
}
HIMUON_DEVICE void store_global(void* pointer, u32 word, bool wanted) {
  asm volatile(
      "{ .reg .pred p; .reg .u64 a; setp.ne.u32 p, %2, 0; cvta.to.global.u64 a, %0; @p st.global.b32 [a], %1; }" ::"l"(
          pointer),
      "r"(word), "r"(u32(wanted))
      : "memory");
}
HIMUON_DEVICE void store_global2(void* pointer, u32 w0, u32 w1, bool wanted) {
  asm volatile(
      "{ .reg .pred p; .reg .u64 a; setp.ne.u32 p, %3, 0; cvta.to.global.u64 a, %0;"
      " @p st.global.v2.b32 [a], {%1, %2}; }" ::"l"(pointer),
      "r"(w0), "r"(w1), "r"(u32(wanted))
      : "memory");
}
HIMUON_DEVICE void store_global4(void* pointer, u32 w0, u32 w1, u32 w2, u32 w3, bool wanted) {
  asm volatile(
      "{ .reg .pred p; .reg .u64 a; setp.ne.u32 p, %5, 0; cvta.to.global.u64 a, %0;"
      " @p st.global.v4.b32 [a], {%1, %2, %3, %4}; }" ::"l"(pointer),
      "r"(w0), "r"(w1), "r"(w2), "r"(w3), "r"(u32(wanted))
      : "memory");
}

// An integer counter in global memory; the order of additions does not change the sum.
HIMUON_DEVICE void add_to_counter(u32* counter, u32 amount) {
  asm volatile("{ .reg .u64 a; cvta.to.global.u64 a, %0; red.global.add.u32 [a], %1; }" ::"l"(counter), "r"(amount)
               : "memory");
}

// The same value, of which the compiler forgets where it came from: what is derived from it inside a
// loop is not computed before the loop and kept in registers.
HIMUON_DEVICE u32 forget(u32 value) {
  asm volatile("" : "+r"(value));
  return value;
}

// ---- threads ----------------------------------------------------------------------------------------

// A value that all lanes of a warp have in common.
HIMUON_DEVICE u32 uniform(u32 word) { return __shfl_sync(0xffffffffu, word, 0); }
HIMUON_DEVICE u32 shuffle_xor(u32 word, int mask) { return __shfl_xor_sync(0xffffffffu, word, mask); }
HIMUON_DEVICE float shuffle_xor(float value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

}  // namespace himuon

namespace himuon {

// Combines one number of every thread of the block; every thread gets the result.
template <class Combine>
HIMUON_DEVICE float over_block(float value, Combine combine) {
  __shared__ float parts[32];
#pragma unroll
  for (int mask = 16; mask > 0; mask >>= 1) value = combine(value, shuffle_xor(value, mask));
  __syncthreads();  // the previous use has been read
  if (threadIdx.x % 32u == 0u) parts[threadIdx.x / 32u] = value;
  __syncthreads();
  value = parts[0];
  for (u32 warp = 1; warp < blockDim.x / 32u; warp++) value = combine(value, parts[warp]);
  return value;
}
HIMUON_DEVICE float sum_over_block(float value) {
  return over_block(value, [](float a, float b) { return a + b; });
}
HIMUON_DEVICE float largest_over_block(float value) {
  return over_block(value, [](float a, float b) { return a > b ? a : b; });
}

}  // namespace himuon
// ---- plain/element.cuh
// Numbers in memory and operands of products, one at a time.

namespace himuon {

struct F32 {
  using Word = float;
  HIMUON_DEVICE float load(Word word) { return word; }
  HIMUON_DEVICE Word store(float value) { return value; }
};

struct Bf16 {
  using Word = u16;
  HIMUON_DEVICE float load(Word word) { return low_bf16(word); }
  HIMUON_DEVICE Word store(float value) { return Word(pack_bf16(value, 0.0f)); }
};

struct F16 {
  using Word = u16;
  HIMUON_DEVICE float load(Word word) { return low_f16(word); }
  HIMUON_DEVICE Word store(float value) { return Word(pack_f16(value, 0.0f)); }
};

// Ten mantissa bits, ties away from zero, as the tensor cores' conversion.
struct Tf32 {
  using Word = float;
  HIMUON_DEVICE float load(Word word) { return word; }
  HIMUON_DEVICE Word store(float value) { return float_of((bits_of(value) + 0x1000u) & 0xffffe000u); }
};

// A number as type `Element` holds it.
template <class Element>
HIMUON_DEVICE float rounded(float value) {
  return Element::load(Element::store(value));
}

HIMUON_DEVICE bool finite(float value) { return absolute(value) < float_of(0x7f800000u); }

}  // namespace himuon

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
// ---- plain/powers.cuh
// Recurrences in two variables: U S^p V^T, 0 < p < 1. Each leaves its result in `x`.

namespace himuon {

// Two products a step: Y <- aY + dX + A (bY + eX), A = Y Y^T, on X / nu, nu = ||X X^T||_F^(1/2).
template <class Kernel>
struct Fitted {
  Work<Kernel>& work;
  float nu;

  __device__ __forceinline__ explicit Fitted(Work<Kernel>& work) : work(work) {
    work.multiply_transposed(work.x);
    nu = square_root(square_root(sum(work.square(), [&](u64 i) { return work.gram[i] * work.gram[i]; })));
    const float inverse = nu > 0.0f ? 1.0f / nu : 0.0f;
    each(work.size(), [&](u64 i) { work.y[i] = work.x[i] = work.x[i] * inverse; });
  }

  __device__ __forceinline__ void step(float a, float b, float d, float e) {
    work.multiply_transposed(work.y);
    each(work.size(), [&](u64 i) { work.mix[i] = __fmaf_rn(b, work.y[i], e * work.x[i]); });
    each(work.size(), [&](u64 i) {
      work.next[i] = __fmaf_rn(a, work.y[i], __fmaf_rn(d, work.x[i], work.product(work.gram, work.mix, i)));
    });
    swap(work.y, work.next);
  }

  __device__ __forceinline__ void finish(float power) {
    const float factor = nu > 0.0f ? powf(nu, power) : 0.0f;
    each(work.size(), [&](u64 i) { work.x[i] = work.y[i] * factor; });
  }
};

// Q = aI - b Y Y^T; X <- Q^n X; Y <- Q^m Y, from Y = X; p = 1 - n/m.
template <class Kernel>
struct Coupled {
  Work<Kernel>& work;

  __device__ __forceinline__ explicit Coupled(Work<Kernel>& work) : work(work) {
    each(work.size(), [&](u64 i) { work.y[i] = work.x[i]; });
  }

  __device__ __forceinline__ void step(float a, float b, u32 n, u32 m) {
    work.multiply_transposed(work.y);
    each(work.square(), [&](u64 index) {
      const float diagonal = index / work.rows == index % work.rows ? a : 0.0f;
      work.gram[index] = __fmaf_rn(-b, work.gram[index], diagonal);
    });
    for (u32 turn = 0; turn < n; turn++) multiply(work.x);
    for (u32 turn = 0; turn < m; turn++) multiply(work.y);
  }

 private:
  __device__ __forceinline__ void multiply(float*& matrix) {
    each(work.size(), [&](u64 i) { work.next[i] = work.product(work.gram, matrix, i); });
    swap(matrix, work.next);
  }
};

// The published p = 1/3 form: Y <- Y - c (Y Y^T Y - X), from Y = X (arXiv 2606.13867).
template <class Kernel>
struct Authors {
  Work<Kernel>& work;

  __device__ __forceinline__ explicit Authors(Work<Kernel>& work) : work(work) {
    each(work.size(), [&](u64 i) { work.y[i] = work.x[i]; });
  }

  __device__ __forceinline__ void step(float damping) {
    work.multiply_transposed(work.y);
    each(work.size(), [&](u64 i) {
      const float cube = work.product(work.gram, work.y, i);
      work.next[i] = __fmaf_rn(-damping, cube - work.x[i], work.y[i]);
    });
    swap(work.y, work.next);
  }

  __device__ __forceinline__ void finish() {
    each(work.size(), [&](u64 i) { work.x[i] = work.y[i]; });
  }
};

}  // namespace himuon
// ---- plain/step.cuh
// The optimizer step of one tile around the map, or the map alone, of the gradient into the weight.
// ---- lib/criterion.cuh
// When a tile is orthogonalised at all (MiMuon, arXiv 2605.19619), and what it gets otherwise.

namespace himuon {

enum Criterion {
  CRITERION_ALWAYS = 0,
  CRITERION_NORM = 1,            // ||M||_F >= threshold, before any product
  CRITERION_EFFECTIVE_RANK = 2,  // 1 / (r ||X X^T||_F^2) >= threshold, after the first Gram matrix
  CRITERION_NUCLEAR_RANK = 3,    // <X, O>^2 / r >= threshold
};

// Which iteration maps a tile.
enum Recurrence {
  RECURRENCE_ODD = 0,       // odd polynomials of X
  RECURRENCE_FITTED = 1,    // Y <- a Y + d X + A (b Y + e X)
  RECURRENCE_COUPLED = 2,   // Z <- Q^n Z, Y <- Q^m Y
  RECURRENCE_IDENTITY = 3,  // none: p = 1
};

enum Otherwise {
  OTHERWISE_MOMENTUM = 0,     // M itself, without the tile scale
  OTHERWISE_RMS_MATCHED = 1,  // sqrt(r) X, scaled like a mapped tile
};

}  // namespace himuon
// ---- lib/launch.cuh
// The device tables of one launch: matrices, groups, reports (each aligned to 16 bytes), and where a tile lies.

namespace himuon {

// One matrix, 64 bytes. Row i of a tensor starts at i * leading dimension; momentum and `mapped` are contiguous.
struct __align__(16) Matrix {
  u64 gradient;
  u64 momentum;
  u64 weight;
  float* mapped;  // rows x columns, power > 0 only: the mapped tiles between the launches
  u32 rows;
  u32 columns;
  u32 gradient_leading;
  u32 weight_leading;
  u32 first_tile;  // tiles are numbered through all matrices, row by row
  u32 group;
  float factor;   // power > 0: written by `himuon_norm`, what the update is multiplied by
  float largest;  // power > 0: the largest tile norm
};

// The run-time scalars of a parameter group, 32 bytes:
// buf <- mu buf + c g; m <- alpha g + beta buf; W <- (1 - lr wd) W - lr scale(map(m)).
struct __align__(16) Group {
  float learning_rate;
  float weight_decay;
  float mu;
  float c;
  float alpha;
  float beta;
  float scale_factor;
  u32 scale_rule;
};

enum ScaleRule : u32 {
  SCALE_EXACT = 0,
  SCALE_PAPER = 1,
  SCALE_ORIGINAL = 2,
  SCALE_MATCH_RMS_ADAMW = 3,
  SCALE_NONE = 4,
};

// What became of one tile, 16 bytes.
struct __align__(16) TileReport {
  float norm;                 // ||M||_F before the map
  float inner_product;        // <X, O>, X = M / ||M||_F; 0 where the map was skipped
  float mapped_norm_squared;  // ||O||_F^2; 0 where the map was skipped
  u32 flags;
};
static constexpr u32 TILE_NON_FINITE = 1u;
static constexpr u32 TILE_UNORTHOGONALISED = 2u;

// Counters of a launch, added to: tiles left alone because they were not finite, and tiles that the
// criterion left unorthogonalised.
static constexpr u32 COUNTER_NON_FINITE = 0u;
static constexpr u32 COUNTER_UNORTHOGONALISED = 1u;

// What a launch hands to every tile.
struct Launch {
  const Matrix* matrices;
  u32 matrix_count;
  const Group* groups;
  TileReport* reports;  // null: not wanted
  u32 tile_count;
  u32* counters;  // null: not wanted
};

// A launch recorded for the steps first .. end - 1 does nothing at any other.
HIMUON_DEVICE bool step_in_range(const u32* step, u32 first, u32 end) {
  return step == nullptr || (*step >= first && *step < end);
}

struct Place {
  Matrix matrix;
  u32 row, column;    // of the tile's corner
  u32 rows, columns;  // of the tile as cut
};

HIMUON_DEVICE u32 smaller(u32 a, u32 b) { return a < b ? a : b; }
HIMUON_DEVICE u32 larger(u32 a, u32 b) { return a > b ? a : b; }

// The matrix of tile `tile`: the last one whose first tile is not beyond it.
HIMUON_DEVICE u32 matrix_of(const Matrix* matrices, u32 count, u32 tile) {
  u32 low = 0, high = count;
  while (high - low > 1u) {
    const u32 middle = (low + high) >> 1;
    if (matrices[middle].first_tile <= tile)
      low = middle;
    else
      high = middle;
  }
  return low;
}

HIMUON_DEVICE Place place_of(const Matrix& matrix, u32 tile, u32 tile_rows, u32 tile_columns) {
  Place place;
  place.matrix = matrix;
  const u32 index = tile - matrix.first_tile;
  const u32 across = (matrix.columns - 1u) / tile_columns + 1u;
  const u32 down = index / across;
  place.row = down * tile_rows;
  place.column = (index - down * across) * tile_columns;
  place.rows = smaller(tile_rows, matrix.rows - place.row);
  place.columns = smaller(tile_columns, matrix.columns - place.column);
  return place;
}

// What a mapped tile is multiplied by at p = 0, before the learning rate.
HIMUON_DEVICE float tile_scale(const Group& group, const Place& place, u32 tile_rows, u32 tile_columns) {
  const Matrix& matrix = place.matrix;
  const bool whole = tile_rows >= matrix.rows && tile_columns >= matrix.columns;
  u32 edge = larger(place.rows, place.columns);
  switch (group.scale_rule) {
    case SCALE_PAPER:
      edge = whole ? larger(matrix.rows, matrix.columns) : larger(tile_rows, tile_columns);
      break;
    case SCALE_ORIGINAL: {
      const float ratio = float(matrix.rows) / float(matrix.columns);
      return square_root(ratio > 1.0f ? ratio : 1.0f);
    }
    case SCALE_MATCH_RMS_ADAMW:
      edge = larger(matrix.rows, matrix.columns);
      break;
    case SCALE_NONE:
      return 1.0f;
    default:
      break;
  }
  return group.scale_factor * square_root(float(edge));
}

}  // namespace himuon
// ---- lib/matrix_norm.cuh
// p > 0: the scale comes from the norm of the whole matrix, so a step is three launches. The first writes
// momentum, maps and reports; here each matrix's factor is found, for the third, which updates the weights.

namespace himuon {

// Threads of the block that finds a matrix's factor: a matrix has hundreds of thousands of small tiles, whatever threads one of them takes.
static constexpr u32 NORM_THREADS = 512u;

// One block per matrix: v_t = f_t^p Y_t of its finite tiles, the factor that sets the RMS of v to scale_factor.
// f_t / max f_t stands for f_t: the maximum cancels and guards against overflow.
template <class Kernel>
HIMUON_DEVICE void matrix_factor(Matrix& matrix, u32 tile_end, const Group* groups, const TileReport* reports) {
  const u32 first = matrix.first_tile;
  float largest = 0.0f;
  for (u32 tile = first + threadIdx.x; tile < tile_end; tile += blockDim.x)
    largest = reports[tile].norm > largest ? reports[tile].norm : largest;
  largest = largest_over_block(largest);
  float square = 0.0f, elements = 0.0f;
  for (u32 tile = first + threadIdx.x; tile < tile_end; tile += blockDim.x) {
    const TileReport report = reports[tile];
    if (report.flags & TILE_NON_FINITE) continue;
    const Place place = place_of(matrix, tile, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
    elements += float(place.rows) * float(place.columns);
    if (largest == 0.0f) continue;
    const float part = powf(report.norm / largest, Kernel::POWER);
    square = __fmaf_rn(part * part, report.mapped_norm_squared, square);
  }
  square = sum_over_block(square);
  elements = sum_over_block(elements);
  if (threadIdx.x != 0) return;
  matrix.factor = square > 0.0f ? groups[matrix.group].scale_factor * square_root(elements / square) : 0.0f;
  matrix.largest = largest;
}

// What the third launch multiplies the map of a tile by, before the learning rate: factor (f_t / max f)^p.
template <class Kernel>
HIMUON_DEVICE float tile_factor(const Matrix& matrix, const TileReport& report) {
  return matrix.largest > 0.0f ? matrix.factor * powf(report.norm / matrix.largest, Kernel::POWER) : 0.0f;
}

}  // namespace himuon

namespace himuon {

// One tile of a matrix with its group. Elements are numbered as the workspace holds them.
template <class Kernel, bool OPTIMIZER>
struct Tile {
  using Weight = typename Kernel::Weight;
  using Momentum = typename Kernel::Momentum;

  Place place;
  Group group;
  bool transposed;
  u32 rows;
  u32 columns;

  HIMUON_DEVICE Tile at(const Launch& launch, u32 index) {
    Tile tile;
    const Matrix& matrix = launch.matrices[matrix_of(launch.matrices, launch.matrix_count, index)];
    tile.place = place_of(matrix, index, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
    if (OPTIMIZER) tile.group = launch.groups[matrix.group];
    tile.transposed = tile.place.rows > tile.place.columns;
    tile.rows = smaller(tile.place.rows, tile.place.columns);
    tile.columns = larger(tile.place.rows, tile.place.columns);
    return tile;
  }

  __device__ __forceinline__ u64 size() const { return u64(rows) * columns; }
  // Where element `index` of the tile lies in a tensor.
  __device__ __forceinline__ u64 in(u64 index, u32 leading) const {
    const u32 major = u32(index / columns), minor = u32(index % columns);
    return u64(place.row + (transposed ? minor : major)) * leading + place.column + (transposed ? major : minor);
  }

  __device__ __forceinline__ float gradient(u64 index) const {
    const auto* words = reinterpret_cast<const typename Weight::Word*>(place.matrix.gradient);
    return Weight::load(words[in(index, place.matrix.gradient_leading)]);
  }
  __device__ __forceinline__ typename Momentum::Word& momentum(u64 index) const {
    return reinterpret_cast<typename Momentum::Word*>(place.matrix.momentum)[in(index, place.matrix.columns)];
  }
  __device__ __forceinline__ typename Weight::Word& weight(u64 index) const {
    return reinterpret_cast<typename Weight::Word*>(place.matrix.weight)[in(index, place.matrix.weight_leading)];
  }
  __device__ __forceinline__ float& mapped(u64 index) const {
    return place.matrix.mapped[in(index, place.matrix.columns)];
  }

  // buf <- mu buf + c g
  __device__ __forceinline__ float buffer(u64 index) const {
    return __fmaf_rn(group.mu, Momentum::load(momentum(index)), group.c * gradient(index));
  }
  // m <- alpha g + beta buf
  __device__ __forceinline__ float update(u64 index) const {
    if (!OPTIMIZER) return gradient(index);
    return __fmaf_rn(group.beta, buffer(index), group.alpha * gradient(index));
  }
  __device__ __forceinline__ bool usable(u64 index) const {
    if (!OPTIMIZER) return finite(gradient(index));
    return finite(gradient(index)) && finite(Momentum::load(momentum(index))) && finite(update(index));
  }

  __device__ __forceinline__ void keep_momentum() const {
    if (OPTIMIZER) each(size(), [&](u64 i) { momentum(i) = Momentum::store(buffer(i)); });
  }
  // W <- (1 - lr wd) W - lr u(i), or u(i) itself where there is no optimizer.
  template <class Update>
  __device__ __forceinline__ void write(Update u) const {
    const float keep = OPTIMIZER ? 1.0f - group.learning_rate * group.weight_decay : 0.0f;
    each(size(), [&](u64 i) {
      const float changed = OPTIMIZER ? __fmaf_rn(-group.learning_rate, u(i), keep * Weight::load(weight(i))) : u(i);
      weight(i) = Weight::store(changed);
    });
  }
};

// Puts X = M / ||M||_F into the workspace and returns ||M||_F; the norm is scaled by the largest element, so
// that it neither overflows nor underflows. A NaN is returned for a tile that is not finite.
template <class Kernel, bool OPTIMIZER>
HIMUON_DEVICE float normalise(const Tile<Kernel, OPTIMIZER>& tile, const Work<Kernel>& work) {
  float bad = 0.0f, largest = 0.0f;
  for (u64 i = threadIdx.x; i < tile.size(); i += blockDim.x) {
    const float value = work.stored(tile.update(i));
    work.x[i] = value;
    if (!tile.usable(i)) bad = 1.0f;
    if (absolute(value) > largest) largest = absolute(value);
  }
  if (largest_over_block(bad) > 0.0f) return float_of(0x7fffffffu);
  largest = largest_over_block(largest);
  if (largest == 0.0f) return 0.0f;
  const float inside = square_root(sum(tile.size(), [&](u64 i) {
    const float value = work.x[i] / largest;
    return value * value;
  }));
  const float norm = largest * inside;
  each(tile.size(), [&](u64 i) {
    work.x[i] = Kernel::REFERENCE ? work.stored(work.x[i] / (norm + 1e-7f)) : work.x[i] / largest / inside;
  });
  return norm;
}

// Whether the tile is worth mapping, as far as that is known before.
template <class Kernel>
HIMUON_DEVICE bool holds_before(const Work<Kernel>& work, float norm) {
  if (Kernel::CRITERION == CRITERION_NORM) return norm >= Kernel::threshold();
  if (Kernel::CRITERION != CRITERION_EFFECTIVE_RANK) return true;
  work.multiply_transposed(work.x);
  const float square = sum(work.square(), [&](u64 i) { return work.gram[i] * work.gram[i]; });
  return (square > 0.0f ? 1.0f / (float(work.rows) * square) : 0.0f) >= Kernel::threshold();
}

// Puts the mapped tile into `work.x` and says what became of it.
template <class Kernel, bool OPTIMIZER>
HIMUON_DEVICE TileReport mapped_tile(const Tile<Kernel, OPTIMIZER>& tile, Work<Kernel>& work) {
  TileReport report = {0.0f, 0.0f, 0.0f, 0};
  report.norm = normalise(tile, work);
  if (!(report.norm >= 0.0f)) {
    report.norm = 0.0f;
    report.flags = TILE_NON_FINITE;
    return report;
  }
  if (!holds_before(work, report.norm)) {
    report.flags = TILE_UNORTHOGONALISED;
    return report;
  }
  if (report.norm > 0.0f) Kernel::map(work);
  const float inverse = report.norm > 0.0f ? 1.0f / report.norm : 0.0f;
  report.inner_product = sum(tile.size(), [&](u64 i) { return tile.update(i) * inverse * work.x[i]; });
  report.mapped_norm_squared = sum(tile.size(), [&](u64 i) { return work.x[i] * work.x[i]; });
  if (Kernel::CRITERION == CRITERION_NUCLEAR_RANK &&
      !(report.inner_product * report.inner_product / float(work.rows) >= Kernel::threshold()))
    report.flags = TILE_UNORTHOGONALISED;
  return report;
}

template <class Kernel, bool OPTIMIZER>
HIMUON_DEVICE void finish_tile(const Tile<Kernel, OPTIMIZER>& tile, const Work<Kernel>& work, const TileReport& report) {
  if (OPTIMIZER && Kernel::MATRIX_NORMALISED) {
    tile.keep_momentum();  // first: `mapped` may lie where the gradient lies
    each(tile.size(), [&](u64 i) { tile.mapped(i) = work.x[i]; });
  } else {
    const float scale = OPTIMIZER ? tile_scale(tile.group, tile.place, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS) : 1.0f;
    if (!(report.flags & TILE_UNORTHOGONALISED)) {
      tile.write([&](u64 i) { return scale * work.x[i]; });
    } else if (Kernel::OTHERWISE == OTHERWISE_MOMENTUM) {
      tile.write([&](u64 i) { return tile.update(i); });
    } else {
      const float inverse = report.norm > 0.0f ? scale * square_root(float(tile.rows)) / report.norm : 0.0f;
      tile.write([&](u64 i) { return tile.update(i) * inverse; });
    }
    tile.keep_momentum();
  }
}

// The body of both entry points: blocks take tiles in turn.
template <class Kernel, bool OPTIMIZER>
HIMUON_DEVICE void run_tiles(const Launch& launch, float* workspace, u64 workspace_of_block) {
  for (u32 index = blockIdx.x; index < launch.tile_count; index += gridDim.x) {
    const auto tile = Tile<Kernel, OPTIMIZER>::at(launch, index);
    auto work = Work<Kernel>::at(workspace + blockIdx.x * workspace_of_block, tile.rows, tile.columns);
    const TileReport report = mapped_tile(tile, work);
    if (threadIdx.x == 0) {
      if (launch.reports != nullptr) launch.reports[index] = report;
      if (launch.counters != nullptr && report.flags != 0u)
        add_to_counter(launch.counters + (report.flags & TILE_NON_FINITE ? COUNTER_NON_FINITE : COUNTER_UNORTHOGONALISED), 1u);
    }
    if (!(report.flags & TILE_NON_FINITE)) finish_tile(tile, work, report);
  }
}

// The third launch at p > 0: W <- (1 - lr wd) W - lr factor (f_t / max f)^p Y_t.
template <class Kernel>
HIMUON_DEVICE void update_tiles(const Launch& launch) {
  for (u32 index = blockIdx.x; index < launch.tile_count; index += gridDim.x) {
    const TileReport report = launch.reports[index];
    if (report.flags & TILE_NON_FINITE) continue;
    const auto tile = Tile<Kernel, true>::at(launch, index);
    const float factor = tile_factor<Kernel>(tile.place.matrix, report);
    tile.write([&](u64 i) { return factor * tile.mapped(i); });
  }
}

}  // namespace himuon

namespace himuon {

struct Kernel {
  using Weight = F32;
  using Momentum = F32;
  using Operand = F32;
  static constexpr bool REFERENCE = false;
  static constexpr u32 TILE_ROWS = 4294967295u;
  static constexpr u32 TILE_COLUMNS = 4294967295u;
  static constexpr float POWER = 0x1.000000p-1f;
  static constexpr bool MATRIX_NORMALISED = true;
  static constexpr Criterion CRITERION = CRITERION_ALWAYS;
  static constexpr Otherwise OTHERWISE = OTHERWISE_MOMENTUM;
  HIMUON_DEVICE float threshold() { return 0.0f; }

  // X <- map(X), K = 6.
  HIMUON_DEVICE void map(Work<Kernel>& work) {
    Coupled<Kernel> map(work);
    map.step(0x1.4f1374p+1f, 0x1.447ae0p+1f, 1, 2);
    map.step(0x1.d56b64p+0f, 0x1.bcf058p-2f, 1, 2);
    map.step(0x1.cb0052p+0f, 0x1.a30dfep-2f, 1, 2);
    map.step(0x1.b44a28p+0f, 0x1.7a56d0p-2f, 1, 2);
    map.step(0x1.8abe54p+0f, 0x1.453d46p-2f, 1, 2);
    map.step(0x1.5ab7c0p+0f, 0x1.165e66p-2f, 1, 0);
  }
};

}  // namespace himuon

using namespace himuon;

// Workspace of each block, in floats: 4 h w + 2 min(h, w)^2 for the largest tile h x w of the launch. A
// compiler that is given HIMUON_STEP_ALONE or HIMUON_MAP_ALONE makes the kernels of a step alone, or that of the map.

#ifndef HIMUON_MAP_ALONE
// First of three launches: momentum, and the mapped tiles into `mapped`. Any number of blocks.
extern "C" __global__ void __launch_bounds__(256)
himuon_step(const Matrix* matrices, u32 matrix_count, const Group* groups, TileReport* reports, u32 tile_count,
            const u32* step, u32 first_step, u32 end_step, u32* counters, float* workspace, u64 workspace_of_block) {
  if (!step_in_range(step, first_step, end_step)) return;
  const Launch launch{matrices, matrix_count, groups, reports, tile_count, counters};
  run_tiles<Kernel, true>(launch, workspace, workspace_of_block);
}

// Second launch, one block per matrix: the factor that sets the RMS of its update.
extern "C" __global__ void __launch_bounds__(NORM_THREADS)
himuon_norm(Matrix* matrices, u32 matrix_count, const Group* groups, const TileReport* reports, u32 tile_count,
            const u32* step, u32 first_step, u32 end_step) {
  if (!step_in_range(step, first_step, end_step)) return;
  const u32 index = blockIdx.x;
  const u32 tile_end = index + 1u < matrix_count ? matrices[index + 1u].first_tile : tile_count;
  matrix_factor<Kernel>(matrices[index], tile_end, groups, reports);
}

// Third launch: W <- (1 - lr wd) W - lr u. Any number of blocks.
extern "C" __global__ void __launch_bounds__(256)
himuon_update(const Matrix* matrices, u32 matrix_count, const Group* groups, TileReport* reports, u32 tile_count,
              const u32* step, u32 first_step, u32 end_step) {
  if (!step_in_range(step, first_step, end_step)) return;
  const Launch launch{matrices, matrix_count, groups, reports, tile_count, nullptr};
  update_tiles<Kernel>(launch);
}
#endif

#ifndef HIMUON_STEP_ALONE
// The map alone, of the gradient into the weight; momentum and groups are not used. Any number of blocks.
extern "C" __global__ void __launch_bounds__(256)
himuon_map(const Matrix* matrices, u32 matrix_count, const Group* groups, TileReport* reports, u32 tile_count,
           const u32* step, u32 first_step, u32 end_step, u32* counters, float* workspace, u64 workspace_of_block) {
  if (!step_in_range(step, first_step, end_step)) return;
  const Launch launch{matrices, matrix_count, groups, reports, tile_count, counters};
  run_tiles<Kernel, false>(launch, workspace, workspace_of_block);
}
#endif
