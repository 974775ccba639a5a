// HiMuon kernel 0.1.0, generated. Do not edit: remake it with
//   himuon emit --spec 'tile=32x128 steps=6 power=1/2 recurrence=fitted weight=bf16 momentum=f32 operand=bf16 mode=accurate criterion=always coarse=0' --variant 'resident:rows=16,chunk=5,tiles=1' --architecture sm_90a
// specification  tile=32x128 steps=6 power=1/2 recurrence=fitted weight=bf16 momentum=f32 operand=bf16 mode=accurate criterion=always coarse=0
// variant        resident:rows=16,chunk=5,tiles=1
// architecture   sm_90a
// accuracy       |s_K / s^p - 1| <= 5.05e-2 for singular values s of X in [1e-2, 1], p = 1/2; 12 matrix products

// ---- lib/resident_step.cuh
// The whole optimizer step of one tile in one go: gradient, momentum and weight are read once, momentum
// and weight written once, and everything between stays on chip.
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
// ---- lib/power_map.cuh
// 0 < p < 1: U S^p V^T by recurrences in two matrices (arXiv 2606.13867), on the same tile operations.
// ---- lib/newton_schulz.cuh
// One step of an odd polynomial: A = X X^T, X <- a X + (b A + c A^2) X, everything on chip.
// ---- lib/resident_tile.cuh
// How one tile X (rows <= columns) lives on a group of warps, and how they work together.
//
// The rows are cut into STRIPS strips of 16. A warp owns ROW_BLOCKS neighbouring strips over all
// columns, as f32 accumulators. Shared memory holds X once more, as an operand, and the Gram matrix.
//
// Symmetric matrices: strip i computes its 16 x 16 blocks (i, i + e mod STRIPS) for e = 0..REACH only.
// Any other block is the transpose of one that another strip computed. With REACH = STRIPS - 1 every
// strip computes its whole row of blocks and nothing is mirrored. All offsets e are compile-time
// constants; only addresses depend on the warp.
// ---- lib/shared_tile.cuh
// A matrix of operands in shared memory, stored and loaded by 16 x 16 blocks without bank conflicts.
//
// Row-major. 16-bit numbers: the 16-byte chunks of a row are permuted by an exclusive or with bits of
// the row, so that eight rows of one column of chunks cover all 32 banks. 32-bit numbers: groups of
// eight columns likewise, so that four neighbouring rows, and four rows two apart (the transposed
// read), fall into different groups of eight banks.
//
// What a lane adds to an address is found once, permutation included; the column of chunks is one exclusive or
// with its lower bits, and its upper bits and the row are sums that fit into the address of the access.
// ---- lib/operand.cuh
// Operands of the matrix products: 16 x 16 blocks spread over the 32 lanes of a warp.
//
// Lane 4 g + t (g = 0..7, t = 0..3) of a block holds, in `pair[column half][row half]`, the two
// neighbours (row 8 r + g, columns 8 c + 2 t and 8 c + 2 t + 1). This is the layout in which the
// tensor cores return an accumulator, take a left operand and take the transpose of a right operand,
// so that a result becomes either operand of the next product without leaving its registers.
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

// 16 x 16 sums: value[column half][2 * row half + column of the pair].
struct Accumulator {
  float value[2][4];
};

HIMUON_DEVICE void clear(Accumulator& acc) {
#pragma unroll
  for (int c = 0; c < 2; c++)
#pragma unroll
    for (int i = 0; i < 4; i++) acc.value[c][i] = 0.0f;
}
HIMUON_DEVICE void scale(Accumulator& acc, float factor) {
#pragma unroll
  for (int c = 0; c < 2; c++)
#pragma unroll
    for (int i = 0; i < 4; i++) acc.value[c][i] *= factor;
}

#if __CUDA_ARCH__ >= 800
struct OperandBf16 {
  using Pair = u32;
  static constexpr int BYTES = 2;
  HIMUON_DEVICE Pair pack(float low, float high) { return pack_bf16(low, high); }
  HIMUON_DEVICE float low(Pair pair) { return low_bf16(pair); }
  HIMUON_DEVICE float high(Pair pair) { return high_bf16(pair); }
  HIMUON_DEVICE void multiply(float (&acc)[4], Pair a0, Pair a1, Pair a2, Pair a3, Pair b0, Pair b1) {
    mma_bf16(acc, a0, a1, a2, a3, b0, b1);
  }
};
#endif

struct OperandF16 {
  using Pair = u32;
  static constexpr int BYTES = 2;
  HIMUON_DEVICE Pair pack(float low, float high) { return pack_f16(low, high); }
  HIMUON_DEVICE float low(Pair pair) { return low_f16(pair); }
  HIMUON_DEVICE float high(Pair pair) { return high_f16(pair); }
  HIMUON_DEVICE void multiply(float (&acc)[4], Pair a0, Pair a1, Pair a2, Pair a3, Pair b0, Pair b1) {
    mma_f16(acc, a0, a1, a2, a3, b0, b1);
  }
};

#if __CUDA_ARCH__ >= 800
struct WidePair {
  u32 first, second;
};

// One TF32 term. The k index of the products is permuted (2 t and 2 t + 1 for t and t + 4), alike in
// both operands, so that pairs of neighbours serve as they are.
struct OperandTf32 {
  using Pair = WidePair;
  static constexpr int BYTES = 4;
  HIMUON_DEVICE Pair pack(float low, float high) { return {round_tf32(low), round_tf32(high)}; }
  HIMUON_DEVICE float low(Pair pair) { return float_of(pair.first); }
  HIMUON_DEVICE float high(Pair pair) { return float_of(pair.second); }
  HIMUON_DEVICE void multiply(float (&acc)[4], Pair a0, Pair a1, Pair a2, Pair a3, Pair b0, Pair b1) {
    mma_tf32(acc, a0.first, a1.first, a0.second, a1.second, b0.first, b0.second);
    mma_tf32(acc, a2.first, a3.first, a2.second, a3.second, b1.first, b1.second);
  }
};

// Full f32 by three TF32 terms: x = high + low, and high high + high low + low high.
//
// Tensor cores cut off what lies below an accumulator's last places, so that a long sum drifts towards zero. Hence 16 columns are
// summed from zero, and added to the sum so far in f32, rounded to nearest (Ootomo, Yokota, arXiv 2203.03341).
struct OperandF32 {
  using Pair = WidePair;
  static constexpr int BYTES = 4;
  HIMUON_DEVICE Pair pack(float low, float high) { return {bits_of(low), bits_of(high)}; }
  HIMUON_DEVICE float low(Pair pair) { return float_of(pair.first); }
  HIMUON_DEVICE float high(Pair pair) { return float_of(pair.second); }
  HIMUON_DEVICE u32 upper(u32 word) { return round_tf32(float_of(word)); }
  HIMUON_DEVICE u32 rest(u32 word) { return round_tf32(float_of(word) - float_of(upper(word))); }
  HIMUON_DEVICE void multiply8(float (&acc)[4], Pair a0, Pair a1, Pair b) {
    const u32 h0 = upper(a0.first), h1 = upper(a1.first), h2 = upper(a0.second), h3 = upper(a1.second);
    const u32 g0 = upper(b.first), g1 = upper(b.second);
    mma_tf32(acc, rest(a0.first), rest(a1.first), rest(a0.second), rest(a1.second), g0, g1);
    mma_tf32(acc, h0, h1, h2, h3, rest(b.first), rest(b.second));
    mma_tf32(acc, h0, h1, h2, h3, g0, g1);
  }
  HIMUON_DEVICE void multiply(float (&acc)[4], Pair a0, Pair a1, Pair a2, Pair a3, Pair b0, Pair b1) {
    float columns[4] = {};
    multiply8(columns, a0, a1, b0);
    multiply8(columns, a2, a3, b1);
#pragma unroll
    for (int i = 0; i < 4; i++) acc[i] += columns[i];
  }
};
#endif

// A 16 x 16 operand.
template <class Operand>
struct Block {
  typename Operand::Pair pair[2][2];
};

template <class Operand>
HIMUON_DEVICE Block<Operand> pack(const Accumulator& acc) {
  Block<Operand> block;
#pragma unroll
  for (int c = 0; c < 2; c++)
#pragma unroll
    for (int r = 0; r < 2; r++)
      block.pair[c][r] = Operand::pack(acc.value[c][2 * r], acc.value[c][2 * r + 1]);
  return block;
}

template <class Operand>
HIMUON_DEVICE Accumulator unpack(const Block<Operand>& block) {
  Accumulator acc;
#pragma unroll
  for (int c = 0; c < 2; c++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      acc.value[c][2 * r] = Operand::low(block.pair[c][r]);
      acc.value[c][2 * r + 1] = Operand::high(block.pair[c][r]);
    }
  return acc;
}

// acc += a b^T.
template <class Operand>
HIMUON_DEVICE void multiply_add(Accumulator& acc, const Block<Operand>& a, const Block<Operand>& b) {
#pragma unroll
  for (int n = 0; n < 2; n++)
    Operand::multiply(acc.value[n], a.pair[0][0], a.pair[0][1], a.pair[1][0], a.pair[1][1],
                      b.pair[0][n], b.pair[1][n]);
}

}  // namespace himuon

namespace himuon {

template <class Operand, int COLUMNS>
struct SharedTile {
  static constexpr int BYTES = Operand::BYTES;
  // 32-bit rows are padded to whole sets of four groups.
  static constexpr int STRIDE = (BYTES == 2 ? COLUMNS : (COLUMNS + 31) / 32 * 32) * BYTES;
  static constexpr u32 CHUNK_BYTES = BYTES == 2 ? 16 : 32;
  static constexpr u32 CHUNKS = STRIDE / CHUNK_BYTES;
  // Bits of a column of chunks that are permuted. Addresses of whole rows are multiples of (MASK + 1) chunks.
  static constexpr u32 MASK = BYTES == 4 || CHUNKS % 8 == 4 ? 3 : CHUNKS % 8 == 0 ? 7 : 1;

