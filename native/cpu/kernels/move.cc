// Ops that move elements: blocks as contiguous runs of bytes, transposes of two axes in 4x4 tiles, conversions to
// float, and rows picked by index. Other permutations and conversions, and gatherGrad, are left to ref.
#include "blocks.h"
#include "grid.h"

namespace gradline::cpu::GL_ISA {
namespace {

GL_SIMD char *bytes(const Tensor &tensor) { return static_cast<char *>(tensor.data); }
GL_SIMD double totalBytes(const Tensor &tensor) { return static_cast<double>(tensor.size * bytesOf(tensor.dtype)); }

// ---- copy, fill, broadcast

void copySame(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t total = op.out[0].size * bytesOf(op.out[0].dtype);
  const int64_t first = begin * kUnitBytes;
  __builtin_memcpy(bytes(op.out[0]) + first, bytes(op.in[0]) + first,
                   static_cast<size_t>(smaller(end * kUnitBytes, total) - first));
}

void copyToFloat(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t first = begin * kChunk, n = smaller(end * kChunk, op.out[0].size) - first;
  float *y = op.out[0].as<float>() + first;
  if (op.in[0].dtype == DType::u8) {
    const uint8_t *x = op.in[0].as<uint8_t>() + first;
    eachVec(n, [&](int64_t i, int64_t count) GL_LAMBDA { store(y + i, loadBytes(x + i, count), count); });
  } else {
    const int32_t *x = op.in[0].as<int32_t>() + first;
    eachVec(n, [&](int64_t i, int64_t count) GL_LAMBDA { store(y + i, toFloat(load(x + i, count)), count); });
  }
}

void runFill(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t first = begin * kChunk, n = smaller(end * kChunk, op.out[0].size) - first;
  const Vec value = set1(static_cast<float>(op.attr[attr::fill::value]));
  float *y = op.out[0].as<float>() + first;
  eachVec(n, [&](int64_t i, int64_t count) GL_LAMBDA { store(y + i, value, count); });
}

// Elements of 4 bytes go as integers, which no float instruction can change.
void runBroadcast(const Op &op, int64_t begin, int64_t end, void *) {
  Grid grid = {};
  findGrid(op, grid);
  const bool moving = grid.operand[0].perColumn;
  eachStretch(grid, begin, end, [&](int64_t row, int64_t column, int64_t columns) GL_LAMBDA {
    const int32_t *x = op.in[0].as<int32_t>() + row * grid.operand[0].perRow + (moving ? column : 0);
    int32_t *y = op.out[0].as<int32_t>() + row * grid.inner + column;
    const IVec fixed = set1(x[0]);
    eachVec(columns,
            [&](int64_t i, int64_t count) GL_LAMBDA { store(y + i, moving ? load(x + i, count) : fixed, count); });
  });
}

// ---- transpose of two groups of axes: x [n, b, a] -> y [n, a, b]

struct Transposition {
  int64_t n, a, b;  // b = 1: the elements keep their order
};

// Merges axes that stay neighbours; false when what is left is no exchange of the last two.
bool findTransposition(const Op &op, Transposition &t) {
  const Tensor &x = op.in[0], &y = op.out[0];
  int64_t own[kMaxRank], dims[kMaxRank], steps[kMaxRank], step = 1;
  for (int axis = x.rank - 1; axis >= 0; step *= x.dims[axis--]) own[axis] = step;
  int rank = 0;
  for (int axis = 0; axis < y.rank; axis++) {
    const int64_t stride = own[op.iattr(attr::transpose::p0 + axis)], dim = y.dims[axis];
    if (dim == 1) continue;
    if (rank > 0 && steps[rank - 1] == stride * dim) {
      dims[rank - 1] *= dim;
      steps[rank - 1] = stride;
    } else {
      dims[rank] = dim;
      steps[rank++] = stride;
    }
  }
  if (rank <= 1) {
    t = {1, y.size, 1};
    return true;
  }
  t = {rank == 3 ? dims[0] : 1, dims[rank - 2], dims[rank - 1]};
  return rank <= 3 && steps[rank - 2] == 1 && steps[rank - 1] == t.a && (rank == 2 || steps[0] == t.a * t.b);
}

typedef int32_t Quad __attribute__((vector_size(16)));
typedef int32_t UnalignedQuad __attribute__((vector_size(16), aligned(4), may_alias));

// x has rows of length a, y rows of length b: y[i][j] = x[j][i] for 4 values of i and of j.
GL_SIMD void transposeTile(const int32_t *x, int64_t a, int32_t *y, int64_t b) {
  const Quad r0 = *(const UnalignedQuad *)x, r1 = *(const UnalignedQuad *)(x + a);
  const Quad r2 = *(const UnalignedQuad *)(x + 2 * a), r3 = *(const UnalignedQuad *)(x + 3 * a);
  const Quad low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
  const Quad high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7), high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  *(UnalignedQuad *)y = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
  *(UnalignedQuad *)(y + b) = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
  *(UnalignedQuad *)(y + 2 * b) = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
  *(UnalignedQuad *)(y + 3 * b) = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

constexpr int64_t kTileRows = 16, kTileColumns = 256;  // of y in a unit: a cache line of each row of x, 16 KB in all

void runTranspose(const Op &op, int64_t begin, int64_t end, void *) {
  Transposition t;
  findTransposition(op, t);
  const int64_t tilesA = ceilDiv(t.a, kTileRows), tilesB = ceilDiv(t.b, kTileColumns);
  for (int64_t unit = begin; unit < end; unit++) {
    const int64_t n = unit / tilesB / tilesA, i0 = unit / tilesB % tilesA * kTileRows,
                  j0 = unit % tilesB * kTileColumns;
    const int64_t i1 = smaller(i0 + kTileRows, t.a), j1 = smaller(j0 + kTileColumns, t.b);
    const int32_t *x = op.in[0].as<int32_t>() + n * t.a * t.b;
    int32_t *y = op.out[0].as<int32_t>() + n * t.a * t.b;
    int64_t j = j0;
    for (; j + 4 <= j1; j += 4) {
      int64_t i = i0;
      for (; i + 4 <= i1; i += 4) transposeTile(x + j * t.a + i, t.a, y + i * t.b + j, t.b);
      for (; i < i1; i++)
        for (int64_t k = j; k < j + 4; k++) y[i * t.b + k] = x[k * t.a + i];
    }
    for (; j < j1; j++)
      for (int64_t i = i0; i < i1; i++) y[i * t.b + j] = x[j * t.a + i];
  }
}

// ---- slice, pad, concat: see blocks.h

Block attrBlock(const Op &op, const Tensor &block, const Tensor &whole) {
  int64_t begins[kMaxRank] = {};
  for (int axis = 0; axis < block.rank; axis++) begins[axis] = op.iattr(attr::slice::b0 + axis);
  return findBlock(block, whole, begins);
}

void runSlice(const Op &op, int64_t begin, int64_t end, void *) {
  moveBlock(attrBlock(op, op.out[0], op.in[0]), bytes(op.out[0]), bytes(op.in[0]), false, begin, end);
}

void clearOutput(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t total = op.out[0].size * bytesOf(op.out[0].dtype), first = begin * kUnitBytes;
  __builtin_memset(bytes(op.out[0]) + first, 0, static_cast<size_t>(smaller(end * kUnitBytes, total) - first));
}
void placeInput(const Op &op, int64_t begin, int64_t end, void *) {
  moveBlock(attrBlock(op, op.in[0], op.out[0]), bytes(op.in[0]), bytes(op.out[0]), true, begin, end);
}

// Calls visit(j, block) for the inputs that are not empty.
template <class Visit>
GL_SIMD void eachConcatBlock(const Op &op, Visit visit) {
  const int64_t axis = op.iattr(attr::concat::axis);
  int64_t begins[kMaxRank] = {};
  for (int j = 0; j < op.inputs; j++) {
    if (op.in[j].size > 0) visit(j, findBlock(op.in[j], op.out[0], begins));
    begins[axis] += op.in[j].dims[axis];
  }
}

void runConcat(const Op &op, int64_t begin, int64_t end, void *) {
  int64_t before = 0;  // units of the inputs before j
  eachConcatBlock(op, [&](int j, const Block &b) {
    const int64_t units = b.units(), first = larger(begin - before, 0), stop = smaller(end - before, units);
    if (first < stop) moveBlock(b, bytes(op.in[j]), bytes(op.out[0]), true, first, stop);
    before += units;
  });
}

// ---- gather: table [r, inner], indices i32 [n] -> y [n, inner]

int64_t innerOf(const Op &op) { return op.out[0].size / op.in[1].size; }
int64_t gatherRowsPerUnit(const Op &op) { return larger(1, kChunk / innerOf(op)); }

void runGather(const Op &op, int64_t begin, int64_t end, void *) {
  const Tensor &table = op.in[0], &indices = op.in[1];
  const int64_t inner = innerOf(op), rows = table.dims[0], perUnit = gatherRowsPerUnit(op);
  const float factor = static_cast<float>(op.attr[attr::gather::factor]);
  const float offset = static_cast<float>(op.attr[attr::gather::offset]);
  const bool asIs = table.dtype == DType::i32 || (isF32(table) && factor == 1 && offset == 0);
  for (int64_t i = begin * perUnit; i < smaller(end * perUnit, indices.size); i++) {
    const int64_t row = indices.as<int32_t>()[i];
    if (row < 0 || row >= rows) {
      report(op, Fault::indexOutOfRange, i, row, rows);
      continue;
    }
    float *y = op.out[0].as<float>() + i * inner;
    if (asIs) {
      __builtin_memcpy(y, bytes(table) + row * inner * 4, static_cast<size_t>(inner * 4));
    } else if (table.dtype == DType::u8) {
      const uint8_t *x = table.as<uint8_t>() + row * inner;
      eachVec(inner, [&](int64_t j, int64_t count)
                         GL_LAMBDA { store(y + j, factor * loadBytes(x + j, count) + offset, count); });
    } else {
      const float *x = table.as<float>() + row * inner;
      eachVec(inner,
              [&](int64_t j, int64_t count) GL_LAMBDA { store(y + j, factor * load(x + j, count) + offset, count); });
    }
  }
}

}  // namespace

bool planCopy(const Op &op, KernelPlan &plan) {
  const Tensor &x = op.in[0], &y = op.out[0];
  const double time = streamTime(totalBytes(x) + totalBytes(y));
  if (x.dtype == y.dtype)
    return onePhase(plan, "bytes", copySame, ceilDiv(y.size * bytesOf(y.dtype), kUnitBytes), time);
  if (!isF32(y) || x.dtype == DType::f64) return false;
  return onePhase(plan, "vector", copyToFloat, ceilDiv(y.size, kChunk), time);
}

bool planFill(const Op &op, KernelPlan &plan) {
  if (!isF32(op.out[0])) return false;
  return onePhase(plan, "vector", runFill, ceilDiv(op.out[0].size, kChunk), streamTime(totalBytes(op.out[0])));
}

bool planBroadcast(const Op &op, KernelPlan &plan) {
  Grid grid = {};
  if (bytesOf(op.out[0].dtype) != 4 || !findGrid(op, grid)) return false;
  return onePhase(plan, "vector rows", runBroadcast, grid.units(), streamTime(totalBytes(op.out[0])));
}

bool planTranspose(const Op &op, KernelPlan &plan) {
  Transposition t;
  if (bytesOf(op.out[0].dtype) != 4 || op.out[0].size == 0 || !findTransposition(op, t)) return false;
  const double time = streamTime(2 * totalBytes(op.out[0]));
  if (t.b == 1) return onePhase(plan, "bytes", copySame, ceilDiv(op.out[0].size * 4, kUnitBytes), time);
  return onePhase(plan, "tiles", runTranspose, t.n * ceilDiv(t.a, kTileRows) * ceilDiv(t.b, kTileColumns), 2 * time);
}

bool planConcat(const Op &op, KernelPlan &plan) {
  int64_t units = 0;
  eachConcatBlock(op, [&](int, const Block &b) { units += b.units(); });
  return onePhase(plan, "runs", runConcat, units, streamTime(2 * totalBytes(op.out[0])));
}

bool planSlice(const Op &op, KernelPlan &plan) {
  if (op.out[0].size == 0) return false;
  const Block b = attrBlock(op, op.out[0], op.in[0]);
  return onePhase(plan, "runs", runSlice, b.units(),
                  streamTime(2 * totalBytes(op.out[0])) + 5 * static_cast<double>(b.runs));
}

bool planPad(const Op &op, KernelPlan &plan) {
  if (op.in[0].size == 0) return false;
  const Block b = attrBlock(op, op.in[0], op.out[0]);
  onePhase(plan, "runs", clearOutput, ceilDiv(op.out[0].size * bytesOf(op.out[0].dtype), kUnitBytes),
           streamTime(totalBytes(op.out[0])));
  addPhase(plan, placeInput, b.units(), streamTime(2 * totalBytes(op.in[0])) + 5 * static_cast<double>(b.runs));
  return true;
}

bool planGather(const Op &op, KernelPlan &plan) {
  const Tensor &table = op.in[0];
  if (op.fp64 || table.dtype == DType::f64 || op.out[0].size == 0) return false;
  onePhase(plan, "rows", runGather, ceilDiv(op.in[1].size, gatherRowsPerUnit(op)),
           streamTime(2 * totalBytes(op.out[0])));
  byRows(plan, op.in[1].size, gatherRowsPerUnit(op), inputBit(1) | outputBit(0));
  return true;
}

}  // namespace gradline::cpu::GL_ISA
