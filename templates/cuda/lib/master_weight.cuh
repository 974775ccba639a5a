#pragma once
// f32 master weights beside bf16 weights: the bits of the weight moved up by sixteen, plus a signed remainder of 16 bits.
// So the weight is the master rounded to nearest, ties away from zero, and nothing is lost.
#include "instruction.cuh"

namespace himuon {

// Both in the lower halves. A remainder that no rounding leaves (below a zero, above an infinity) is dropped.
HIMUON_DEVICE float master_of(u32 weight, u32 remainder) {
  const u32 high = weight << 16, bits = high + u32(int(remainder << 16) >> 16);
  return float_of((bits & 0x7fffffffu) > 0x7f800000u ? high : bits);
}

// The bits whose upper half, after rounding, is the weight, and whose lower half is the remainder.
HIMUON_DEVICE u32 master_bits(float master) {
  const u32 bits = bits_of(master);
  return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits;
}
HIMUON_DEVICE u32 rounded_half(u32 bits) { return (bits + 0x8000u) >> 16; }

}  // namespace himuon