  // Addresses of this lane in block (0, 0): of a stored block, and of a loaded one. ldmatrix fills four
  // neighbouring registers, and the tensor cores take a left operand from four neighbours and a right one from
  // two: two orders of the 8 x 8 blocks, down the columns first or along the rows first.
  u32 stored;
  u32 down;
  u32 along;

  HIMUON_DEVICE u32 permutation(u32 row) {
    if constexpr (BYTES == 4)
      return ((row >> 1) & 1u) | (((row ^ (row >> 2)) & 1u) << 1);
    else if constexpr (MASK == 7)
      return row & 7u;
    else if constexpr (MASK == 3)
      return (row >> 1) & 3u;
    else
      return (row >> 2) & 1u;
  }

  // `base`: a multiple of (MASK + 1) chunks.
  HIMUON_DEVICE SharedTile at(u32 base, u32 lane) {
    SharedTile tile;
    const u32 g = lane >> 2, t = lane & 3u;
    tile.stored = base + g * STRIDE + permutation(g) * CHUNK_BYTES + (BYTES == 2 ? 4u : 8u) * t;
    if constexpr (BYTES == 2) {
      // ldmatrix: lane l addresses row l % 8 of the 8 x 8 block l / 8.
      const u32 near = lane & 7u, odd = (lane >> 3) & 1u, upper = lane >> 4;
      tile.down = base + (near + 8u * odd) * STRIDE + (upper ^ permutation(near)) * CHUNK_BYTES;
      tile.along = base + (near + 8u * upper) * STRIDE + (odd ^ permutation(near)) * CHUNK_BYTES;
    } else {
      tile.down = tile.stored;
      tile.along = base + 2u * t * STRIDE + permutation(2u * t) * CHUNK_BYTES + 4u * g;
    }
    return tile;
  }

  // A lane's address in the column of chunks `column`, 16 `row_block` + `row` rows further down.
  HIMUON_DEVICE u32 place(u32 lane, u32 row_block, u32 row, u32 column) {
    const u32 permuted = column & MASK;
    return (lane ^ (permuted * CHUNK_BYTES)) + (row_block * 16u + row) * STRIDE + (column - permuted) * CHUNK_BYTES;
  }

  // Byte offset of sixteen bytes of a row, `sixteen` in units of them.
  HIMUON_DEVICE u32 offset(u32 row, u32 sixteen) {
    constexpr u32 PARTS = CHUNK_BYTES / 16;
    return row * STRIDE + ((sixteen / PARTS) ^ permutation(row)) * CHUNK_BYTES + sixteen % PARTS * 16u;
  }

  __device__ __forceinline__ void store(u32 row_block, u32 column_block, const Block<Operand>& block) const {
    if constexpr (BYTES == 2 && STORES_MATRICES) {
      store_matrices(place(down, row_block, 0, column_block * 2u), block.pair[0][0], block.pair[0][1], block.pair[1][0],
                     block.pair[1][1]);
      return;
    }
#pragma unroll
    for (u32 c = 0; c < 2; c++)
#pragma unroll
      for (u32 r = 0; r < 2; r++) {
        const u32 address = place(stored, row_block, r * 8u, column_block * 2u + c);
        if constexpr (BYTES == 2)
          store_shared(address, block.pair[c][r]);
        else
          store_shared2(address, block.pair[c][r].first, block.pair[c][r].second);
      }
  }

  // The stored block, and the transpose of the stored block, as a left and as a right operand.
  __device__ __forceinline__ Block<Operand> left(u32 row_block, u32 column_block) const {
    if constexpr (BYTES == 4) {
      return wide(row_block, column_block);
    } else {
      Block<Operand> b;
      load_matrices(b.pair[0][0], b.pair[0][1], b.pair[1][0], b.pair[1][1], place(down, row_block, 0, column_block * 2u));
      return b;
    }
  }
  __device__ __forceinline__ Block<Operand> left_transposed(u32 row_block, u32 column_block) const {
    if constexpr (BYTES == 4) {
      return wide_transposed(row_block, column_block);
    } else {
      Block<Operand> b;
      load_matrices_transposed(b.pair[0][0], b.pair[0][1], b.pair[1][0], b.pair[1][1],
                               place(along, row_block, 0, column_block * 2u));
      return b;
    }
  }
  __device__ __forceinline__ Block<Operand> right(u32 row_block, u32 column_block) const {
    if constexpr (BYTES == 4) {
      return wide(row_block, column_block);
    } else {
      Block<Operand> b;
      load_matrices(b.pair[0][0], b.pair[1][0], b.pair[0][1], b.pair[1][1], place(along, row_block, 0, column_block * 2u));
      return b;
    }
  }
  __device__ __forceinline__ Block<Operand> right_transposed(u32 row_block, u32 column_block) const {
    if constexpr (BYTES == 4) {
      return wide_transposed(row_block, column_block);
    } else {
      Block<Operand> b;
      load_matrices_transposed(b.pair[0][0], b.pair[1][0], b.pair[0][1], b.pair[1][1],
                               place(down, row_block, 0, column_block * 2u));
      return b;
    }
  }

 private:
  __device__ __forceinline__ Block<Operand> wide(u32 row_block, u32 column_block) const {
    Block<Operand> block;
#pragma unroll
    for (u32 c = 0; c < 2; c++)
#pragma unroll
      for (u32 r = 0; r < 2; r++)
        load_shared2(block.pair[c][r].first, block.pair[c][r].second,
                     place(down, row_block, r * 8u, column_block * 2u + c));
    return block;
  }
  __device__ __forceinline__ Block<Operand> wide_transposed(u32 row_block, u32 column_block) const {
    Block<Operand> block;
#pragma unroll
    for (u32 c = 0; c < 2; c++)
#pragma unroll
      for (u32 r = 0; r < 2; r++) {
        const u32 column = column_block * 2u + r;
        block.pair[c][r].first = load_shared(place(along, row_block, c * 8u, column));
        // The permutations of rows 2 t and 2 t + 1 differ in their upper bit alone.
        block.pair[c][r].second = load_shared(place(along, row_block, c * 8u + 1u, column ^ 2u));
      }
    return block;
  }
};

}  // namespace himuon

namespace himuon {

template <class Kernel>
struct Resident {
  using Operand = typename Kernel::Operand;
  static constexpr int ROW_BLOCKS = Kernel::ROW_BLOCKS;
  static constexpr int WARPS = Kernel::WARPS;
  static constexpr int STRIPS = ROW_BLOCKS * WARPS;
  static constexpr int COLUMN_BLOCKS = Kernel::COLUMN_BLOCKS;
  static constexpr int REACH = Kernel::SYMMETRIC ? STRIPS / 2 : STRIPS - 1;
  static constexpr bool MIRRORED = REACH < STRIPS - 1;
  // Offsets, from a warp's first strip, of the block columns that it computes.
  static constexpr int SPAN = MIRRORED ? ROW_BLOCKS + REACH : STRIPS;
  // Block columns worked on at a time; more need more registers.
  static constexpr int CHUNK = Kernel::CHUNK < SPAN ? Kernel::CHUNK : SPAN;
  // A single warp without mirroring has the whole Gram matrix in its registers.
  static constexpr bool GRAM_SHARED = WARPS > 1 || MIRRORED;
  static constexpr int TILES_PER_BLOCK = WARPS == 1 ? Kernel::TILES_PER_BLOCK : 1;
  static constexpr int THREADS = 32 * WARPS * TILES_PER_BLOCK;
  static constexpr int BUFFERS = Kernel::DOUBLE_BUFFER ? 2 : 1;

  using TileX = SharedTile<Operand, 16 * COLUMN_BLOCKS>;
  using TileGram = SharedTile<Operand, 16 * STRIPS>;

  // Shared memory of one tile, in bytes.
  static constexpr int X_BYTES = 16 * STRIPS * TileX::STRIDE;
  static constexpr int GRAM_BYTES = GRAM_SHARED ? 16 * STRIPS * TileGram::STRIDE : 0;
  static constexpr int STAGE_BYTES = Kernel::STAGE_MOMENTUM ? Kernel::Momentum::BYTES * 256 * STRIPS * COLUMN_BLOCKS : 0;
  static constexpr int WORK_BYTES = BUFFERS * X_BYTES + GRAM_BYTES;
  static constexpr int REDUCTIONS = 8;
  static constexpr int SCRATCH_BYTES = WARPS > 1 ? (REDUCTIONS * WARPS * 4 + 127) / 128 * 128 : 0;
  static constexpr int TILE_BYTES = (WORK_BYTES > STAGE_BYTES ? WORK_BYTES : STAGE_BYTES) + SCRATCH_BYTES;
  static constexpr int SHARED_BYTES = TILE_BYTES * TILES_PER_BLOCK;

  // Is block (strip m of this warp, offset r from its first strip) computed here?
  static __device__ constexpr bool computed(int m, int r) {
    return !MIRRORED || (r >= m && r - m <= REACH);
  }
  // Offset along the row of blocks of strip m.
  static __device__ constexpr int offset(int m, int r) { return (r - m + 2 * STRIPS) % STRIPS; }
  // Is a block at this offset read by another strip as its mirror image?
  static __device__ constexpr bool mirrored_elsewhere(int e) {
    return MIRRORED && e >= 1 && e <= STRIPS - 1 - REACH;
  }

  u32 warp;         // of this tile
  u32 lane;
  u32 first_strip;  // of this warp
  u32 shared;       // this tile's shared memory
  u32 scratch;

  HIMUON_DEVICE Resident at(u32 shared_base) {
    Resident site;
    const u32 thread = threadIdx.x;
    site.lane = thread & 31u;
    site.warp = WARPS == 1 ? 0u : thread >> 5;
    const u32 slot = WARPS == 1 ? thread >> 5 : 0u;
    site.first_strip = site.warp * ROW_BLOCKS;
    site.shared = shared_base + slot * TILE_BYTES;
    site.scratch = site.shared + TILE_BYTES - SCRATCH_BYTES;
    return site;
  }

