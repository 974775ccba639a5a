// HiMuon kernel 0.1.0, generated. Do not edit: remake it with
//   himuon emit --spec 'tile=64x256 steps=5 power=0 coefficients=polar-express weight=bf16 momentum=f32 operand=bf16 mode=accurate criterion=effective_rank(0.1) scope=tile otherwise=momentum coarse=0' --variant 'plain:warps=8' --architecture sm_80
// specification  tile=64x256 steps=5 power=0 coefficients=polar-express weight=bf16 momentum=f32 operand=bf16 mode=accurate criterion=effective_rank(0.1) scope=tile otherwise=momentum coarse=0
// variant        plain:warps=8
// architecture   sm_80
// accuracy       |s_K / s^p - 1| <= 1.54e-1 for singular values s of X in [1e-3, 1], p = 0; 15 matrix products

// ---- plain/element.cuh
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

namespace himuon {

struct Kernel {
  using Weight = Bf16;
  using Momentum = F32;
  using Operand = Bf16;
  static constexpr bool REFERENCE = false;
  static constexpr u32 THREADS = 256;
  static constexpr u32 TILE_ROWS = 64u;
  static constexpr u32 TILE_COLUMNS = 256u;
};

}  // namespace himuon

// ---- plain/odd.cuh
// Odd polynomials: power 0.
// ---- plain/tile.cuh
// The matrices of one block in global memory, f32, row after row. `rows` <= `columns` always: a taller tile is
// held transposed.
// ---- plain/block.cuh
// Work shared by the threads of a block. Reductions have a fixed order: the same bits on every run.

namespace himuon {

struct Sum {
  HIMUON_DEVICE float join(float a, float b) { return a + b; }
};
struct Largest {
  HIMUON_DEVICE float join(float a, float b) { return a > b ? a : b; }
};

// Joins one value of each thread; every thread gets the result.
template <class Join>
HIMUON_DEVICE float over_block(float value) {
  __shared__ float partial[Kernel::THREADS];
  partial[threadIdx.x] = value;
  __syncthreads();
  // Kernel::THREADS need not be a power of two.
  for (u32 count = Kernel::THREADS; count > 1;) {
    const u32 half = (count + 1) / 2;
    if (threadIdx.x + half < count)
      partial[threadIdx.x] = Join::join(partial[threadIdx.x], partial[threadIdx.x + half]);
    __syncthreads();
    count = half;
  }
  const float result = partial[0];
  __syncthreads();
  return result;
}

// Calls `body(i)` for i = 0..count, spread over the block, and waits for all.
template <class Body>
HIMUON_DEVICE void each(u64 count, Body body) {
#pragma unroll 1
  for (u64 i = threadIdx.x; i < count; i += Kernel::THREADS) body(i);
  __syncthreads();
}

// The sum of `term(i)` for i = 0..count.
template <class Term>
HIMUON_DEVICE float sum(u64 count, Term term) {
  float local = 0.0f;
#pragma unroll 1
  for (u64 i = threadIdx.x; i < count; i += Kernel::THREADS) local += term(i);
  return over_block<Sum>(local);
}

}  // namespace himuon

namespace himuon {

struct Work {
  u32 rows;
  u32 columns;
  float* x;     // rows x columns: the tile, and at last its map
  float* y;     // rows x columns
  float* next;  // rows x columns
  float* mix;   // rows x columns
  float* gram;  // rows x rows
  float* poly;  // rows x rows

