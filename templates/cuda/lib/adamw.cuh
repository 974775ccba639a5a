#pragma once
// AdamW (arXiv 1711.05101) of all tensors that are no matrices, in one launch:
// m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2;
// w <- (1 - lr wd) w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
#include "master_quad.cuh"
#include "tensor_table.cuh"

namespace himuon {

// One tensor, contiguous, 64 bytes. Weight and gradient have one type, moments are f32.
struct AdamWTensor {
  u64 weight;
  u64 gradient;
  u64 first_moment;
  u64 second_moment;
  u64 length;
  u32 first_block;  // blocks are numbered through all tensors
  u32 group;
  u32 element;
  u32 updates;  // t is the clock plus this, modulo 2^32
  u64 remainder;  // 16 bits more for each bf16 weight, see master_weight.cuh; 0: none
};

// Scalars of a group, 32 bytes.
struct AdamWGroup {
  float learning_rate;
  float beta1;
  float beta2;
  float epsilon;
  float weight_decay;
  u32 reserved[3];
};

HIMUON_DEVICE double power_of(double base, u32 exponent) {
  double result = 1.0;
  for (; exponent > 0u; exponent >>= 1) {
    if (exponent & 1u) result *= base;
    base *= base;
  }
  return result;
}

// What every number of a tensor is updated with; the bias corrections in f64, as on the CPU.
struct AdamWRates {
  float keep, step, root, epsilon, beta1, rest1, beta2, rest2;

  __device__ __forceinline__ void set(const AdamWGroup& group, u32 updates) {
    const double rate = group.learning_rate;
    keep = float(1.0 - rate * double(group.weight_decay));
    step = float(-rate / (1.0 - power_of(group.beta1, updates)));
    root = float(1.0 / sqrt(1.0 - power_of(group.beta2, updates)));
    epsilon = group.epsilon;
    beta1 = group.beta1;
    rest1 = 1.0f - group.beta1;
    beta2 = group.beta2;
    rest2 = 1.0f - group.beta2;
  }

  // Whether the number was updated: not if its moments would not be finite.
  __device__ __forceinline__ bool update(float& w, float g, float& m, float& v) const {
    const float first = __fmaf_rn(beta1, m, __fmul_rn(rest1, g));
    const float second = __fmaf_rn(beta2, v, __fmul_rn(rest2, __fmul_rn(g, g)));
    if (!(finite(first) && finite(second))) return false;
    const float divisor = __fmaf_rn(square_root(second), root, epsilon);
    m = first;
    v = second;
    w = __fmaf_rn(step, __fdiv_rn(first, divisor), __fmul_rn(keep, w));
    return true;
  }
};

// Updates the numbers index .. index + 3; returns how many were left alone.
template <class Element, bool MASTERS>
HIMUON_DEVICE u32 adamw_quad(const AdamWTensor& tensor, const AdamWRates& rates, float gradient_scale, u64 index) {
  const u64 left = tensor.length - index;
  const u32 wanted = left >= 4u ? 15u : (1u << u32(left)) - 1u;
  float w[4], g[4], m[4], v[4];
  Quad<Element> weights = read_quad<Element>(tensor.weight, index, wanted);
  Quad<Bf16> remainders;
  if constexpr (MASTERS) {
    remainders = read_quad<Bf16>(tensor.remainder, index, wanted);
    join_masters(weights, remainders, w);
  } else {
    decode(weights, w);
  }
  decode(read_quad<Element>(tensor.gradient, index, wanted), g);
  decode(read_quad<F32>(tensor.first_moment, index, wanted), m);
  decode(read_quad<F32>(tensor.second_moment, index, wanted), v);
  u32 alone = 0, updated = 0;
#pragma unroll
  for (int e = 0; e < 4; e++) {
    if (!((wanted >> e) & 1u)) continue;
    if (rates.update(w[e], __fmul_rn(gradient_scale, g[e]), m[e], v[e]))
      updated |= 1u << e;
    else
      alone++;
  }
  if constexpr (MASTERS) {
    split_masters(w, weights, remainders);
    write_quad(tensor.remainder, index, remainders, updated);
  } else {
    weights = encode<Element>(w);
  }
  write_quad(tensor.weight, index, weights, updated);
  write_quad(tensor.first_moment, index, encode<F32>(m), updated);
  write_quad(tensor.second_moment, index, encode<F32>(v), updated);
  return alone;
}

template <class Element, bool MASTERS, int THREADS, int QUADS>
HIMUON_DEVICE u32 adamw_block(const AdamWTensor& tensor, const AdamWRates& rates, float gradient_scale, u64 first) {
  u32 alone = 0;
#pragma unroll
  for (int i = 0; i < QUADS; i++) {
    const u64 index = first + 4u * u64(i * THREADS + threadIdx.x);
    if (index < tensor.length) alone += adamw_quad<Element, MASTERS>(tensor, rates, gradient_scale, index);
  }
  return alone;
}

}  // namespace himuon