  // The strip r places after this warp's first one, cyclically.
  __device__ __forceinline__ u32 strip(int r) const {
    if constexpr (WARPS == 1) return u32(r) % STRIPS;
    const u32 s = first_strip + u32(r);
    if (r < ROW_BLOCKS) return s;
    if constexpr ((STRIPS & (STRIPS - 1)) == 0) return s & (STRIPS - 1);
    return s >= STRIPS ? s - STRIPS : s;
  }

  // All warps of the tile: what was written to shared memory before is readable after.
  HIMUON_DEVICE void barrier() {
    if constexpr (WARPS == 1)
      __syncwarp();
    else
      __syncthreads();
  }

  // Reductions over the tile in a fixed order; `use` numbers the uses, each has words of its own.
  template <class Combine>
  __device__ __forceinline__ u32 reduce(u32 word, int use, Combine combine) const {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) word = combine(word, shuffle_xor(word, mask));
    if constexpr (WARPS > 1) {
      const u32 words = scratch + use * WARPS * 4;
      if (lane == 0) store_shared(words + warp * 4, word);
      barrier();
      word = load_shared(words);
#pragma unroll
      for (int w = 1; w < WARPS; w++) word = combine(word, load_shared(words + 4 * w));
    }
    return word;
  }
  __device__ __forceinline__ float sum(float value, int use) const {
    return float_of(
        reduce(bits_of(value), use, [](u32 a, u32 b) { return bits_of(float_of(a) + float_of(b)); }));
  }
  __device__ __forceinline__ u32 maximum(u32 word, int use) const {
    return reduce(word, use, [](u32 a, u32 b) { return a > b ? a : b; });
  }
};

}  // namespace himuon

namespace himuon {

template <class Kernel>
struct NewtonSchulz {
  using Site = Resident<Kernel>;
  using Operand = typename Site::Operand;
  using Operation = Block<Operand>;
  using TileX = typename Site::TileX;
  using TileGram = typename Site::TileGram;
  static constexpr int ROW_BLOCKS = Site::ROW_BLOCKS;
  static constexpr int STRIPS = Site::STRIPS;
  static constexpr int REACH = Site::REACH;
  static constexpr int SPAN = Site::SPAN;
  static constexpr int CHUNK = Site::CHUNK;
  static constexpr int COLUMN_BLOCKS = Site::COLUMN_BLOCKS;
  static constexpr bool KEEP_GRAM = Kernel::KEEP_GRAM || !Site::GRAM_SHARED;

  // This warp's rows of X, in f32.
  using Rows = Accumulator[ROW_BLOCKS][COLUMN_BLOCKS];
  // Its computed blocks of the Gram matrix, by offset, when they stay in registers.
  using Kept = Operation[ROW_BLOCKS][KEEP_GRAM ? REACH + 1 : 1];
  using Sums = Accumulator[ROW_BLOCKS][CHUNK];

  Site site;
  TileX x_tile;
  TileGram gram_tile;

  __device__ __forceinline__ NewtonSchulz(const Site& site)
      : site(site), x_tile(TileX::at(site.shared, site.lane)),
        gram_tile(TileGram::at(site.shared + Site::BUFFERS * Site::X_BYTES, site.lane)) {}

  __device__ __forceinline__ void store_rows(const Rows& x) const {
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++) x_tile.store(site.first_strip + m, n, pack<Operand>(x[m][n]));
  }

  static __device__ __forceinline__ void clear_sums(Sums& sums) {
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int r = 0; r < CHUNK; r++) clear(sums[m][r]);
  }

  // Blocks [first, first + CHUNK) of this warp's rows of X X^T. X is in shared memory.
  __device__ __forceinline__ void gram_chunk(const Rows& x, int first, Sums& sums) const {
    clear_sums(sums);
#pragma unroll
    for (int k = 0; k < COLUMN_BLOCKS; k++) {
      Operation left[ROW_BLOCKS];
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++)
        left[m] = Kernel::RELOAD_X ? x_tile.left(site.first_strip + m, k) : pack<Operand>(x[m][k]);
#pragma unroll
      for (int r = first; r < first + CHUNK; r++) {
        if (r >= SPAN) continue;
        const Operation right = x_tile.right(site.strip(r), k);
#pragma unroll
        for (int m = 0; m < ROW_BLOCKS; m++)
          if (Site::computed(m, r)) multiply_add(sums[m][r - first], left[m], right);
      }
    }
  }

  // The whole of this warp's computed blocks; `squares` gains its part of ||A||_F^2 where that is asked for.
  __device__ __forceinline__ void gram(const Rows& x, Kept& kept, float& squares) const {
#pragma unroll
    for (int first = 0; first < SPAN; first += CHUNK) {
      Sums sums;
      gram_chunk(x, first, sums);
#pragma unroll
      for (int r = first; r < first + CHUNK; r++)
#pragma unroll
        for (int m = 0; m < ROW_BLOCKS; m++) {
          if (r >= SPAN || !Site::computed(m, r)) continue;
          if (Kernel::CRITERION == CRITERION_EFFECTIVE_RANK || Kernel::RESCALE)
            squares += (Site::mirrored_elsewhere(Site::offset(m, r)) ? 2.0f : 1.0f) * sum_of_squares(sums[m][r - first]);
          const Operation block = pack<Operand>(sums[m][r - first]);
          if (KEEP_GRAM) kept[m][Site::offset(m, r)] = block;
          if (Site::GRAM_SHARED) gram_tile.store(site.first_strip + m, site.strip(r), block);
        }
    }
  }

  // Block (strip m of this warp, offset q from its first strip) of A as a left operand.
  __device__ __forceinline__ Operation gram_row(const Kept& kept, int m, int q) const {
    const int e = Site::offset(m, q);
    if (e > REACH) return gram_tile.left_transposed(site.strip(q), site.first_strip + m);
    if (KEEP_GRAM) return kept[m][e];
    return gram_tile.left(site.first_strip + m, site.strip(q));
  }

  // A is symmetric: block (r, q) of A, rows as columns of the product.
  __device__ __forceinline__ Operation gram_column(const Kept& kept, int r, int q) const {
    const int e = Site::offset(r, q);
    if (!Site::GRAM_SHARED) return kept[r % ROW_BLOCKS][e];
    if (e > REACH) return gram_tile.right_transposed(site.strip(q), site.strip(r));
    return gram_tile.right(site.strip(r), site.strip(q));
  }

  // Blocks [first, first + CHUNK) of this warp's rows of A A.
  __device__ __forceinline__ void square_chunk(const Kept& kept, int first, Sums& sums) const {
    clear_sums(sums);
#pragma unroll
    for (int q = 0; q < STRIPS; q++) {
      Operation left[ROW_BLOCKS];
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++) left[m] = gram_row(kept, m, q);
#pragma unroll
      for (int r = first; r < first + CHUNK; r++) {
        if (r >= SPAN) continue;
        const Operation right = gram_column(kept, r, q);
#pragma unroll
        for (int m = 0; m < ROW_BLOCKS; m++)
          if (Site::computed(m, r)) multiply_add(sums[m][r - first], left[m], right);
      }
    }
  }

  // x += M[:, block r] X[block r, :] for the strips m of which M[m] is given.
  template <class Wanted>
  __device__ __forceinline__ void apply(Rows& x, int r, const Operation (&left)[ROW_BLOCKS], Wanted wanted) const {
#pragma unroll
    for (int n = 0; n < COLUMN_BLOCKS; n++) {
      const Operation right = x_tile.right_transposed(site.strip(r), n);
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++)
        if (wanted(m)) multiply_add(x[m][n], left[m], right);
    }
  }

  // M = b A + c A^2 (or b A), applied to X chunk by chunk as it comes out of the products.
  template <bool QUINTIC>
  __device__ __forceinline__ void update(Rows& x, const Kept& kept, float a, float b, float c) const {
    // Else the factors a are folded into the other coefficients, see the table of steps.
    if (!Kernel::FOLDED && !Kernel::REFERENCE) {
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
        for (int n = 0; n < COLUMN_BLOCKS; n++) scale(x[m][n], a);
    }
#pragma unroll
    for (int first = 0; first < SPAN; first += CHUNK) {
      Sums sums;
      if (QUINTIC) square_chunk(kept, first, sums);
#pragma unroll
      for (int r = first; r < first + CHUNK; r++) {
        if (r >= SPAN) continue;
        Operation left[ROW_BLOCKS];
#pragma unroll
        for (int m = 0; m < ROW_BLOCKS; m++) {
          if (!Site::computed(m, r)) continue;
          left[m] = combine<QUINTIC>(gram_row(kept, m, r), sums[m][r - first], b, c);
          // The place of A's mirror image is free: no strip computes it.
          if (Site::mirrored_elsewhere(Site::offset(m, r)))
            gram_tile.store(site.strip(r), site.first_strip + m, left[m]);
        }
        apply(x, r, left, [r](int m) { return Site::computed(m, r); });
      }
    }
    if (Site::MIRRORED) {
      Site::barrier();
      apply_mirrored(x);
    }
  }

  template <bool QUINTIC>
  static __device__ __forceinline__ Operation combine(const Operation& a_block, const Accumulator& square, float b, float c) {
    Accumulator m = unpack<Operand>(a_block);
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        m.value[half][i] *= b;
        if (QUINTIC) m.value[half][i] = __fmaf_rn(c, square.value[half][i], m.value[half][i]);
      }
    return pack<Operand>(m);
  }

  // The blocks of M that other strips computed: M(i, j) = M(j, i)^T, left at place (i, j).
  __device__ __forceinline__ void apply_mirrored(Rows& x) const {
#pragma unroll
    for (int q = 0; q < STRIPS; q++) {
      const auto wanted = [q](int m) { return Site::offset(m, q) > REACH; };
      bool any = false;
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++) any = any || wanted(m);
      if (!any) continue;
      Operation left[ROW_BLOCKS];
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++)
        if (wanted(m)) left[m] = gram_tile.left_transposed(site.first_strip + m, site.strip(q));
      apply(x, q, left, wanted);
    }
  }

  HIMUON_DEVICE float sum_of_squares(const Accumulator& acc) {
    float sum = 0.0f;
#pragma unroll
    for (int c = 0; c < 2; c++)
#pragma unroll
      for (int i = 0; i < 4; i++) sum = __fmaf_rn(acc.value[c][i], acc.value[c][i], sum);
    return sum;
  }

  // X as an operand in shared memory. Enters with the other warps anywhere in the previous step.
  __device__ __forceinline__ void publish(const Rows& x, int index) {
    // Addresses are derived anew in each step: kept through the loop they would crowd out the tile. What is the
    // same for all lanes of a warp is made so for the compiler too, which then adds it within the access.
    site.lane = forget(site.lane);
    site.first_strip = Site::WARPS == 1 ? 0u : uniform(forget(site.first_strip));
    x_tile = TileX::at(site.shared + (Site::BUFFERS == 2 ? (index & 1) * Site::X_BYTES : 0), site.lane);
    gram_tile = TileGram::at(site.shared + Site::BUFFERS * Site::X_BYTES, site.lane);
    // The previous X has been read by all; of a single warp, the staged momentum too, behind whose reads no barrier stands.
    if (Site::BUFFERS == 1 || Site::WARPS == 1) Site::barrier();
    store_rows(x);
    Site::barrier();
  }

  // The published code rounds B X and the new X; here X holds rounded numbers, and the sums start at 0.
  template <bool QUINTIC>
  __device__ __forceinline__ void update_rounded(Rows& x, const Kept& kept, float a, float b, float c) const {
    Rows product;
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++) clear(product[m][n]);
    update<QUINTIC>(product, kept, 1.0f, b, c);
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++) {
        const Accumulator rounded = unpack<Operand>(pack<Operand>(product[m][n]));
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
          for (int i = 0; i < 4; i++)
            x[m][n].value[half][i] = __fmaf_rn(a, x[m][n].value[half][i], rounded.value[half][i]);
        x[m][n] = unpack<Operand>(pack<Operand>(x[m][n]));
      }
  }

  // Whether the effective rank 1 / (rank ||X X^T||_F^2) lies below the threshold; `squares` is this lane's part of
  // ||X X^T||_F^2. A zero tile has rank 0.
  __device__ __forceinline__ bool below_effective_rank(float squares, u32 rank) const {
    squares = site.sum(squares, 4);
    const float threshold = Kernel::threshold();
    return squares > 0.0f ? squares * float(rank) * threshold > 1.0f : threshold > 0.0f;
  }

  // The almost-orthogonal rescale X_i <- X_i / sqrt(sum_j |X X^T|_ij) (arXiv 2512.04632); zero rows stay zero.
  // False: the criterion, which is of X before it, does not hold, and x is as it was.
  __device__ __forceinline__ bool almost_orthogonal(Rows& x, u32 rank) {
    publish(x, 1);
    float squares = 0.0f;
    float sums[ROW_BLOCKS][2];
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++) sums[m][0] = sums[m][1] = 0.0f;
#pragma unroll
    for (int r = 0; r < STRIPS; r++) {
      Accumulator gram_block[ROW_BLOCKS];
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++) clear(gram_block[m]);
#pragma unroll
      for (int k = 0; k < COLUMN_BLOCKS; k++) {
        const Operation right = x_tile.right(site.strip(r), k);
#pragma unroll
        for (int m = 0; m < ROW_BLOCKS; m++) multiply_add(gram_block[m], pack<Operand>(x[m][k]), right);
      }
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
        for (int c = 0; c < 2; c++)