  HIMUON_DEVICE Work at(float* memory, u32 rows, u32 columns) {
    const u64 size = u64(rows) * columns, square = u64(rows) * rows;
    Work work;
    work.rows = rows;
    work.columns = columns;
    work.x = memory;
    work.y = work.x + size;
    work.next = work.y + size;
    work.mix = work.next + size;
    work.gram = work.mix + size;
    work.poly = work.gram + square;
    return work;
  }
  __device__ __forceinline__ u64 size() const { return u64(rows) * columns; }
  __device__ __forceinline__ u64 square() const { return u64(rows) * rows; }
};

HIMUON_DEVICE void swap(float*& a, float*& b) {
  float* const held = a;
  a = b;
  b = held;
}

HIMUON_DEVICE float operand(float value) { return rounded<Kernel::Operand>(value); }

// A number as the published code would have stored it at this point; itself in accurate mode.
HIMUON_DEVICE float stored(float value) { return Kernel::REFERENCE ? rounded<Bf16>(value) : value; }

// Row i of `left` times column j of `right`: one chain of fused multiply-adds in ascending k.
HIMUON_DEVICE float row_by_column(const float* left, u32 i, const float* right, u32 j, u32 inner, u32 columns) {
  float sum = 0.0f;
  for (u32 k = 0; k < inner; k++)
    sum = fmaf(operand(left[u64(i) * inner + k]), operand(right[u64(k) * columns + j]), sum);
  return sum;
}

// The Gram matrix m m^T.
HIMUON_DEVICE void gram(const Work& work, const float* m, float* out) {
  each(work.square(), [&](u64 index) {
    const u64 i = index / work.rows, j = index % work.rows;
    float sum = 0.0f;
    for (u32 k = 0; k < work.columns; k++)
      sum = fmaf(operand(m[i * work.columns + k]), operand(m[j * work.columns + k]), sum);
    out[index] = stored(sum);
  });
}

// An element of square * m, for the element `index` of m.
HIMUON_DEVICE float product(const Work& work, const float* square, const float* m, u64 index) {
  return row_by_column(square, u32(index / work.columns), m, u32(index % work.columns), work.rows, work.columns);
}

}  // namespace himuon

namespace himuon {

// X <- aX + BX, B = bA + cA^2, A = X X^T (arXiv 2606.27216).
HIMUON_DEVICE void odd_step(Work& work, float a, float b, float c) {
  gram(work, work.x, work.gram);
  each(work.square(), [&](u64 index) {
    const u32 i = u32(index / work.rows), j = u32(index % work.rows);
    const float square = c == 0.0f ? 0.0f : row_by_column(work.gram, i, work.gram, j, work.rows, work.rows);
    work.poly[index] = stored(fmaf(b, work.gram[index], c * square));
  });
  each(work.size(), [&](u64 index) {
    const float moved = stored(product(work, work.poly, work.x, index));
    work.next[index] = stored(fmaf(a, work.x[index], moved));
  });
  swap(work.x, work.next);
}

// The almost-orthogonal rescale X_i / sqrt(sum_j |X X^T|_ij) (arXiv 2512.04632); a zero row stays zero.
HIMUON_DEVICE void rescale_rows(Work& work) {
  gram(work, work.x, work.gram);
  each(work.rows, [&](u64 i) {
    float sum = 0.0f;
    for (u32 j = 0; j < work.rows; j++) sum += fabsf(work.gram[i * work.rows + j]);
    work.poly[i] = sum > 0.0f ? 1.0f / sqrtf(sum) : 0.0f;
  });
  each(work.size(), [&](u64 index) { work.x[index] *= work.poly[index / work.columns]; });
}

}  // namespace himuon
// ---- plain/powers.cuh
// Recurrences in two variables: U S^p V^T, 0 < p < 1. Each leaves its result in `x`.

namespace himuon {

// Two products a step: Y <- aY + dX + A (bY + eX), A = Y Y^T, on X / nu, nu = ||X X^T||_F^(1/2).
struct Fitted {
  Work& work;
  float nu;

  __device__ __forceinline__ explicit Fitted(Work& work) : work(work) {
    gram(work, work.x, work.gram);
    nu = sqrtf(sqrtf(sum(work.square(), [&](u64 i) { return work.gram[i] * work.gram[i]; })));
    const float inverse = nu > 0.0f ? 1.0f / nu : 0.0f;
    each(work.size(), [&](u64 i) { work.y[i] = work.x[i] = work.x[i] * inverse; });
  }

  __device__ __forceinline__ void step(float a, float b, float d, float e) {
    gram(work, work.y, work.gram);
    each(work.size(), [&](u64 i) { work.mix[i] = fmaf(b, work.y[i], e * work.x[i]); });
    each(work.size(), [&](u64 i) {
      work.next[i] = fmaf(a, work.y[i], fmaf(d, work.x[i], product(work, work.gram, work.mix, i)));
    });
    swap(work.y, work.next);
  }

  __device__ __forceinline__ void finish(float power) {
    const float factor = nu > 0.0f ? powf(nu, power) : 0.0f;
    each(work.size(), [&](u64 i) { work.x[i] = work.y[i] * factor; });
  }
};

// Q = aI - b Y Y^T; X <- Q^n X; Y <- Q^m Y, from Y = X; p = 1 - n/m.
struct Coupled {
  Work& work;

  __device__ __forceinline__ explicit Coupled(Work& work) : work(work) {
    each(work.size(), [&](u64 i) { work.y[i] = work.x[i]; });
  }

