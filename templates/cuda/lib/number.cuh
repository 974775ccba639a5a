#pragma once
// The start of a step, one number at a time: momentum, and the scale of a norm that neither overflows nor
// underflows.
#include "launch.cuh"

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