#pragma unroll
          for (int i = 0; i < 4; i++) sums[m][i / 2] += absolute(gram_block[m].value[c][i]);
      if constexpr (Kernel::CRITERION == CRITERION_EFFECTIVE_RANK) {
#pragma unroll
        for (int m = 0; m < ROW_BLOCKS; m++) squares += sum_of_squares(gram_block[m]);
      }
    }
    if constexpr (Kernel::CRITERION == CRITERION_EFFECTIVE_RANK) {
      if (below_effective_rank(squares, rank)) return false;
    }
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float sum = sums[m][h];  // of this lane's columns; the four lanes of a row add up
        sum += shuffle_xor(sum, 1);
        sum += shuffle_xor(sum, 2);
        const float factor = sum > 0.0f ? 1.0f / square_root(sum) : 0.0f;
#pragma unroll
        for (int n = 0; n < COLUMN_BLOCKS; n++)
#pragma unroll
          for (int c = 0; c < 2; c++) {
            x[m][n].value[c][2 * h] *= factor;
            x[m][n].value[c][2 * h + 1] *= factor;
          }
      }
    if (Kernel::REFERENCE) {
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
        for (int n = 0; n < COLUMN_BLOCKS; n++) x[m][n] = unpack<Operand>(pack<Operand>(x[m][n]));
    }
    return true;
  }

  // All steps on X with ||X||_F = 1. False: the criterion does not hold, and x is as it was. `rank` is
  // min(rows, columns) of the tile.
  __device__ __forceinline__ bool iterate(Rows& x, u32 rank) {
    if constexpr (Kernel::TURBO) {
      if (!almost_orthogonal(x, rank)) return false;
    }
#pragma unroll 1
    for (int index = 0; index < Kernel::STEPS; index++) {
      publish(x, index);
      Kept kept;
      float squares = 0.0f;
      gram(x, kept, squares);
      if constexpr (Kernel::CRITERION == CRITERION_EFFECTIVE_RANK && !Kernel::TURBO) {
        if (index == 0 && below_effective_rank(squares, rank)) return false;
      }
      if (Site::GRAM_SHARED) Site::barrier();
      const float a = Kernel::coefficient(index, 0), b = Kernel::coefficient(index, 1), c = Kernel::coefficient(index, 2);
      if constexpr (Kernel::REFERENCE)
        update_rounded<Kernel::QUINTIC>(x, kept, a, b, c);
      else
        update<Kernel::QUINTIC>(x, kept, a, b, c);
    }
    return true;
  }
};

}  // namespace himuon

namespace himuon {

template <class Kernel>
struct PowerMap : NewtonSchulz<Kernel> {
  using Base = NewtonSchulz<Kernel>;
  using typename Base::Kept;
  using typename Base::Operation;
  using typename Base::Rows;
  using Site = typename Base::Site;
  static constexpr int ROW_BLOCKS = Base::ROW_BLOCKS;
  static constexpr int COLUMN_BLOCKS = Base::COLUMN_BLOCKS;

  __device__ __forceinline__ PowerMap(const Site& site) : Base(site) {}

  // result = alpha y + beta x
  static __device__ __forceinline__ void combine_rows(Rows& result, float alpha, const Rows& y, float beta, const Rows& x) {
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++)
#pragma unroll
        for (int c = 0; c < 2; c++)
#pragma unroll
          for (int i = 0; i < 4; i++)
            result[m][n].value[c][i] = __fmaf_rn(alpha, y[m][n].value[c][i], beta * x[m][n].value[c][i]);
  }

  // alpha y + beta x as the operand in shared memory.
  __device__ __forceinline__ void publish_combined(float alpha, const Rows& y, float beta, const Rows& x) {
    Site::barrier();  // what was there has been read by all
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++) {
        Accumulator sum;
#pragma unroll
        for (int c = 0; c < 2; c++)
#pragma unroll
          for (int i = 0; i < 4; i++)
            sum.value[c][i] = __fmaf_rn(alpha, y[m][n].value[c][i], beta * x[m][n].value[c][i]);
        this->x_tile.store(this->site.first_strip + m, n, pack<typename Base::Operand>(sum));
      }
    Site::barrier();
  }

  // target += A B, B the published operand.
  __device__ __forceinline__ void add_product(Rows& target, const Kept& kept) const {
#pragma unroll
    for (int q = 0; q < Base::STRIPS; q++) {
      Operation left[ROW_BLOCKS];
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++) left[m] = this->gram_row(kept, m, q);
      this->apply(target, q, left, [](int) { return true; });
    }
  }

  // Y <- a Y + d X + A (b Y + e X), A = Y Y^T. With RESCALE, X is divided by nu = ||X X^T||_F^(1/2) after the
  // first Gram matrix, which moves the singular values into the interval of the fit; returns nu.
  __device__ __forceinline__ float fitted(Rows& y) {
    Rows x;
    combine_rows(x, 1.0f, y, 0.0f, y);
    float nu = 1.0f;
#pragma unroll 1
    for (int index = 0; index < Kernel::STEPS; index++) {
      this->publish(y, 0);
      Kept kept;
      float squares = 0.0f;
      this->gram(y, kept, squares);
      float factor = 1.0f;
      if (Kernel::RESCALE && index == 0) {
        const float square = square_root(this->site.sum(squares, 4));  // nu^2
        nu = square_root(square);
        factor = square > 0.0f ? 1.0f / square : 0.0f;
        const float inverse = nu > 0.0f ? 1.0f / nu : 0.0f;
        combine_rows(x, inverse, x, 0.0f, x);
        combine_rows(y, inverse, y, 0.0f, y);
      }
      const float a = Kernel::coefficient(index, 0), b = Kernel::coefficient(index, 1);
      const float d = Kernel::coefficient(index, 2), e = Kernel::coefficient(index, 3);
      publish_combined(factor * b, y, factor * e, x);
      combine_rows(y, a, y, d, x);
      add_product(y, kept);
    }
    return nu;
  }

  // Q = a I - b Y Y^T; Z <- Q^n Z; Y <- Q^m Y except at the last step. Leaves Z.
  __device__ __forceinline__ void coupled(Rows& z) {
    Rows y;
    combine_rows(y, 1.0f, z, 0.0f, z);
#pragma unroll 1
    for (int index = 0; index < Kernel::STEPS; index++) {
      this->publish(y, 0);
      Kept kept;
      float squares = 0.0f;
      this->gram(y, kept, squares);
      const float a = Kernel::coefficient(index, 0), b = Kernel::coefficient(index, 1);
#pragma unroll 1
      for (int i = 0; i < Kernel::COUPLED_N; i++) multiply_by_q(z, kept, a, b);
      if (index + 1 == Kernel::STEPS) break;
#pragma unroll 1
      for (int i = 0; i < Kernel::COUPLED_M; i++) multiply_by_q(y, kept, a, b);
    }
  }

  __device__ __forceinline__ void multiply_by_q(Rows& rows, const Kept& kept, float a, float b) {
    publish_combined(-b, rows, 0.0f, rows);
    combine_rows(rows, a, rows, 0.0f, rows);
    add_product(rows, kept);
  }
};