  __device__ __forceinline__ void step(float a, float b, u32 n, u32 m) {
    gram(work, work.y, work.gram);
    each(work.square(), [&](u64 index) {
      const float diagonal = index / work.rows == index % work.rows ? a : 0.0f;
      work.gram[index] = fmaf(-b, work.gram[index], diagonal);
    });
    for (u32 turn = 0; turn < n; turn++) multiply(work.x);
    for (u32 turn = 0; turn < m; turn++) multiply(work.y);
  }

 private:
  __device__ __forceinline__ void multiply(float*& matrix) {
    each(work.size(), [&](u64 i) { work.next[i] = product(work, work.gram, matrix, i); });
    swap(matrix, work.next);
  }
};

// The published p = 1/3 form: Y <- Y - c (Y Y^T Y - X), from Y = X (arXiv 2606.13867).
struct Authors {
  Work& work;

  __device__ __forceinline__ explicit Authors(Work& work) : work(work) {
    each(work.size(), [&](u64 i) { work.y[i] = work.x[i]; });
  }

  __device__ __forceinline__ void step(float damping) {
    gram(work, work.y, work.gram);
    each(work.size(), [&](u64 i) {
      const float cube = product(work, work.gram, work.y, i);
      work.next[i] = fmaf(-damping, cube - work.x[i], work.y[i]);
    });
    swap(work.y, work.next);
  }

  __device__ __forceinline__ void finish() {
    each(work.size(), [&](u64 i) { work.x[i] = work.y[i]; });
  }
};

}  // namespace himuon
// ---- plain/step.cuh
// The optimizer step of one tile around the map.
// ---- plain/launch.cuh
// What a launch is handed: a table of matrices, a table of groups, and one report per tile.

namespace himuon {

// 64 bytes. Row i of a tensor starts at i * leading dimension; momentum and `mapped` are contiguous.
struct Matrix {
  const void* gradient;
  void* momentum;
  void* weight;
  float* mapped;  // rows x columns, power > 0 only: the mapped tiles between the launches
  u32 rows;
  u32 columns;
  u32 gradient_leading;
  u32 weight_leading;
  u32 first_tile;  // tiles are numbered through all matrices, row by row
  u32 group;
  float factor;  // power > 0: written by `himuon_norm`, what the update is multiplied by
  float largest;  // power > 0: the largest tile norm
};

// 32 bytes: buf <- mu buf + c g; m <- alpha g + beta buf; W <- (1 - lr wd) W - lr scale(map(m)).
struct Group {
  float learning_rate;
  float weight_decay;
  float mu;
  float c;
  float alpha;
  float beta;
  float scale_factor;
  u32 scale_rule;  // SCALE_*
};

enum ScaleRule : u32 {
  SCALE_EXACT = 0,
  SCALE_PAPER = 1,
  SCALE_ORIGINAL = 2,
  SCALE_MATCH_RMS_ADAMW = 3,
  SCALE_NONE = 4,
};

// 16 bytes.
struct TileReport {
  float norm;                 // ||M||_F
  float inner_product;        // <X, O>, X = M / ||M||_F
  float mapped_norm_squared;  // ||O||_F^2
  u32 flags;                  // TILE_*
};

constexpr u32 TILE_NON_FINITE = 1;
constexpr u32 TILE_UNORTHOGONALISED = 2;

// A tile as cut: the last row and column of tiles may be smaller.
struct Place {
  u32 matrix;
  u32 row;
  u32 column;
  u32 height;
  u32 width;
};

HIMUON_DEVICE u32 smaller(u32 a, u32 b) { return a < b ? a : b; }
HIMUON_DEVICE u32 larger(u32 a, u32 b) { return a > b ? a : b; }

// The matrix whose tiles include `tile`: the last one that starts at or before it.
HIMUON_DEVICE Place place_of(const Matrix* matrices, u32 matrix_count, u32 tile) {
  u32 low = 0, high = matrix_count;
  while (high - low > 1) {
    const u32 middle = low + (high - low) / 2;
    if (matrices[middle].first_tile <= tile)
      low = middle;
    else
      high = middle;
  }
  const Matrix& matrix = matrices[low];
  const u32 height = smaller(Kernel::TILE_ROWS, matrix.rows);
  const u32 width = smaller(Kernel::TILE_COLUMNS, matrix.columns);
  const u32 across = (matrix.columns - 1) / width + 1;
  const u32 index = tile - matrix.first_tile;
  Place place;
  place.matrix = low;
  place.row = index / across * height;
  place.column = index % across * width;
  place.height = smaller(height, matrix.rows - place.row);
  place.width = smaller(width, matrix.columns - place.column);
  return place;
}

HIMUON_DEVICE float root(u32 value) { return sqrtf(float(value)); }

// What a mapped tile is multiplied by at power 0, before the learning rate.
HIMUON_DEVICE float scale_of(const Matrix& matrix, const Group& group, const Place& place) {
  if (group.scale_rule == SCALE_NONE) return 1.0f;
  if (group.scale_rule == SCALE_ORIGINAL)
    return matrix.rows > matrix.columns ? sqrtf(float(matrix.rows) / float(matrix.columns)) : 1.0f;
  if (group.scale_rule == SCALE_MATCH_RMS_ADAMW)
    return group.scale_factor * root(larger(matrix.rows, matrix.columns));
  if (group.scale_rule == SCALE_EXACT) return group.scale_factor * root(larger(place.height, place.width));
  // SCALE_PAPER: the edge of a whole tile, unless one tile covers the matrix.
  const bool covers = Kernel::TILE_ROWS >= matrix.rows && Kernel::TILE_COLUMNS >= matrix.columns;
  return group.scale_factor * root(covers ? larger(matrix.rows, matrix.columns)
                                          : larger(Kernel::TILE_ROWS, Kernel::TILE_COLUMNS));
}

}  // namespace himuon

