#pragma once
// Numbers in memory and operands of products, one at a time.
#include "../lib/instruction.cuh"

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