// The map of the kernel's recurrence on X with ||X||_F = 1. False: the criterion does not hold, and x is as it
// was. Returns in `factor` what the result is to be multiplied by.
template <class Kernel>
HIMUON_DEVICE bool map_rows(const Resident<Kernel>& site, typename NewtonSchulz<Kernel>::Rows& x, u32 rank, float& factor) {
  factor = Kernel::OUTPUT_SCALE;
  if constexpr (Kernel::RECURRENCE == RECURRENCE_ODD) {
    NewtonSchulz<Kernel> map(site);
    return map.iterate(x, rank);
  } else if constexpr (Kernel::RECURRENCE == RECURRENCE_FITTED) {
    PowerMap<Kernel> map(site);
    const float nu = map.fitted(x);
    if (Kernel::RESCALE) factor = nu > 0.0f ? powf(nu, Kernel::POWER) : 0.0f;
  } else if constexpr (Kernel::RECURRENCE == RECURRENCE_COUPLED) {
    PowerMap<Kernel> map(site);
    map.coupled(x);
  }
  return true;
}

}  // namespace himuon
// ---- lib/prologue.cuh
// The start of a step: momentum, the check for NaN and infinity, the norm.
// ---- lib/fragment.cuh
// From matrices in memory to the accumulators of a tile and back, without a detour.
//
// The map of a tile commutes with any permutation of its rows and of its columns. So the numbers that
// a lane holds in its accumulators are chosen to be neighbours in memory: the lane with column t of a
// quad of lanes takes columns 4 t .. 4 t + 3 of a block, one vector access, and four lanes read 16
// neighbours. A tall tile (rows > columns) is held transposed; then a lane's rows are the neighbours.
// ---- lib/element.cuh
// Types of numbers in memory, read and written four at a time.

namespace himuon {

struct F32 {
  static constexpr int BYTES = 4;
  static constexpr int WORDS_PER_QUAD = 4;
};
struct Bf16 {
  static constexpr int BYTES = 2;
  static constexpr int WORDS_PER_QUAD = 2;
  HIMUON_DEVICE float low(u32 word) { return low_bf16(word); }
  HIMUON_DEVICE float high(u32 word) { return high_bf16(word); }
  HIMUON_DEVICE u32 pack(float low, float high) { return pack_bf16(low, high); }
};
struct F16 {
  static constexpr int BYTES = 2;
  static constexpr int WORDS_PER_QUAD = 2;
  HIMUON_DEVICE float low(u32 word) { return low_f16(word); }
  HIMUON_DEVICE float high(u32 word) { return high_f16(word); }
  HIMUON_DEVICE u32 pack(float low, float high) { return pack_f16(low, high); }
};

// Four neighbours in memory, as stored.
template <class Element>
struct Quad {
  u32 word[Element::WORDS_PER_QUAD];
};

template <class Element>
HIMUON_DEVICE void decode(const Quad<Element>& quad, float (&value)[4]) {
  if constexpr (Element::BYTES == 4) {
#pragma unroll
    for (int i = 0; i < 4; i++) value[i] = float_of(quad.word[i]);
  } else {
    value[0] = Element::low(quad.word[0]);
    value[1] = Element::high(quad.word[0]);
    value[2] = Element::low(quad.word[1]);
    value[3] = Element::high(quad.word[1]);
  }
}

template <class Element>
HIMUON_DEVICE Quad<Element> encode(const float (&value)[4]) {
  Quad<Element> quad;
  if constexpr (Element::BYTES == 4) {
#pragma unroll
    for (int i = 0; i < 4; i++) quad.word[i] = bits_of(value[i]);
  } else {
    quad.word[0] = Element::pack(value[0], value[1]);
    quad.word[1] = Element::pack(value[2], value[3]);
  }
  return quad;
}

// One aligned vector access.
template <class Element>
HIMUON_DEVICE Quad<Element> load_quad(const u8* pointer, bool wanted) {
  Quad<Element> quad;
  if constexpr (Element::BYTES == 4)
    load_global4(quad.word[0], quad.word[1], quad.word[2], quad.word[3], pointer, wanted);
  else
    load_global2(quad.word[0], quad.word[1], pointer, wanted);
  return quad;
}
template <class Element>
HIMUON_DEVICE void store_quad(u8* pointer, const Quad<Element>& quad, bool wanted) {
  if constexpr (Element::BYTES == 4)
    store_global4(pointer, quad.word[0], quad.word[1], quad.word[2], quad.word[3], wanted);
  else
    store_global2(pointer, quad.word[0], quad.word[1], wanted);
}

// The same in shared memory.
template <class Element>
HIMUON_DEVICE void store_shared_quad(u32 address, const Quad<Element>& quad) {
  if constexpr (Element::BYTES == 4)
    store_shared4(address, quad.word[0], quad.word[1], quad.word[2], quad.word[3]);
  else
    store_shared2(address, quad.word[0], quad.word[1]);
}
template <class Element>
HIMUON_DEVICE Quad<Element> load_shared_quad(u32 address) {
  Quad<Element> quad;
  if constexpr (Element::BYTES == 4)
    load_shared4(quad.word[0], quad.word[1], quad.word[2], quad.word[3], address);
  else
    load_shared2(quad.word[0], quad.word[1], address);
  return quad;
}

// One number; zero where it is not wanted.
template <class Element>
HIMUON_DEVICE float load_number(const u8* pointer, bool wanted) {
  if constexpr (Element::BYTES == 4)
    return float_of(load_global(pointer, wanted));
  else
    return Element::low(load_global_u16(pointer, wanted));
}
template <class Element>
HIMUON_DEVICE void store_number(u8* pointer, float value, bool wanted) {
  if constexpr (Element::BYTES == 4)
    store_global(pointer, bits_of(value), wanted);
  else
    store_global_u16(pointer, Element::pack(value, 0.0f), wanted);
}

// Four single accesses, `stride` bytes apart; `wanted` has one bit per number.
template <class Element>
HIMUON_DEVICE Quad<Element> gather_quad(const u8* pointer, u64 stride, u32 wanted) {
  Quad<Element> quad;
  if constexpr (Element::BYTES == 4) {
#pragma unroll
    for (int i = 0; i < 4; i++) quad.word[i] = load_global(pointer + i * stride, (wanted >> i) & 1u);
  } else {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const u32 low = load_global_u16(pointer + (2 * i) * stride, (wanted >> (2 * i)) & 1u);
      const u32 high = load_global_u16(pointer + (2 * i + 1) * stride, (wanted >> (2 * i + 1)) & 1u);
      quad.word[i] = low | (high << 16);
    }
  }
  return quad;
}
template <class Element>
HIMUON_DEVICE void scatter_quad(u8* pointer, u64 stride, const Quad<Element>& quad, u32 wanted) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if constexpr (Element::BYTES == 4)
      store_global(pointer + i * stride, quad.word[i], (wanted >> i) & 1u);
    else
      store_global_u16(pointer + i * stride, quad.word[i / 2] >> (16 * (i & 1)), (wanted >> i) & 1u);
  }
}

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

namespace himuon {

// A tile as a window on memory, in the coordinates of X (rows <= columns).
struct Window {
  u32 rows, columns;  // of X; beyond them are zeros
  u32 flipped;        // 0 or 1: X is the transpose of what is in memory
  u32 vectors;        // 0 or 1: four neighbours can be accessed at once
};

template <class Kernel>
struct Fragment {
  using Site = Resident<Kernel>;
  static constexpr int ROW_BLOCKS = Site::ROW_BLOCKS;
  static constexpr int COLUMN_BLOCKS = Site::COLUMN_BLOCKS;
  static constexpr bool TALL = Kernel::TALL;
  static constexpr int QUADS = ROW_BLOCKS * 2 * COLUMN_BLOCKS;
  static_assert(!TALL || ROW_BLOCKS % 2 == 0, "a tall tile needs pairs of row blocks");

  // Quads that are in flight together.
  static constexpr int BATCH = QUADS < Kernel::BATCH ? QUADS : Kernel::BATCH;
  static_assert(QUADS % BATCH == 0, "the batch must divide the number of quads of a lane");

  // Quad q of a lane: where its first number lies in X.
  static __device__ __forceinline__ u32 row_of(const Site& site, int q) {
    const u32 g = site.lane >> 2;
    const int slot = TALL ? 4 * (q / (4 * COLUMN_BLOCKS)) : q / COLUMN_BLOCKS;
    return site.first_strip * 16u + g * (2u * ROW_BLOCKS) + slot;
  }
  static __device__ __forceinline__ u32 column_of(const Site& site, int q) {
    const u32 t = site.lane & 3u;
    const int within = q % (4 * COLUMN_BLOCKS);
    return TALL ? (within / 4) * 16u + 4u * t + within % 4 : (q % COLUMN_BLOCKS) * 16u + 4u * t;
  }

  // The accumulator of number e of quad q.
  static __device__ __forceinline__ float& at(Accumulator (&x)[ROW_BLOCKS][COLUMN_BLOCKS], int q, int e) {
    if constexpr (TALL) {
      const int slot = 4 * (q / (4 * COLUMN_BLOCKS)) + e, within = q % (4 * COLUMN_BLOCKS);
      return x[slot / 2][within / 4].value[within % 4 / 2][2 * (slot % 2) + within % 2];
    } else {
      const int slot = q / COLUMN_BLOCKS;
      return x[slot / 2][q % COLUMN_BLOCKS].value[e / 2][2 * (slot % 2) + e % 2];
    }
  }

