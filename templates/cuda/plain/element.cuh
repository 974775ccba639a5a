#pragma once
// Numbers in memory and operands of products. No header is needed: 16-bit types are handled as bits.

namespace himuon {

using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

#define HIMUON_DEVICE [[maybe_unused]] static __device__ __forceinline__

struct F32 {
  using Word = float;
  HIMUON_DEVICE float load(Word word) { return word; }
  HIMUON_DEVICE Word store(float value) { return value; }
};

struct Bf16 {
  using Word = u16;
  HIMUON_DEVICE float load(Word word) { return __uint_as_float(u32(word) << 16); }
  // To nearest, ties to even; a NaN stays a NaN.
  HIMUON_DEVICE Word store(float value) {
    const u32 bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return Word((bits >> 16) | 0x40u);
    return Word((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  }
};

struct F16 {
  using Word = u16;
  HIMUON_DEVICE float load(Word word) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(word));
    return value;
  }
  HIMUON_DEVICE Word store(float value) {
    Word word;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(word) : "f"(value));
    return word;
  }
};

// Ten mantissa bits, ties away from zero, as the tensor cores' conversion.
struct Tf32 {
  using Word = float;
  HIMUON_DEVICE float load(Word word) { return word; }
  HIMUON_DEVICE Word store(float value) {
    return __uint_as_float((__float_as_uint(value) + 0x1000u) & 0xffffe000u);
  }
};

// A number as type `Element` holds it.
template <class Element>
HIMUON_DEVICE float rounded(float value) {
  return Element::load(Element::store(value));
}

HIMUON_DEVICE bool finite(float value) { return fabsf(value) < __int_as_float(0x7f800000); }

}  // namespace himuon
