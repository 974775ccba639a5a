#pragma once
// Looks for NaN and infinities in many tensors at once.
#include "tensor_table.cuh"

namespace himuon {

// One tensor of `rows` rows, 40 bytes.
struct ScannedTensor {
  u64 pointer;
  u64 columns;
  u64 leading;  // numbers from one row to the next
  u32 rows;
  u32 first_block;  // blocks are numbered through all tensors
  u32 element;
  u32 reserved;
};

template <class Element>
HIMUON_DEVICE bool finite_at(const ScannedTensor& tensor, u64 index, u64 length) {
  float value[4];
  if (tensor.leading == tensor.columns || tensor.rows == 1u) {
    const u64 left = length - index;
    const u32 wanted = left >= 4u ? 15u : (1u << u32(left)) - 1u;
    decode(read_quad<Element>(tensor.pointer, index, wanted), value);  // what is not wanted reads as zero
    return finite(value[0]) && finite(value[1]) && finite(value[2]) && finite(value[3]);
  }
  bool all = true;
  for (u64 at = index; at < index + 4u && at < length; at++) {
    const u64 row = at / tensor.columns;
    decode(read_quad<Element>(tensor.pointer, row * tensor.leading + (at - row * tensor.columns), 1u), value);
    all = all && finite(value[0]);
  }
  return all;
}

template <class Element, int THREADS, int QUADS>
HIMUON_DEVICE bool finite_block(const ScannedTensor& tensor, u64 first) {
  const u64 length = u64(tensor.rows) * tensor.columns;
  bool all = true;
  for (int i = 0; i < QUADS; i++) {
    const u64 index = first + 4u * u64(i * THREADS + threadIdx.x);
    if (index < length) all = finite_at<Element>(tensor, index, length) && all;
  }
  return all;
}

}  // namespace himuon