  HIMUON_DEVICE bool aligned(u64 pointer, u32 leading, u32 bytes) {
    return ((u32(pointer) | leading * bytes) & (4u * bytes - 1u)) == 0u;
  }

  // `aligned` tells of all tensors that the window is put on.
  HIMUON_DEVICE Window window(const Place& place, bool all_aligned) {
    Window window;
    // A square one may lie either way; but `turbo` scales its rows.
    window.flipped = place.rows > place.columns || (TALL && !Kernel::TURBO && place.rows == place.columns);
    window.rows = window.flipped ? place.columns : place.rows;
    window.columns = window.flipped ? place.rows : place.columns;
    const bool whole_quads = (Kernel::TILE_COLUMNS % 4u == 0u || place.column % 4u == 0u) && place.columns % 4u == 0u;
    window.vectors = all_aligned && window.flipped == TALL && whole_quads;
    return window;
  }

  // Bytes from one row, and from one column, of X to the next.
  template <class Element>
  struct Strides {
    u64 row, column;
    HIMUON_DEVICE Strides of(const Window& window, u32 leading) {
      const u64 line = u64(leading) * Element::BYTES, step = Element::BYTES;
      return {window.flipped ? step : line, window.flipped ? line : step};
    }
  };

  static __device__ __forceinline__ u32 wanted(const Window& window, u32 row, u32 column) {
    u32 bits = 0;
#pragma unroll
    for (u32 e = 0; e < 4; e++) {
      const bool inside = TALL ? row + e < window.rows && column < window.columns
                               : row < window.rows && column + e < window.columns;
      bits |= u32(inside) << e;
    }
    return bits;
  }

  HIMUON_DEVICE u64 vector_offset(const Site& site, int q, u64 line, u32 bytes) {
    const u32 row = row_of(site, q), column = column_of(site, q);
    return TALL ? column * line + row * bytes : row * line + column * bytes;
  }
  HIMUON_DEVICE bool inside(const Site& site, const Window& window, int q) {
    return row_of(site, q) < window.rows && column_of(site, q) < window.columns;
  }

  // Quads first .. first + COUNT - 1 of this lane; zeros outside the window.
  template <class Element, int COUNT>
  static __device__ __forceinline__ void load(const Site& site, const Window& window, u64 corner, u32 leading,
                                              int first, Quad<Element> (&quads)[COUNT]) {
    const u8* base = reinterpret_cast<const u8*>(corner);
    if (window.vectors) {
      const u64 line = u64(leading) * Element::BYTES;
#pragma unroll
      for (int i = 0; i < COUNT; i++)
        quads[i] = load_quad<Element>(base + vector_offset(site, first + i, line, Element::BYTES),
                                      inside(site, window, first + i));
    } else {
      const auto strides = Strides<Element>::of(window, leading);
#pragma unroll
      for (int i = 0; i < COUNT; i++) {
        const u32 row = row_of(site, first + i), column = column_of(site, first + i);
        quads[i] = gather_quad<Element>(base + row * strides.row + column * strides.column,
                                        TALL ? strides.row : strides.column, wanted(window, row, column));
      }
    }
  }

  // Stores value(i) as quad first + i; nothing outside the window.
  template <class Element, int COUNT, class Value>
  static __device__ __forceinline__ void store(const Site& site, const Window& window, u64 corner, u32 leading,
                                               int first, Value value) {
    u8* base = reinterpret_cast<u8*>(corner);
    if (window.vectors) {
      const u64 line = u64(leading) * Element::BYTES;
#pragma unroll
      for (int i = 0; i < COUNT; i++)
        store_quad<Element>(base + vector_offset(site, first + i, line, Element::BYTES), value(i),
                            inside(site, window, first + i));
    } else {
      const auto strides = Strides<Element>::of(window, leading);
#pragma unroll
      for (int i = 0; i < COUNT; i++) {
        const u32 row = row_of(site, first + i), column = column_of(site, first + i);
        scatter_quad<Element>(base + row * strides.row + column * strides.column,
                              TALL ? strides.row : strides.column, value(i), wanted(window, row, column));
      }
    }
  }
};

}  // namespace himuon
// ---- lib/number.cuh
// The start of a step, one number at a time: momentum, and the scale of a norm that neither overflows nor
// underflows.

namespace himuon {

static constexpr u32 INFINITE = 0x7f800000u;

// The magnitude as bits: they are ordered like the numbers, infinity and NaN above all.
HIMUON_DEVICE u32 magnitude(float value) { return bits_of(value) & 0x7fffffffu; }

// buf <- mu buf + c g, before it is rounded to its own type.
HIMUON_DEVICE float next_momentum(const Group& group, float g, float buffer) {
  return __fmaf_rn(group.mu, buffer, group.c * g);
}
// m <- alpha g + beta buf.
HIMUON_DEVICE float update_direction(const Group& group, float g, float buffer) {
  return __fmaf_rn(group.beta, buffer, group.alpha * g);
}

// The Frobenius norm as root * power, `power` a power of two taken from the largest number, so that no
// square overflows or underflows.
struct Norm {
  float root;
  float power;
  __device__ __forceinline__ float value() const { return root * power; }
};

// A power of two 2^e with |largest| / 2^e in [1, 2), kept where both 2^e and 2^-e are normal.
HIMUON_DEVICE float power_below(u32 largest) {
  const u32 exponent = largest & INFINITE;
  const u32 low = 1u << 23, high = 253u << 23;
  return float_of(exponent < low ? low : exponent > high ? high : exponent);
}
HIMUON_DEVICE float reciprocal_of_power(float power) { return float_of((254u << 23) - bits_of(power)); }

}  // namespace himuon

namespace himuon {

template <class Kernel>
struct Prologue {
  using Site = Resident<Kernel>;
  using Access = Fragment<Kernel>;
  using Gradient = typename Kernel::Gradient;
  using Momentum = typename Kernel::Momentum;
  using Rows = Accumulator[Site::ROW_BLOCKS][Site::COLUMN_BLOCKS];

  // buf <- mu buf + c g, m <- alpha g + beta buf before buf is rounded to its own type.
  HIMUON_DEVICE void momentum_quad(const Group& group, const Quad<Gradient>& gradient, Quad<Momentum>& buffer,
                                   float (&m)[4]) {
    float g[4], b[4];
    decode(gradient, g);
    decode(buffer, b);
#pragma unroll
    for (int e = 0; e < 4; e++) b[e] = next_momentum(group, g[e], b[e]);
#pragma unroll
    for (int e = 0; e < 4; e++) m[e] = update_direction(group, g[e], b[e]);
    buffer = encode<Momentum>(b);
  }

  // m from the gradient and the momentum that a step has already written: a 16-bit buffer's rounding is in it.
  HIMUON_DEVICE void update_quad(const Group& group, const Quad<Gradient>& gradient,
                                 const Quad<Momentum>& buffer, float (&m)[4]) {
    float g[4], b[4];
    decode(gradient, g);
    decode(buffer, b);
#pragma unroll
    for (int e = 0; e < 4; e++) m[e] = update_direction(group, g[e], b[e]);
  }

  // Divides X by its norm. `largest`: the largest magnitude in the tile, as bits.
  static __device__ __forceinline__ Norm normalise(const Site& site, Rows& x, u32 largest, int use) {
    Norm norm;
    norm.power = power_below(largest);
    const float down = reciprocal_of_power(norm.power);
    float sum = 0.0f;
#pragma unroll
    for (int m = 0; m < Site::ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < Site::COLUMN_BLOCKS; n++)
#pragma unroll
        for (int c = 0; c < 2; c++)
#pragma unroll
          for (int i = 0; i < 4; i++) {
            float& value = x[m][n].value[c][i];
            value *= down;
            sum = __fmaf_rn(value, value, sum);
          }
    norm.root = square_root(site.sum(sum, use));
    const float divisor = Kernel::REFERENCE ? norm.root + 1e-7f * down : norm.root;
    const float inverse = divisor > 0.0f ? 1.0f / divisor : 0.0f;
#pragma unroll
    for (int m = 0; m < Site::ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < Site::COLUMN_BLOCKS; n++) scale(x[m][n], inverse);
    return norm;
  }

  HIMUON_DEVICE void round_to_bf16(float (&value)[4]) {
    const Quad<Bf16> rounded = encode<Bf16>(value);
    decode(rounded, value);
  }
  // The rounding points of the published code: what is stored is bfloat16.
  HIMUON_DEVICE void round_rows(Rows& x) {
#pragma unroll
    for (int m = 0; m < Site::ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < Site::COLUMN_BLOCKS; n++)
#pragma unroll
        for (int c = 0; c < 2; c++) round_to_bf16(x[m][n].value[c]);
  }
};

}  // namespace himuon

namespace himuon {

template <class Kernel, bool OPTIMIZER>
struct ResidentStep {
  using Site = Resident<Kernel>;
  using Access = Fragment<Kernel>;
  using Start = Prologue<Kernel>;
  using Rows = typename Start::Rows;
  using Gradient = typename Kernel::Gradient;
  using Momentum = typename Kernel::Momentum;
  using Weight = typename Kernel::Weight;
  static constexpr int QUADS = Access::QUADS;
  static constexpr int BATCH = Access::BATCH;
  static constexpr bool STAGED = Kernel::STAGE_MOMENTUM;

  Site site;
  const Launch& launch;
  u32 tile;
  u32 matrix_index;
  Place place;
  Window window;
  Group group;
  u64 gradient, momentum, weight;  // corners of the tile

  __device__ __forceinline__ ResidentStep(const Site& site, const Launch& launch, u32 tile)
      : site(site), launch(launch), tile(tile),
        matrix_index(matrix_of(launch.matrices, launch.matrix_count, tile)) {
    open();
  }

