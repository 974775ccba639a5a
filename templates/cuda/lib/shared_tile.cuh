#pragma once
// A matrix of operands in shared memory, stored and loaded by 16 x 16 blocks without bank conflicts.
//
// Row-major. 16-bit numbers: the 16-byte chunks of a row are permuted by an exclusive or with bits of
// the row, so that eight rows of one column of chunks cover all 32 banks. 32-bit numbers: groups of
// eight columns likewise, so that four neighbouring rows, and four rows two apart (the transposed
// read), fall into different groups of eight banks.
#include "operand.cuh"

namespace himuon {

template <class Operand, int COLUMNS>
struct SharedTile {
  static constexpr int BYTES = Operand::BYTES;
  // 32-bit rows are padded to whole sets of four groups.
  static constexpr int STRIDE = (BYTES == 2 ? COLUMNS : (COLUMNS + 31) / 32 * 32) * BYTES;
  static constexpr int CHUNK_BYTES = BYTES == 2 ? 16 : 32;

  u32 base;
  u32 store_row, store_chunk;  // this lane's place in a stored block
  // Its places in a loaded one. ldmatrix fills four neighbouring registers, and the tensor cores take
  // a left operand from four neighbours and a right one from two: two orders of the 8 x 8 blocks,
  // down the columns first or along the rows first.
  u32 down_row, down_chunk;
  u32 along_row, along_chunk;

  HIMUON_DEVICE u32 permutation(u32 row) {
    constexpr int CHUNKS = STRIDE / CHUNK_BYTES;
    if constexpr (BYTES == 4)
      return ((row >> 1) & 1u) | (((row ^ (row >> 2)) & 1u) << 1);
    else if constexpr (CHUNKS % 8 == 0)
      return row & 7u;
    else if constexpr (CHUNKS % 4 == 0)
      return (row >> 1) & 3u;
    else
      return (row >> 2) & 1u;
  }

  HIMUON_DEVICE SharedTile at(u32 base, u32 lane) {
    SharedTile tile;
    const u32 g = lane >> 2, t = lane & 3u;
    tile.base = base;
    tile.store_row = g * STRIDE + (BYTES == 2 ? 4u * t : 8u * t);
    tile.store_chunk = permutation(g);
    if constexpr (BYTES == 2) {
      // ldmatrix: lane l addresses row l % 8 of the 8 x 8 block l / 8.
      const u32 near = lane & 7u, odd = (lane >> 3) & 1u, upper = lane >> 4;
      tile.down_row = (near + 8u * odd) * STRIDE;
      tile.down_chunk = upper ^ permutation(near);
      tile.along_row = (near + 8u * upper) * STRIDE;
      tile.along_chunk = odd ^ permutation(near);
    } else {
      tile.down_row = tile.store_row;
      tile.down_chunk = tile.store_chunk;
      tile.along_row = 2u * t * STRIDE + 4u * g;
      tile.along_chunk = permutation(2u * t);
    }
    return tile;
  }

  // Byte offset of chunk `column` (in units of CHUNK_BYTES) under this lane's permutation.
  HIMUON_DEVICE u32 chunk(u32 column, u32 permuted) { return (column ^ permuted) * CHUNK_BYTES; }

  __device__ __forceinline__ void store(u32 row_block, u32 column_block, const Block<Operand>& block) const {
#pragma unroll
    for (int c = 0; c < 2; c++)
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const u32 address = base + store_row + (row_block * 16u + r * 8u) * STRIDE +
                            chunk(column_block * 2u + c, store_chunk);
        if constexpr (BYTES == 2)
          store_shared(address, block.pair[c][r]);
        else
          store_shared2(address, block.pair[c][r].first, block.pair[c][r].second);
      }
  }

  // The stored block, and the transpose of the stored block, as a left and as a right operand.
  __device__ __forceinline__ Block<Operand> left(u32 row_block, u32 column_block) const {
    if constexpr (BYTES == 4) {
      return wide(row_block, column_block);
    } else {
      Block<Operand> b;
      load_matrices(b.pair[0][0], b.pair[0][1], b.pair[1][0], b.pair[1][1], down(row_block, column_block));
      return b;
    }
  }
  __device__ __forceinline__ Block<Operand> left_transposed(u32 row_block, u32 column_block) const {
    if constexpr (BYTES == 4) {
      return wide_transposed(row_block, column_block);
    } else {
      Block<Operand> b;
      load_matrices_transposed(b.pair[0][0], b.pair[0][1], b.pair[1][0], b.pair[1][1], along(row_block, column_block));
      return b;
    }
  }
  __device__ __forceinline__ Block<Operand> right(u32 row_block, u32 column_block) const {
    if constexpr (BYTES == 4) {
      return wide(row_block, column_block);
    } else {
      Block<Operand> b;
      load_matrices(b.pair[0][0], b.pair[1][0], b.pair[0][1], b.pair[1][1], along(row_block, column_block));
      return b;
    }
  }
  __device__ __forceinline__ Block<Operand> right_transposed(u32 row_block, u32 column_block) const {
    if constexpr (BYTES == 4) {
      return wide_transposed(row_block, column_block);
    } else {
      Block<Operand> b;
      load_matrices_transposed(b.pair[0][0], b.pair[1][0], b.pair[0][1], b.pair[1][1], down(row_block, column_block));
      return b;
    }
  }

 private:
  __device__ __forceinline__ u32 down(u32 row_block, u32 column_block) const {
    return base + row_block * 16u * STRIDE + down_row + chunk(column_block * 2u, down_chunk);
  }
  __device__ __forceinline__ u32 along(u32 row_block, u32 column_block) const {
    return base + row_block * 16u * STRIDE + along_row + chunk(column_block * 2u, along_chunk);
  }

  __device__ __forceinline__ Block<Operand> wide(u32 row_block, u32 column_block) const {
    Block<Operand> block;
#pragma unroll
    for (int c = 0; c < 2; c++)
#pragma unroll
      for (int r = 0; r < 2; r++)
        load_shared2(block.pair[c][r].first, block.pair[c][r].second,
                     base + (row_block * 16u + r * 8u) * STRIDE + down_row +
                         chunk(column_block * 2u + c, down_chunk));
    return block;
  }
  __device__ __forceinline__ Block<Operand> wide_transposed(u32 row_block, u32 column_block) const {
    Block<Operand> block;
#pragma unroll
    for (int c = 0; c < 2; c++)
#pragma unroll
      for (int r = 0; r < 2; r++) {
        // The permutations of rows 2 t and 2 t + 1 differ in their upper bit alone.
        const u32 row = base + (row_block * 16u + c * 8u) * STRIDE + along_row;
        block.pair[c][r].first = load_shared(row + chunk(column_block * 2u + r, along_chunk));
        block.pair[c][r].second = load_shared(row + STRIDE + chunk(column_block * 2u + r, along_chunk ^ 2u));
      }
    return block;
  }
};

}  // namespace himuon
