#pragma once
// Types of numbers in memory, read and written four at a time.
#include "instruction.cuh"

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