  // Reads the tables. Done again after the map, so that nothing of it occupies registers in between.
  __device__ __forceinline__ void open() {
    tile = forget(tile);
    matrix_index = forget(matrix_index);
    place = place_of(launch.matrices[matrix_index], tile, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
    const Matrix& matrix = place.matrix;
    bool aligned = Access::aligned(matrix.gradient, matrix.gradient_leading, Gradient::BYTES) &&
                   Access::aligned(matrix.weight, matrix.weight_leading, Weight::BYTES);
    if (OPTIMIZER) aligned = aligned && Access::aligned(matrix.momentum, matrix.columns, Momentum::BYTES);
    if (OPTIMIZER && Kernel::MATRIX_NORMALISED)
      aligned = aligned && Access::aligned(reinterpret_cast<u64>(matrix.mapped), matrix.columns, 4);
    window = Access::window(place, aligned);
    if (OPTIMIZER) group = launch.groups[matrix.group];
    gradient = corner(matrix.gradient, matrix.gradient_leading, Gradient::BYTES);
    weight = corner(matrix.weight, matrix.weight_leading, Weight::BYTES);
    if (OPTIMIZER) momentum = corner(matrix.momentum, matrix.columns, Momentum::BYTES);
  }

  __device__ __forceinline__ u64 corner(u64 pointer, u32 leading, u32 bytes) const {
    return pointer + (u64(place.row) * leading + place.column) * bytes;
  }
  __device__ __forceinline__ bool speaks() const { return site.warp == 0 && site.lane == 0; }

  // Where quad q of this lane waits for the check, private to the lane.
  __device__ __forceinline__ u32 staged(int q) const {
    return site.shared + (u32(q) * (32u * Site::WARPS) + site.warp * 32u + site.lane) * (4u * Momentum::BYTES);
  }

  // Reads the tile into x; returns the largest magnitude as bits, at least infinity if anything is not
  // finite. The new momentum stays on chip until the whole tile is known to be finite.
  __device__ __forceinline__ u32 read(Rows& x, Quad<Momentum> (&buffers)[STAGED ? 1 : QUADS]) const {
    u32 largest = 0, worst = 0;
#pragma unroll
    for (int first = 0; first < QUADS; first += BATCH) {
      Quad<Gradient> gradients[BATCH];
      Quad<Momentum> batch[BATCH];
      Access::template load<Gradient>(site, window, gradient, place.matrix.gradient_leading, first, gradients);
      if (OPTIMIZER)
        Access::template load<Momentum>(site, window, momentum, place.matrix.columns, first, batch);
#pragma unroll
      for (int i = 0; i < BATCH; i++) {
        float m[4];
        if (OPTIMIZER) {
          Start::momentum_quad(group, gradients[i], batch[i], m);
          float b[4];
          decode(batch[i], b);
#pragma unroll
          for (int e = 0; e < 4; e++) worst = larger(worst, magnitude(b[e]));
          if constexpr (STAGED)
            store_shared_quad(staged(first + i), batch[i]);
          else
            buffers[first + i] = batch[i];
        } else {
          decode(gradients[i], m);
        }
        if (Kernel::REFERENCE) Start::round_to_bf16(m);
#pragma unroll
        for (int e = 0; e < 4; e++) {
          largest = larger(largest, magnitude(m[e]));
          Access::at(x, first + i, e) = m[e];
        }
      }
    }
    return site.maximum(worst >= INFINITE ? worst : largest, 0);
  }

  __device__ __forceinline__ void write_momentum(const Quad<Momentum> (&buffers)[STAGED ? 1 : QUADS]) const {
#pragma unroll
    for (int first = 0; first < QUADS; first += BATCH)
      Access::template store<Momentum, BATCH>(
          site, window, momentum, place.matrix.columns, first, [&](int i) {
            Quad<Momentum> quad;
            if constexpr (STAGED)
              quad = load_shared_quad<Momentum>(staged(first + i));
            else
              quad = buffers[first + i];
            return quad;
          });
  }

  // Calls use(q, m) with the numbers of the tile's M, read again.
  template <class Use>
  __device__ __forceinline__ void read_again(Use use) const {
#pragma unroll
    for (int first = 0; first < QUADS; first += BATCH) {
      Quad<Gradient> gradients[BATCH];
      Quad<Momentum> batch[BATCH];
      Access::template load<Gradient>(site, window, gradient, place.matrix.gradient_leading, first, gradients);
      if (OPTIMIZER)
        Access::template load<Momentum>(site, window, momentum, place.matrix.columns, first, batch);
#pragma unroll
      for (int i = 0; i < BATCH; i++) {
        float m[4];
        if (OPTIMIZER)
          Start::update_quad(group, gradients[i], batch[i], m);
        else
          decode(gradients[i], m);
        use(first + i, m);
      }
    }
  }

  // <X, O> with O = x and X = M / norm.
  __device__ __forceinline__ float inner_product(Rows& x, const Norm& norm, int use) const {
    const float down = reciprocal_of_power(norm.power);
    float sum = 0.0f;
    read_again([&](int q, const float (&m)[4]) {
#pragma unroll
      for (int e = 0; e < 4; e++) sum = __fmaf_rn(m[e] * down, Access::at(x, q, e), sum);
    });
    sum = site.sum(sum, use);
    return norm.root > 0.0f ? sum / norm.root : 0.0f;
  }

  __device__ __forceinline__ float squares(Rows& x, int use) const {
    float sum = 0.0f;
#pragma unroll
    for (int q = 0; q < QUADS; q++)
#pragma unroll
      for (int e = 0; e < 4; e++) sum = __fmaf_rn(Access::at(x, q, e), Access::at(x, q, e), sum);
    return site.sum(sum, use);
  }

  // W <- (1 - lr wd) W - lr factor x, or x itself where there is no optimizer.
  __device__ __forceinline__ void write(Rows& x, float factor) const {
    const float keep = OPTIMIZER ? 1.0f - group.learning_rate * group.weight_decay : 0.0f;
    const float rate = OPTIMIZER ? -group.learning_rate * factor : factor;
#pragma unroll
    for (int first = 0; first < QUADS; first += BATCH) {
      Quad<Weight> weights[BATCH];
      if (OPTIMIZER)
        Access::template load<Weight>(site, window, weight, place.matrix.weight_leading, first, weights);
#pragma unroll
      for (int i = 0; i < BATCH; i++) {
        float w[4];
        if (OPTIMIZER) decode(weights[i], w);
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const float change = rate * Access::at(x, first + i, e);
          w[e] = OPTIMIZER ? __fmaf_rn(keep, w[e], change) : change;
        }
        weights[i] = encode<Weight>(w);
      }
      Access::template store<Weight, BATCH>(site, window, weight, place.matrix.weight_leading, first,
                                            [&](int i) { return weights[i]; });
    }
  }

  // p > 0: the map waits for the norm of the whole matrix.
  __device__ __forceinline__ void write_map(Rows& x, float factor) const {
    const u64 mapped = corner(reinterpret_cast<u64>(place.matrix.mapped), place.matrix.columns, 4);
#pragma unroll
    for (int first = 0; first < QUADS; first += BATCH)
      Access::template store<F32, BATCH>(site, window, mapped, place.matrix.columns, first, [&](int i) {
        float value[4];
#pragma unroll
        for (int e = 0; e < 4; e++) value[e] = factor * Access::at(x, first + i, e);
        return encode<F32>(value);
      });
  }

  __device__ __forceinline__ void count(u32 counter) const {
    if (launch.counters != nullptr && speaks()) add_to_counter(launch.counters + counter, 1u);
  }

  __device__ __forceinline__ void report(float norm, float inner, float squared, u32 flags) const {
    if (launch.reports == nullptr || !speaks()) return;
    TileReport entry;
    entry.norm = norm;
    entry.inner_product = inner;
    entry.mapped_norm_squared = squared;
    entry.flags = flags;
    launch.reports[tile] = entry;
  }

