#pragma once
// One BLOCK x BLOCK block of a product of matrices in the workspace, by all warps of a thread block: panels of
// DEPTH columns arrive in shared memory by asynchronous copies, STAGES of them in flight.
#include "shared_tile.cuh"
#include "streamed_tile.cuh"

namespace himuon {

// A row-major matrix of operands; its rows start at multiples of 32 bytes and end in zeros.
struct Panel {
  const u8* base;
  u32 rows;
  u32 leading;
};

template <class Kernel>
struct Product {
  using Operand = typename Kernel::Operand;
  using Operation = Block<Operand>;
  static constexpr int BLOCK = Kernel::BLOCK;
  static constexpr int STAGES = Kernel::STAGES;
  static constexpr int WARPS_DOWN = 2;
  static constexpr int WARPS_ACROSS = Kernel::WARPS / WARPS_DOWN;
  static constexpr int ROW_BLOCKS = BLOCK / WARPS_DOWN / 16;
  static constexpr int COLUMN_BLOCKS = BLOCK / WARPS_ACROSS / 16;
  static constexpr int DEPTH = 32;
  static constexpr int THREADS = 32 * Kernel::WARPS;
  // Numbers of one copy.
  static constexpr int COPY = 16 / Operand::BYTES;

  using ByRows = SharedTile<Operand, DEPTH>;
  using ByColumns = SharedTile<Operand, BLOCK>;
  static constexpr u32 PANEL_BYTES = BLOCK * DEPTH * Operand::BYTES;
  static constexpr u32 SHARED_BYTES = 2 * PANEL_BYTES * STAGES;
  // The place of a warp where a block of the result is turned around.
  using Turned = SharedTile<Operand, 16>;
  static constexpr u32 TURNED_BYTES = 16 * Turned::STRIDE;
  static_assert(Kernel::WARPS * TURNED_BYTES <= SHARED_BYTES, "results are turned around where the panels were");

  u32 shared;
  u32 lane;
  u32 row, column;  // of this warp's first 16 x 16 block in the block of the thread block, in units of them
  Accumulator sums[ROW_BLOCKS][COLUMN_BLOCKS];

  __device__ __forceinline__ explicit Product(u32 shared) : shared(shared), lane(threadIdx.x & 31u) {
    const u32 warp = threadIdx.x >> 5;
    row = warp / WARPS_ACROSS * ROW_BLOCKS;
    column = warp % WARPS_ACROSS * COLUMN_BLOCKS;
  }

  // Rows first .. first + BLOCK - 1, columns depth .. depth + DEPTH - 1.
  static __device__ __forceinline__ void copy_rows(u32 to, const Panel& panel, u32 first, u32 depth) {
    constexpr u32 ACROSS = DEPTH / COPY, COUNT = BLOCK * ACROSS / THREADS;
#pragma unroll
    for (u32 i = 0; i < COUNT; i++) {
      const u32 number = threadIdx.x + i * THREADS, r = number / ACROSS, c = number % ACROSS;
      copy(to + ByRows::offset(r, c), panel, first + r, depth + c * COPY);
    }
  }
  // Rows depth .. depth + DEPTH - 1, columns first .. first + BLOCK - 1.
  static __device__ __forceinline__ void copy_columns(u32 to, const Panel& panel, u32 first, u32 depth) {
    constexpr u32 ACROSS = BLOCK / COPY, COUNT = DEPTH * ACROSS / THREADS;
#pragma unroll
    for (u32 i = 0; i < COUNT; i++) {
      const u32 number = threadIdx.x + i * THREADS, r = number / ACROSS, c = number % ACROSS;
      copy(to + ByColumns::offset(r, c), panel, depth + r, first + c * COPY);
    }
  }
  static __device__ __forceinline__ void copy(u32 to, const Panel& panel, u32 r, u32 c) {
    const bool inside = r < panel.rows && c < panel.leading;
    const u64 place = inside ? (u64(r) * panel.leading + c) * Operand::BYTES : 0u;
    copy_to_shared(to, panel.base + place, inside);
  }

  // sums <- left[block row] right^T[block column], or right[block column] where BY_ROWS is false; `extent` of both
  // run over the sum. Leaves with the shared memory free.
  template <bool BY_ROWS>
  __device__ __forceinline__ void multiply(const Panel& left, u32 block_row, const Panel& right, u32 block_column,
                                           u32 extent) {
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++) clear(sums[m][n]);
    const u32 panels = parts(extent, DEPTH);
    __syncthreads();  // the results of the previous block have been turned around
    const auto fetch = [&](u32 panel) {
      if (panel < panels) {
        const u32 to = shared + panel % STAGES * (2u * PANEL_BYTES);
        copy_rows(to, left, block_row * BLOCK, panel * DEPTH);
        if (BY_ROWS)
          copy_rows(to + PANEL_BYTES, right, block_column * BLOCK, panel * DEPTH);
        else
          copy_columns(to + PANEL_BYTES, right, block_column * BLOCK, panel * DEPTH);
      }
      close_copies();
    };
#pragma unroll
    for (u32 panel = 0; panel + 1 < STAGES; panel++) fetch(panel);
#pragma unroll 1
    for (u32 panel = 0; panel < panels; panel++) {
      await_copies<STAGES - 2>();
      __syncthreads();  // the panel is there for all, and the one before has been read by all
      fetch(panel + STAGES - 1);
      add_panel<BY_ROWS>(shared + panel % STAGES * (2u * PANEL_BYTES));
    }
    await_copies<0>();
    __syncthreads();
  }