namespace himuon {

// One tile of a matrix with its group. Elements are numbered as the workspace holds them.
struct Tile {
  const Matrix& matrix;
  const Group& group;
  Place place;
  bool transposed;
  u32 rows;
  u32 columns;

  __device__ __forceinline__ Tile(const Matrix* matrices, const Group* groups, const Place& place)
      : matrix(matrices[place.matrix]),
        group(groups[matrices[place.matrix].group]),
        place(place),
        transposed(place.height > place.width),
        rows(smaller(place.height, place.width)),
        columns(larger(place.height, place.width)) {}

  __device__ __forceinline__ u64 size() const { return u64(rows) * columns; }
  __device__ __forceinline__ u32 row(u64 index) const {
    return place.row + u32(transposed ? index % columns : index / columns);
  }
  __device__ __forceinline__ u32 column(u64 index) const {
    return place.column + u32(transposed ? index / columns : index % columns);
  }
  __device__ __forceinline__ u64 in(u64 index, u32 leading) const { return u64(row(index)) * leading + column(index); }

  __device__ __forceinline__ float gradient(u64 index) const {
    using Element = Kernel::Weight;
    return Element::load(static_cast<const typename Element::Word*>(matrix.gradient)[in(index, matrix.gradient_leading)]);
  }
  __device__ __forceinline__ typename Kernel::Momentum::Word& momentum(u64 index) const {
    return static_cast<typename Kernel::Momentum::Word*>(matrix.momentum)[in(index, matrix.columns)];
  }
  __device__ __forceinline__ typename Kernel::Weight::Word& weight(u64 index) const {
    return static_cast<typename Kernel::Weight::Word*>(matrix.weight)[in(index, matrix.weight_leading)];
  }
  __device__ __forceinline__ float& mapped(u64 index) const { return matrix.mapped[in(index, matrix.columns)]; }

  // buf <- mu buf + c g
  __device__ __forceinline__ float buffer(u64 index) const {
    return fmaf(group.mu, Kernel::Momentum::load(momentum(index)), group.c * gradient(index));
  }
  // m <- alpha g + beta buf
  __device__ __forceinline__ float update(u64 index) const {
    return fmaf(group.alpha, gradient(index), group.beta * buffer(index));
  }
  __device__ __forceinline__ bool usable(u64 index) const {
    return finite(gradient(index)) && finite(Kernel::Momentum::load(momentum(index))) && finite(update(index));
  }

