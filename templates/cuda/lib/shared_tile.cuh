#pragma once
// A matrix of operands in shared memory, stored and loaded by 16 x 16 blocks without bank conflicts.
//
// Row-major. 16-bit numbers: the 16-byte chunks of a row are permuted by an exclusive or with bits of
// the row, so that eight rows of one column of chunks cover all 32 banks. 32-bit numbers: groups of
// eight columns likewise, so that four neighbouring rows, and four rows two apart (the transposed
// read), fall into different groups of eight banks.
//
// What a lane adds to an address is found once, permutation included; the column of chunks is one exclusive or
// with its lower bits, and its upper bits and the row are sums that fit into the address of the access.
#include "operand.cuh"

namespace himuon {

template <class Operand, int COLUMNS>
struct SharedTile {
  static constexpr int BYTES = Operand::BYTES;
  // 32-bit rows are padded to whole sets of four groups.
  static constexpr int STRIDE = (BYTES == 2 ? COLUMNS : (COLUMNS + 31) / 32 * 32) * BYTES;
  static constexpr u32 CHUNK_BYTES = BYTES == 2 ? 16 : 32;
  static constexpr u32 CHUNKS = STRIDE / CHUNK_BYTES;
  // Bits of a column of chunks that are permuted. Addresses of whole rows are multiples of (MASK + 1) chunks.
  static constexpr u32 MASK = BYTES == 4 || CHUNKS % 8 == 4 ? 3 : CHUNKS % 8 == 0 ? 7 : 1;

  // Addresses of this lane in block (0, 0): of a stored block, and of a loaded one. ldmatrix fills four
  // neighbouring registers, and the tensor cores take a left operand from four neighbours and a right one from
  // two: two orders of the 8 x 8 blocks, down the columns first or along the rows first.
  u32 stored;
  u32 down;
  u32 along;

  HIMUON_DEVICE u32 permutation(u32 row) {
    if constexpr (BYTES == 4)
      return ((row >> 1) & 1u) | (((row ^ (row >> 2)) & 1u) << 1);
    else if constexpr (MASK == 7)
      return row & 7u;
    else if constexpr (MASK == 3)
      return (row >> 1) & 3u;
    else
      return (row >> 2) & 1u;
  }

  // `base`: a multiple of (MASK + 1) chunks.
  HIMUON_DEVICE SharedTile at(u32 base, u32 lane) {
    SharedTile tile;
    const u32 g = lane >> 2, t = lane & 3u;
    tile.stored = base + g * STRIDE + permutation(g) * CHUNK_BYTES + (BYTES == 2 ? 4u : 8u) * t;
    if constexpr (BYTES == 2) {
      // ldmatrix: lane l addresses row l % 8 of the 8 x 8 block l / 8.
      const u32 near = lane & 7u, odd = (lane >> 3) & 1u, upper = lane >> 4;
      tile.down = base + (near + 8u * odd) * STRIDE + (upper ^ permutation(near)) * CHUNK_BYTES;
      tile.along = base + (near + 8u * upper) * STRIDE + (odd ^ permutation(near)) * CHUNK_BYTES;
    } else {
      tile.down = tile.stored;
      tile.along = base + 2u * t * STRIDE + permutation(2u * t) * CHUNK_BYTES + 4u * g;
    }
    return tile;
  }

  // A lane's address in the column of chunks `column`, 16 `row_block` + `row` rows further down.
  HIMUON_DEVICE u32 place(u32 lane, u32 row_block, u32 row, u32 column) {
    const u32 permuted = column & MASK;
    return (lane ^ (permuted * CHUNK_BYTES)) + (row_block * 16u + row) * STRIDE + (column - permuted) * CHUNK_BYTES;
  }

  // Byte offset of sixteen bytes of a row, `sixteen` in units of them.
  HIMUON_DEVICE u32 offset(u32 row, u32 sixteen) {
    constexpr u32 PARTS = CHUNK_BYTES / 16;
    return row * STRIDE + ((sixteen / PARTS) ^ permutation(row)) * CHUNK_BYTES + sixteen % PARTS * 16u;
  }

  __device__ __forceinline__ void store(u32 row_block, u32 column_block, const Block<Operand>& block) const {
    if constexpr (BYTES == 2 && STORES_MATRICES) {
      store_matrices(place(down, row_block, 0, column_block * 2u), block.pair[0][0], block.pair[0][1], block.pair[1][0],
                     block.pair[1][1]);
      return;
    }
#pragma unroll
    for (u32 c = 0; c < 2; c++)
#pragma unroll
      for (u32 r = 0; r < 2; r++) {
        const u32 address = place(stored, row_block, r * 8u, column_block * 2u + c);
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
      load_matrices(b.pair[0][0], b.pair[0][1], b.pair[1][0], b.pair[1][1], place(down, row_block, 0, column_block * 2u));
      return b;
    }
  }
  __device__ __forceinline__ Block<Operand> left_transposed(u32 row_block, u32 column_block) const {
    if constexpr (BYTES == 4) {
      return wide_transposed(row_block, column_block);
    } else {
      Block<Operand> b;
      load_matrices_transposed(b.pair[0][0], b.pair[0][1], b.pair[1][0], b.pair[1][1],
                               place(along, row_block, 0, column_block * 2u));
      return b;
    }
  }
  __device__ __forceinline__ Block<Operand> right(u32 row_block, u32 column_block) const {
    if constexpr (BYTES == 4) {
      return wide(row_block, column_block);
    } else {
      Block<Operand> b;
      load_matrices(b.pair[0][0], b.pair[1][0], b.pair[0][1], b.pair[1][1], place(along, row_block, 0, column_block * 2u));
      return b;
    }
  }
  __device__ __forceinline__ Block<Operand> right_transposed(u32 row_block, u32 column_block) const {
    if constexpr (BYTES == 4) {
      return wide_transposed(row_block, column_block);
    } else {
      Block<Operand> b;
      load_matrices_transposed(b.pair[0][0], b.pair[1][0], b.pair[0][1], b.pair[1][1],
                               place(down, row_block, 0, column_block * 2u));
      return b;
    }
  }

 private:
  __device__ __forceinline__ Block<Operand> wide(u32 row_block, u32 column_block) const {
    Block<Operand> block;
#pragma unroll
    for (u32 c = 0; c < 2; c++)
#pragma unroll
      for (u32 r = 0; r < 2; r++)
        load_shared2(block.pair[c][r].first, block.pair[c][r].second,
                     place(down, row_block, r * 8u, column_block * 2u + c));
    return block;
  }
  __device__ __forceinline__ Block<Operand> wide_transposed(u32 row_block, u32 column_block) const {
    Block<Operand> block;
#pragma unroll
    for (u32 c = 0; c < 2; c++)
#pragma unroll
      for (u32 r = 0; r < 2; r++) {
        const u32 column = column_block * 2u + r;
        block.pair[c][r].first = load_shared(place(along, row_block, c * 8u, column));
        // The permutations of rows 2 t and 2 t + 1 differ in their upper bit alone.
        block.pair[c][r].second = load_shared(place(along, row_block, c * 8u + 1u, column ^ 2u));
      }
    return block;
  }
};

}  // namespace himuon