  template <bool BY_ROWS>
  __device__ __forceinline__ void add_panel(u32 panel) {
    const ByRows left_tile = ByRows::at(panel, lane), right_rows = ByRows::at(panel + PANEL_BYTES, lane);
    const ByColumns right_columns = ByColumns::at(panel + PANEL_BYTES, lane);
#pragma unroll
    for (u32 k = 0; k < DEPTH / 16; k++) {
      Operation left[ROW_BLOCKS];
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++) left[m] = left_tile.left(row + m, k);
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++) {
        const Operation right = BY_ROWS ? right_rows.right(column + n, k) : right_columns.right_transposed(k, column + n);
#pragma unroll
        for (int m = 0; m < ROW_BLOCKS; m++) multiply_add(sums[m][n], left[m], right);
      }
    }
  }

  // Calls body(sums, row, column) for this warp's 16 x 16 blocks that begin inside rows x leading.
  template <class Body>
  __device__ __forceinline__ void each_block(u32 block_row, u32 block_column, u32 rows, u32 leading, Body body) {
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++) {
        const u32 r = block_row * BLOCK + (row + m) * 16u, c = block_column * BLOCK + (column + n) * 16u;
        if (r < rows && c < leading) body(sums[m][n], r, c);
      }
  }

  // The sum over all threads, in a fixed order; the first thread has it.
  __device__ __forceinline__ float sum_over_warps(float value) const {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) value += shuffle_xor(value, mask);
    __syncthreads();  // results have been turned around
    if (lane == 0) store_shared(shared + (threadIdx.x >> 5) * 4u, bits_of(value));
    __syncthreads();
    value = 0.0f;
    for (u32 warp = 0; warp < Kernel::WARPS; warp++) value += float_of(load_shared(shared + warp * 4u));
    return value;
  }

  // The transpose, through this warp's own place in shared memory.
  __device__ __forceinline__ Operation turned(const Operation& block) const {
    const Turned place = Turned::at(shared + (threadIdx.x >> 5) * TURNED_BYTES, lane);
    __syncwarp();
    place.store(0u, 0u, block);
    __syncwarp();
    return place.left_transposed(0u, 0u);
  }
};

// A 16 x 16 block of operands in global memory, a sector of 32 bytes by four lanes; rows from `rows` on are left out.
template <class Operand>
struct BlockInMemory {
  u8* base;
  u64 leading;
  u32 rows;
  u32 lane;

  __device__ __forceinline__ bool inside(u32 row, int half) const { return row + 8u * half + (lane >> 2) < rows; }
  __device__ __forceinline__ u8* place(u32 row, u32 column, int half, u32 within, u32 bytes) const {
    return base + ((row + 8u * half + (lane >> 2)) * leading + column + within) * bytes;
  }

  // Two lanes exchange pairs, so that each has four neighbours: of the left half the even one, of the right the odd.
  HIMUON_DEVICE u32 four(u32 t) { return (t & 1u) ? 6u + 2u * t : 2u * t; }

  __device__ __forceinline__ void store(u32 row, u32 column, const Block<Operand>& block) const {
    const u32 t = lane & 3u;
    const bool odd = t & 1u;
#pragma unroll
    for (int r = 0; r < 2; r++) {
      if constexpr (Operand::BYTES == 2) {
        const u32 received = shuffle_xor(odd ? block.pair[0][r] : block.pair[1][r], 1);
        store_global2(place(row, column, r, four(t), 2), odd ? received : block.pair[0][r],
                      odd ? block.pair[1][r] : received, inside(row, r));
      } else {
#pragma unroll
        for (int c = 0; c < 2; c++)
          store_global2(place(row, column, r, 8u * c + 2u * t, 4), block.pair[c][r].first, block.pair[c][r].second,
                        inside(row, r));
      }
    }
  }
  __device__ __forceinline__ Block<Operand> load(u32 row, u32 column) const {
    const u32 t = lane & 3u;
    const bool odd = t & 1u;
    Block<Operand> block;
#pragma unroll
    for (int r = 0; r < 2; r++) {
      if constexpr (Operand::BYTES == 2) {
        u32 w0, w1;
        load_global2(w0, w1, place(row, column, r, four(t), 2), inside(row, r));
        const u32 received = shuffle_xor(odd ? w0 : w1, 1);
        block.pair[0][r] = odd ? received : w0;
        block.pair[1][r] = odd ? w1 : received;
      } else {
#pragma unroll
        for (int c = 0; c < 2; c++)
          load_global2(block.pair[c][r].first, block.pair[c][r].second,
                       place(row, column, r, 8u * c + 2u * t, 4), inside(row, r));
      }
    }
    return block;
  }

  // The same of a matrix in f32.
  __device__ __forceinline__ void store_f32(u32 row, u32 column, const Accumulator& values) const {
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
      for (int c = 0; c < 2; c++)
        store_global2(place(row, column, r, 8u * c + 2u * (lane & 3u), 4), bits_of(values.value[c][2 * r]),
                      bits_of(values.value[c][2 * r + 1]), inside(row, r));
  }
  __device__ __forceinline__ Accumulator load_f32(u32 row, u32 column) const {
    Accumulator values;
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
      for (int c = 0; c < 2; c++) {
        u32 first, second;
        load_global2(first, second, place(row, column, r, 8u * c + 2u * (lane & 3u), 4), inside(row, r));
        values.value[c][2 * r] = float_of(first);
        values.value[c][2 * r + 1] = float_of(second);
      }
    return values;
  }
};

}  // namespace himuon