  __device__ __forceinline__ void run() {
    Rows x;
    Quad<Momentum> buffers[STAGED ? 1 : QUADS];
    const u32 largest = read(x, buffers);
    if (largest >= INFINITE) {
      count(COUNTER_NON_FINITE);
      report(0.0f, 0.0f, 0.0f, TILE_NON_FINITE);
      return;
    }
    if (OPTIMIZER) write_momentum(buffers);
    const Norm norm = Start::normalise(site, x, largest, 1);
    if (Kernel::REFERENCE) Start::round_rows(x);

    bool mapped = true;
    float factor = 1.0f;
    if (Kernel::CRITERION == CRITERION_NORM) mapped = norm.value() >= Kernel::threshold();
    if (mapped) {
      const u32 rank = Kernel::CRITERION == CRITERION_EFFECTIVE_RANK ? smaller(place.rows, place.columns) : 0u;
      mapped = map_rows<Kernel>(site, x, rank, factor);
    }
    open();
    float inner = 0.0f, squared = 0.0f;
    if (mapped && (launch.reports != nullptr || Kernel::CRITERION == CRITERION_NUCLEAR_RANK)) {
      inner = factor * inner_product(x, norm, 2);
      squared = factor * factor * squares(x, 3);
    }
    bool orthogonalised = mapped;
    if (Kernel::CRITERION == CRITERION_NUCLEAR_RANK && mapped)
      orthogonalised = inner * inner >= Kernel::threshold() * float(smaller(place.rows, place.columns));

    if constexpr (OPTIMIZER && Kernel::MATRIX_NORMALISED) {
      write_map(x, factor);
      report(norm.value(), inner, squared, 0u);
      return;
    }
    if (OPTIMIZER) factor *= tile_scale(group, place, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
    if (!orthogonalised) factor = instead(x, mapped, norm);
    write(x, factor);
    if (!orthogonalised) count(COUNTER_UNORTHOGONALISED);
    report(norm.value(), inner, squared, orthogonalised ? 0u : TILE_UNORTHOGONALISED);
  }

  // What stands in the place of the map: M itself, unscaled, or X with the RMS of a mapped tile. Leaves
  // it in x and returns its factor.
  __device__ __forceinline__ float instead(Rows& x, bool mapped, const Norm& norm) const {
    if (mapped || Kernel::REFERENCE) {  // x is no longer M / norm
      read_again([&](int q, const float (&m)[4]) {
#pragma unroll
        for (int e = 0; e < 4; e++) Access::at(x, q, e) = m[e];
      });
      if (Kernel::OTHERWISE == OTHERWISE_MOMENTUM) return 1.0f;
      const float down = reciprocal_of_power(norm.power);
      const float inverse = norm.root > 0.0f ? 1.0f / norm.root : 0.0f;
      each(x, down, inverse);
    } else if (Kernel::OTHERWISE == OTHERWISE_MOMENTUM) {
      each(x, norm.root, norm.power);
      return 1.0f;
    }
    const float scale = OPTIMIZER ? tile_scale(group, place, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS) : 1.0f;
    return scale * square_root(float(smaller(place.rows, place.columns)));
  }

  static __device__ __forceinline__ void each(Rows& x, float first, float second) {
#pragma unroll
    for (int q = 0; q < QUADS; q++)
#pragma unroll
      for (int e = 0; e < 4; e++) Access::at(x, q, e) = Access::at(x, q, e) * first * second;
  }
};

// The body of both entry points.
template <class Kernel, bool OPTIMIZER>
HIMUON_DEVICE void run_tiles(const Launch& launch, u32 shared_base) {
  const auto site = Resident<Kernel>::at(shared_base);
  const u32 slot = Resident<Kernel>::WARPS == 1 ? threadIdx.x >> 5 : 0u;
  const u32 tile = blockIdx.x * Resident<Kernel>::TILES_PER_BLOCK + slot;
  if (tile >= launch.tile_count) return;
  ResidentStep<Kernel, OPTIMIZER> step(site, launch, tile);
  step.run();
}

}  // namespace himuon
// ---- lib/resident_update.cuh
// The third launch at p > 0 with the access of the resident family.
// ---- lib/matrix_norm.cuh
// p > 0: the scale comes from the norm of the whole matrix, so a step is three launches. The first writes
// momentum, maps and reports; here each matrix's factor is found, for the third, which updates the weights.
// ---- lib/block.cuh
// Work shared by the threads of a block. Reductions have a fixed order: the same bits on every run.

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

// W <- (1 - lr wd) W - lr factor (f_t / max f)^p Y_t.
template <class Kernel>
HIMUON_DEVICE void update_tile(const Resident<Kernel>& site, const Launch& launch, u32 tile) {
  using Access = Fragment<Kernel>;
  using Weight = typename Kernel::Weight;
  const TileReport report = launch.reports[tile];
  if (report.flags & TILE_NON_FINITE) return;
  const u32 index = matrix_of(launch.matrices, launch.matrix_count, tile);
  const Place place = place_of(launch.matrices[index], tile, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
  const Matrix& matrix = place.matrix;
  const Group group = launch.groups[matrix.group];
  const bool aligned = Access::aligned(matrix.weight, matrix.weight_leading, Weight::BYTES) &&
                       Access::aligned(reinterpret_cast<u64>(matrix.mapped), matrix.columns, 4);
  const Window window = Access::window(place, aligned);
  const u64 weight = matrix.weight + (u64(place.row) * matrix.weight_leading + place.column) * Weight::BYTES;
  const u64 mapped = reinterpret_cast<u64>(matrix.mapped + u64(place.row) * matrix.columns + place.column);
  const float rate = -group.learning_rate * tile_factor<Kernel>(matrix, report);
  const float keep = 1.0f - group.learning_rate * group.weight_decay;
#pragma unroll
  for (int first = 0; first < Access::QUADS; first += Access::BATCH) {
    Quad<Weight> weights[Access::BATCH];
    Quad<F32> maps[Access::BATCH];
    Access::template load<Weight>(site, window, weight, matrix.weight_leading, first, weights);
    Access::template load<F32>(site, window, mapped, matrix.columns, first, maps);
#pragma unroll
    for (int i = 0; i < Access::BATCH; i++) {
      float w[4], v[4];
      decode(weights[i], w);
      decode(maps[i], v);
#pragma unroll
      for (int e = 0; e < 4; e++) w[e] = __fmaf_rn(keep, w[e], rate * v[e]);
      weights[i] = encode<Weight>(w);
    }
    Access::template store<Weight, Access::BATCH>(site, window, weight, matrix.weight_leading, first,
                                                  [&](int i) { return weights[i]; });
  }
}

}  // namespace himuon

namespace himuon {

// a, b, d, e of each step: Y <- a Y + d X + A (b Y + e X), A = Y Y^T.
__constant__ float COEFFICIENTS[6][4] = {
    {-0x1.7e86d8p+1f, 0x1.2b27bcp+1f, 0.0f, 0.0f},
    {-0x1.1f2df6p+1f, 0x1.b0dbcep-1f, -0x1.a07810p-2f, -0x1.8c3760p-4f},
    {0x1.d0aefcp+0f, -0x1.55afb0p-2f, 0x1.43eb7cp-1f, -0x1.121cacp+0f},
    {0x1.93458cp+0f, -0x1.621fb0p-1f, -0x1.f84dfcp-2f, 0x1.3bf91ep-1f},
    {0x1.f1b024p-1f, -0x1.eae276p-1f, 0x1.4be37ep+0f, 0x1.58e53ep-5f},
    {0x1.b65300p-2f, -0x1.0ef34ep+0f, 0x1.1d22a6p+1f, -0x1.30489ep-5f},
};

struct Kernel {
  // What is computed.
  using Gradient = Bf16;
  using Momentum = F32;
  using Weight = Bf16;
  using Operand = OperandBf16;
  static constexpr u32 TILE_ROWS = 32;
  static constexpr u32 TILE_COLUMNS = 128;
  static constexpr int STEPS = 6;
  static constexpr Recurrence RECURRENCE = RECURRENCE_FITTED;
  static constexpr int COUPLED_M = 0;
  static constexpr int COUPLED_N = 0;
  static constexpr bool RESCALE = true;
  static constexpr float POWER = 0x1.000000p-1f;
  static constexpr bool MATRIX_NORMALISED = true;
  static constexpr bool QUINTIC = false;
  static constexpr bool TURBO = false;
  static constexpr bool REFERENCE = false;
  static constexpr bool FOLDED = false;
  static constexpr float OUTPUT_SCALE = 0x1.000000p+0f;
  static constexpr Criterion CRITERION = CRITERION_ALWAYS;
  static constexpr Otherwise OTHERWISE = OTHERWISE_MOMENTUM;
  HIMUON_DEVICE float threshold() { return 0.0f; }
  HIMUON_DEVICE float coefficient(int step, int which) { return COEFFICIENTS[step][which]; }

  // How: warps and what they keep.
  static constexpr int ROW_BLOCKS = 1;
  static constexpr int WARPS = 2;
  static constexpr int COLUMN_BLOCKS = 8;
  static constexpr int TILES_PER_BLOCK = 1;
  static constexpr int CHUNK = 5;
  static constexpr int BATCH = 16;
  static constexpr bool TALL = false;
  static constexpr bool SYMMETRIC = false;
  static constexpr bool KEEP_GRAM = false;
  static constexpr bool RELOAD_X = false;
  static constexpr bool DOUBLE_BUFFER = false;
  static constexpr bool STAGE_MOMENTUM = false;
};

static_assert(Resident<Kernel>::THREADS == 64, "threads of a block");
static_assert(Resident<Kernel>::SHARED_BYTES == 10368, "dynamic shared memory of a block");

}  // namespace himuon

using namespace himuon;
// A compiler that is given HIMUON_STEP_ALONE or HIMUON_MAP_ALONE makes the kernels of a step alone, or that of the map.

#ifndef HIMUON_MAP_ALONE
// First of three launches, (tile_count + 0) / 1 blocks: momentum, maps and reports.
extern "C" __global__ void __launch_bounds__(64)
himuon_step(const Matrix* matrices, u32 matrix_count, const Group* groups, TileReport* reports, u32 tile_count,
            const u32* step, u32 first_step, u32 end_step, u32* counters) {
  extern __shared__ __align__(128) u8 shared[];
  if (!step_in_range(step, first_step, end_step)) return;
  const Launch launch{matrices, matrix_count, groups, reports, tile_count, counters};
  run_tiles<Kernel, true>(launch, shared_address(shared));
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

// Third launch, grid as the first: W <- (1 - lr wd) W - lr u.
extern "C" __global__ void __launch_bounds__(64)
himuon_update(const Matrix* matrices, u32 matrix_count, const Group* groups, TileReport* reports, u32 tile_count,
              const u32* step, u32 first_step, u32 end_step) {
  if (!step_in_range(step, first_step, end_step)) return;
  const Launch launch{matrices, matrix_count, groups, reports, tile_count, nullptr};
  const auto site = Resident<Kernel>::at(0u);
  const u32 slot = Resident<Kernel>::WARPS == 1 ? threadIdx.x >> 5 : 0u;
  const u32 tile = blockIdx.x * Resident<Kernel>::TILES_PER_BLOCK + slot;
  if (tile < tile_count) update_tile<Kernel>(site, launch, tile);
}
#endif

#ifndef HIMUON_STEP_ALONE
// The map alone, of the gradient into the weight; momentum and groups are not used.
extern "C" __global__ void __launch_bounds__(64)
himuon_map(const Matrix* matrices, u32 matrix_count, const Group* groups, TileReport* reports, u32 tile_count,
           const u32* step, u32 first_step, u32 end_step, u32* counters) {
  extern __shared__ __align__(128) u8 shared[];
  if (!step_in_range(step, first_step, end_step)) return;
  const Launch launch{matrices, matrix_count, groups, reports, tile_count, counters};
  run_tiles<Kernel, false>(launch, shared_address(shared));
}
#endif
