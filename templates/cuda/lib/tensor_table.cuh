#pragma once
// Tensors of any of the three storage types in one launch: which one a block works on, and its numbers.
#include "element.cuh"

namespace himuon {

// Type of a tensor's numbers, as the tables write it.
static constexpr u32 ELEMENT_F32 = 0u;
static constexpr u32 ELEMENT_BF16 = 1u;
static constexpr u32 ELEMENT_F16 = 2u;

// The tensor of block `block`: the last one whose first block is not beyond it.
template <class Tensor>
HIMUON_DEVICE u32 tensor_of(const Tensor* tensors, u32 count, u32 block) {
  u32 low = 0, high = count;
  while (high - low > 1u) {
    const u32 middle = (low + high) >> 1;
    if (tensors[middle].first_block <= block)
      low = middle;
    else
      high = middle;
  }
  return low;
}

HIMUON_DEVICE bool finite(float value) { return absolute(value) < float_of(0x7f800000u); }

// Whether numbers at `base` may be read four at a time.
template <class Element>
HIMUON_DEVICE bool quads_at(u64 base) {
  return base % (4u * Element::BYTES) == 0u;
}

// The numbers index .. index + 3 of a contiguous tensor; `wanted` has one bit per number.
template <class Element>
HIMUON_DEVICE Quad<Element> read_quad(u64 base, u64 index, u32 wanted) {
  const u8* const pointer = reinterpret_cast<const u8*>(base + index * Element::BYTES);
  if (wanted == 15u && quads_at<Element>(base)) return load_quad<Element>(pointer, true);
  return gather_quad<Element>(pointer, Element::BYTES, wanted);
}

template <class Element>
HIMUON_DEVICE void write_quad(u64 base, u64 index, const Quad<Element>& quad, u32 wanted) {
  u8* const pointer = reinterpret_cast<u8*>(base + index * Element::BYTES);
  if (wanted == 15u && quads_at<Element>(base))
    store_quad<Element>(pointer, quad, true);
  else
    scatter_quad<Element>(pointer, Element::BYTES, quad, wanted);
}

}  // namespace himuon
