#pragma once
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