  __device__ __forceinline__ void keep_momentum() const {
    each(size(), [&](u64 i) { momentum(i) = Kernel::Momentum::store(buffer(i)); });
  }
  // W <- (1 - lr wd) W - lr u(i)
  template <class Update>
  __device__ __forceinline__ void subtract(Update u) const {
    const float decay = 1.0f - group.learning_rate * group.weight_decay;
    each(size(), [&](u64 i) {
      const float old = Kernel::Weight::load(weight(i));
      weight(i) = Kernel::Weight::store(fmaf(-group.learning_rate, u(i), decay * old));
    });
  }
};

// Puts X = M / ||M||_F into the workspace and returns ||M||_F; the norm is scaled by the largest element, so
// that it neither overflows nor underflows. A NaN is returned for a tile that is not finite.
HIMUON_DEVICE float normalise(const Tile& tile, Work& work) {
  float bad = 0.0f, largest = 0.0f;
  for (u64 i = threadIdx.x; i < tile.size(); i += Kernel::THREADS) {
    const float value = stored(tile.update(i));
    work.x[i] = value;
    if (!tile.usable(i)) bad = 1.0f;
    if (fabsf(value) > largest) largest = fabsf(value);
  }
  if (over_block<Largest>(bad) > 0.0f) return __int_as_float(0x7fffffff);
  largest = over_block<Largest>(largest);
  if (largest == 0.0f) return 0.0f;
  const float inside = sqrtf(sum(tile.size(), [&](u64 i) {
    const float value = work.x[i] / largest;
    return value * value;
  }));
  const float norm = largest * inside;
  if (Kernel::REFERENCE) {
    each(tile.size(), [&](u64 i) { work.x[i] = stored(work.x[i] / (norm + 1e-7f)); });
  } else {
    each(tile.size(), [&](u64 i) { work.x[i] = work.x[i] / largest / inside; });
  }
  return norm;
}

// 1 / (r ||X X^T||_F^2) in (0, 1].
HIMUON_DEVICE float effective_rank(Work& work) {
  gram(work, work.x, work.gram);
  const float square = sum(work.square(), [&](u64 i) { return work.gram[i] * work.gram[i]; });
  return square > 0.0f ? 1.0f / (float(work.rows) * square) : 0.0f;
}

}  // namespace himuon

namespace himuon {

// X <- map(X), K = 5.
static __device__ void map_tile(Work& work) {
  odd_step(work, 0x1.0690acp+3f, -0x1.6e6e54p+4f, 0x1.075f22p+4f);
  odd_step(work, 0x1.043fd2p+2f, -0x1.6e3a4cp+1f, 0x1.096baap-1f);
  odd_step(work, 0x1.f46d9cp+1f, -0x1.696396p+1f, 0x1.0cd1a6p-1f);
  odd_step(work, 0x1.a48d5cp+1f, -0x1.35289ep+1f, 0x1.f0f0eep-2f);
  odd_step(work, 0x1.23915ap+1f, -0x1.9eaca4p+0f, 0x1.980b58p-2f);
}

// Puts the mapped tile into `work.x` and says what became of it.
static __device__ TileReport mapped_tile(const Tile& tile, Work& work) {
  TileReport report = {0.0f, 0.0f, 0.0f, 0};
  report.norm = normalise(tile, work);
  if (!(report.norm >= 0.0f)) {
    report.norm = 0.0f;
    report.flags = TILE_NON_FINITE;
    return report;
  }
  bool holds = true;
  holds = effective_rank(work) >= 0x1.99999ap-4f;
  if (holds && report.norm > 0.0f) map_tile(work);
  const float inverse = report.norm > 0.0f ? 1.0f / report.norm : 0.0f;
  report.inner_product = sum(tile.size(), [&](u64 i) { return tile.update(i) * inverse * work.x[i]; });
  report.mapped_norm_squared = sum(tile.size(), [&](u64 i) { return work.x[i] * work.x[i]; });
  if (!holds) report.flags = TILE_UNORTHOGONALISED;
  return report;
}

}  // namespace himuon

using namespace himuon;

// Workspace of each block, in floats: 4 h w + 2 min(h, w)^2 for the largest tile h x w of the launch.
// The whole step in one launch. Any number of blocks.
extern "C" __global__ void __launch_bounds__(256)
himuon_step(const Matrix* matrices, u32 matrix_count, const Group* groups, TileReport* reports, u32 tile_count,
            float* workspace, u64 workspace_of_block) {
  for (u32 index = blockIdx.x; index < tile_count; index += gridDim.x) {
    const Place place = place_of(matrices, matrix_count, index);
    const Tile tile(matrices, groups, place);
    Work work = Work::at(workspace + blockIdx.x * workspace_of_block, tile.rows, tile.columns);
    const TileReport report = mapped_tile(tile, work);
    if (threadIdx.x == 0) reports[index] = report;
    if (report.flags & TILE_NON_FINITE) continue;
    const float scale = scale_of(tile.matrix, tile.group, place);
    if (report.flags & TILE_UNORTHOGONALISED) {
      tile.subtract([&](u64 i) { return tile.update(i); });
    } else {
      tile.subtract([&](u64 i) { return scale * work.x[i]; });
    }
    tile.keep_momentum();
  }
}
