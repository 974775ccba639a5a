#pragma once
// From matrices in memory to the accumulators of a tile and back, without a detour.
//
// The map of a tile commutes with any permutation of its rows and of its columns. So the numbers that
// a lane holds in its accumulators are chosen to be neighbours in memory: the lane with column t of a
// quad of lanes takes columns 4 t .. 4 t + 3 of a block, one vector access, and four lanes read 16
// neighbours. A tall tile (rows > columns) is held transposed; then a lane's rows are the neighbours.
#include "element.cuh"
#include "resident_tile.cuh"
#include "launch.cuh"
#include "master_quad.cuh"  //: master weights

namespace himuon {

// A tile as a window on memory, in the coordinates of X (rows <= columns).
struct Window {
  u32 rows, columns;  // of X; beyond them are zeros
  u32 flipped;        // 0 or 1: X is the transpose of what is in memory
  u32 vectors;        // 0 or 1: four neighbours can be accessed at once
};

template <class Kernel>
struct Fragment {
  using Site = Resident<Kernel>;
  static constexpr int ROW_BLOCKS = Site::ROW_BLOCKS;
  static constexpr int COLUMN_BLOCKS = Site::COLUMN_BLOCKS;
  static constexpr bool TALL = Kernel::TALL;
  static constexpr int QUADS = ROW_BLOCKS * 2 * COLUMN_BLOCKS;
  static_assert(!TALL || ROW_BLOCKS % 2 == 0, "a tall tile needs pairs of row blocks");

  // Quads that are in flight together.
  static constexpr int BATCH = QUADS < Kernel::BATCH ? QUADS : Kernel::BATCH;
  static_assert(QUADS % BATCH == 0, "the batch must divide the number of quads of a lane");

  // Quad q of a lane: where its first number lies in X.
  static __device__ __forceinline__ u32 row_of(const Site& site, int q) {
    const u32 g = site.lane >> 2;
    const int slot = TALL ? 4 * (q / (4 * COLUMN_BLOCKS)) : q / COLUMN_BLOCKS;
    return site.first_strip * 16u + g * (2u * ROW_BLOCKS) + slot;
  }
  static __device__ __forceinline__ u32 column_of(const Site& site, int q) {
    const u32 t = site.lane & 3u;
    const int within = q % (4 * COLUMN_BLOCKS);
    return TALL ? (within / 4) * 16u + 4u * t + within % 4 : (q % COLUMN_BLOCKS) * 16u + 4u * t;
  }

  // The accumulator of number e of quad q.
  static __device__ __forceinline__ float& at(Accumulator (&x)[ROW_BLOCKS][COLUMN_BLOCKS], int q, int e) {
    if constexpr (TALL) {
      const int slot = 4 * (q / (4 * COLUMN_BLOCKS)) + e, within = q % (4 * COLUMN_BLOCKS);
      return x[slot / 2][within / 4].value[within % 4 / 2][2 * (slot % 2) + within % 2];
    } else {
      const int slot = q / COLUMN_BLOCKS;
      return x[slot / 2][q % COLUMN_BLOCKS].value[e / 2][2 * (slot % 2) + e % 2];
    }
  }

  HIMUON_DEVICE bool aligned(u64 pointer, u32 leading, u32 bytes) {
    return ((u32(pointer) | leading * bytes) & (4u * bytes - 1u)) == 0u;
  }

  // `aligned` tells of all tensors that the window is put on.
  HIMUON_DEVICE Window window(const Place& place, bool all_aligned) {
    Window window;
    // A square one may lie either way; but `turbo` scales its rows.
    window.flipped = place.rows > place.columns || (TALL && !Kernel::TURBO && place.rows == place.columns);
    window.rows = window.flipped ? place.columns : place.rows;
    window.columns = window.flipped ? place.rows : place.columns;
    const bool whole_quads = (Kernel::TILE_COLUMNS % 4u == 0u || place.column % 4u == 0u) && place.columns % 4u == 0u;
    window.vectors = all_aligned && window.flipped == TALL && whole_quads;
    return window;
  }

  // Bytes from one row, and from one column, of X to the next.
  template <class Element>
  struct Strides {
    u64 row, column;
    HIMUON_DEVICE Strides of(const Window& window, u32 leading) {
      const u64 line = u64(leading) * Element::BYTES, step = Element::BYTES;
      return {window.flipped ? step : line, window.flipped ? line : step};
    }
  };

  static __device__ __forceinline__ u32 wanted(const Window& window, u32 row, u32 column) {
    u32 bits = 0;
#pragma unroll
    for (u32 e = 0; e < 4; e++) {
      const bool inside = TALL ? row + e < window.rows && column < window.columns
                               : row < window.rows && column + e < window.columns;
      bits |= u32(inside) << e;
    }
    return bits;
  }

  HIMUON_DEVICE u64 vector_offset(const Site& site, int q, u64 line, u32 bytes) {
    const u32 row = row_of(site, q), column = column_of(site, q);
    return TALL ? column * line + row * bytes : row * line + column * bytes;
  }
  HIMUON_DEVICE bool inside(const Site& site, const Window& window, int q) {
    return row_of(site, q) < window.rows && column_of(site, q) < window.columns;
  }

  // Quads first .. first + COUNT - 1 of this lane; zeros outside the window.
  template <class Element, int COUNT>
  static __device__ __forceinline__ void load(const Site& site, const Window& window, u64 corner, u32 leading,
                                              int first, Quad<Element> (&quads)[COUNT]) {
    const u8* base = reinterpret_cast<const u8*>(corner);
    if (window.vectors) {
      const u64 line = u64(leading) * Element::BYTES;
#pragma unroll
      for (int i = 0; i < COUNT; i++)
        quads[i] = load_quad<Element>(base + vector_offset(site, first + i, line, Element::BYTES),
                                      inside(site, window, first + i));
    } else {
      const auto strides = Strides<Element>::of(window, leading);
#pragma unroll
      for (int i = 0; i < COUNT; i++) {
        const u32 row = row_of(site, first + i), column = column_of(site, first + i);
        quads[i] = gather_quad<Element>(base + row * strides.row + column * strides.column,
                                        TALL ? strides.row : strides.column, wanted(window, row, column));
      }
    }
  }

  // Stores value(i) as quad first + i; nothing outside the window.
  template <class Element, int COUNT, class Value>
  static __device__ __forceinline__ void store(const Site& site, const Window& window, u64 corner, u32 leading,
                                               int first, Value value) {
    u8* base = reinterpret_cast<u8*>(corner);
    if (window.vectors) {
      const u64 line = u64(leading) * Element::BYTES;
#pragma unroll
      for (int i = 0; i < COUNT; i++)
        store_quad<Element>(base + vector_offset(site, first + i, line, Element::BYTES), value(i),
                            inside(site, window, first + i));
    } else {
      const auto strides = Strides<Element>::of(window, leading);
#pragma unroll
      for (int i = 0; i < COUNT; i++) {
        const u32 row = row_of(site, first + i), column = column_of(site, first + i);
        scatter_quad<Element>(base + row * strides.row + column * strides.column,
                              TALL ? strides.row : strides.column, value(i), wanted(window, row, column));
      }
    }
  }
};

}  // namespace himuon
