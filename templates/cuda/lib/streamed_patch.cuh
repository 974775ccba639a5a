#pragma once
// Elementwise work on tiles in the workspace: a warp takes 32 x 32 numbers, one column a lane, so that any leading
// dimension and alignment is read in whole sectors. A tall tile lies transposed in the workspace; its numbers change
// places through shared memory.
#include "block.cuh"
#include "element.cuh"
#include "streamed_tile.cuh"
#include "master_weight.cuh"  //: master weights

namespace himuon {

static constexpr int EDGE = 32;

// A number of the type that operands are kept in.
template <class Operand>
struct OperandNumber;
#if __CUDA_ARCH__ >= 800
template <>
struct OperandNumber<OperandBf16> {
  using Stored = Bf16;
  HIMUON_DEVICE float rounded(float value) { return value; }
};
template <>
struct OperandNumber<OperandTf32> {
  using Stored = F32;
  HIMUON_DEVICE float rounded(float value) { return float_of(round_tf32(value)); }
};
template <>
struct OperandNumber<OperandF32> {
  using Stored = F32;
  HIMUON_DEVICE float rounded(float value) { return value; }
};
#endif
template <>
struct OperandNumber<OperandF16> {
  using Stored = F16;
  HIMUON_DEVICE float rounded(float value) { return value; }
};

// Row by row in memory.
struct Plane {
  u8* base;
  u64 leading;

  template <class Element>
  __device__ __forceinline__ float load(u32 row, u32 column, bool wanted) const {
    return load_number<Element>(base + (row * leading + column) * Element::BYTES, wanted);
  }
  template <class Element>
  __device__ __forceinline__ void store(u32 row, u32 column, float value, bool wanted) const {
    store_number<Element>(base + (row * leading + column) * Element::BYTES, value, wanted);
  }
};

// Weights and what their masters have more.  //: master weights
struct MasterPlane {  //: master weights
  Plane weight, remainder;  // without remainders, as the map alone has it, the weight is all  //: master weights
  template <class Element>  //: master weights
  __device__ __forceinline__ float load(u32 row, u32 column, bool wanted) const {  //: master weights
    const u8* const low = remainder.base + (row * remainder.leading + column) * 2u;  //: master weights
    const u8* const high = weight.base + (row * weight.leading + column) * 2u;  //: master weights
    return master_of(load_global_u16(high, wanted), load_global_u16(low, wanted));  //: master weights
  }  //: master weights
  template <class Element>  //: master weights
  __device__ __forceinline__ void store(u32 row, u32 column, float value, bool wanted) const {  //: master weights
    if (remainder.base == nullptr) {  //: master weights
      weight.store<Element>(row, column, value, wanted);  //: master weights
      return;  //: master weights
    }  //: master weights
    const u32 bits = master_bits(value);  //: master weights
    store_global_u16(weight.base + (row * weight.leading + column) * 2u, rounded_half(bits), wanted);  //: master weights
    store_global_u16(remainder.base + (row * remainder.leading + column) * 2u, bits, wanted);  //: master weights
  }  //: master weights
};  //: master weights
//: master weights
// This warp's 32 x 32 numbers of a tile, in the coordinates of X and of the matrix in memory.
template <class Kernel>
struct Patch {
  using Work = StreamedWork<Kernel>;
  // X where it is exact, see StreamedWork::exact.
  using Exact = typename Kernel::Exact;
  using Stored = typename OperandNumber<typename Kernel::Operand>::Stored;

  const Work& work;
  u32 lane;
  u32 row, column;  // of the first number in X

  __device__ __forceinline__ Patch(const Work& work, u32 item) : work(work), lane(threadIdx.x & 31u) {
    const u32 across = parts(work.x_leading, PATCH_COLUMNS), down = item / across, warp = threadIdx.x >> 5;
    constexpr u32 WARPS_ACROSS = PATCH_COLUMNS / EDGE;
    row = down * PATCH_ROWS + warp / WARPS_ACROSS * EDGE;
    column = (item - down * across) * PATCH_COLUMNS + warp % WARPS_ACROSS * EDGE;
  }

  // Number i of this lane in the workspace, zero padding included.
  __device__ __forceinline__ bool inside(int i) const { return row + i < work.rows && column + lane < work.x_leading; }
  template <class Element>
  __device__ __forceinline__ void load(const u8* from, float (&values)[EDGE]) const {
    const Plane plane{const_cast<u8*>(from), work.x_leading};
#pragma unroll
    for (int i = 0; i < EDGE; i++) values[i] = plane.load<Element>(row + i, column + lane, inside(i));
  }
  template <class Element>
  __device__ __forceinline__ void store(u8* to, const float (&values)[EDGE]) const {
    const Plane plane{to, work.x_leading};
#pragma unroll
    for (int i = 0; i < EDGE; i++) plane.store<Element>(row + i, column + lane, values[i], inside(i));
  }
  // As an operand.
  __device__ __forceinline__ void store_operand(u8* to, const float (&values)[EDGE]) const {
    const Plane plane{to, work.x_leading};
#pragma unroll
    for (int i = 0; i < EDGE; i++)
      plane.store<Stored>(row + i, column + lane, OperandNumber<typename Kernel::Operand>::rounded(values[i]), inside(i));
  }

  // Number i of lane l goes to number l of lane i. `words`: this warp's own.
  __device__ __forceinline__ void transpose(float (&values)[EDGE], float (*words)[EDGE + 1]) const {
    __syncwarp();
#pragma unroll
    for (int i = 0; i < EDGE; i++) words[i][lane] = values[i];
    __syncwarp();
#pragma unroll
    for (int i = 0; i < EDGE; i++) values[i] = words[lane][i];
  }
};

// A patch in the coordinates of the tile in memory: a tall tile is the transpose of X.
template <class Kernel>
struct PatchInMemory {
  Place place;
  bool flipped;
  u32 row, column;  // of this lane's first number in the matrix
  u32 end_row;      // of the tile in the matrix
  bool column_inside;

  __device__ __forceinline__ PatchInMemory(const StreamedLaunch& launch, const Patch<Kernel>& patch) {
    const StreamedWork<Kernel>& work = patch.work;
    place = place_of(launch.matrices[work.entry.matrix], work.tile, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
    flipped = place.rows > place.columns;
    row = place.row + (flipped ? patch.column : patch.row);
    end_row = place.row + place.rows;
    const u32 within = (flipped ? patch.row : patch.column) + patch.lane;
    column = place.column + within;
    column_inside = within < place.columns;
  }
  __device__ __forceinline__ bool inside(int i) const { return column_inside && row + i < end_row; }

  HIMUON_DEVICE Plane plane(u64 pointer, u32 leading) { return {reinterpret_cast<u8*>(pointer), leading}; }
  __device__ __forceinline__ Plane gradient() const { return plane(place.matrix.gradient, place.matrix.gradient_leading); }
  __device__ __forceinline__ Plane momentum() const { return plane(place.matrix.momentum, place.matrix.columns); }
  __device__ __forceinline__ Plane weight() const { return plane(place.matrix.weight, place.matrix.weight_leading); }
  __device__ __forceinline__ MasterPlane masters() const {  //: master weights
    return {weight(), plane(place.matrix.remainder, place.matrix.columns)};  //: master weights
  }  //: master weights
  __device__ __forceinline__ Plane mapped() const {
    return plane(reinterpret_cast<u64>(place.matrix.mapped), place.matrix.columns);
  }
};

}  // namespace himuon
