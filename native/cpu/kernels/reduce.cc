// Reductions of f32: sum and max over one contiguous group of axes, and argmax over the last. Long reductions are cut
// into pieces by shape and joined in a second phase, so the result does not depend on threads. Other masks go to ref.
#include "columns.h"
#include "kernels.h"

namespace gradline::cpu::GL_ISA {
namespace {

struct Sum {
  GL_SIMD Vec start() { return set1(0.0f); }
  GL_SIMD Vec combine(Vec a, Vec b) { return a + b; }
  GL_SIMD float lanes(Vec v) { return sumLanes(v); }
};
struct Max {
  GL_SIMD Vec start() { return set1(-__builtin_inff()); }
  GL_SIMD Vec combine(Vec a, Vec b) { return maxOrNan(a, b); }
  GL_SIMD float lanes(Vec v) { return maxLanesOrNan(v); }
};

// x as [outer, n, inner] with the middle reduced; y is [outer, inner]. A unit takes one piece of the middle of one
// block of columns; with several pieces their results lie in the workspace as [outer, pieces, inner].
struct Geometry {
  int64_t outer, n, inner;
  int64_t pieceLength, pieces;
  int64_t blockLength, blocks;
  int64_t rowsPerUnit;  // of x seen as [outer, n], when rows are short and inner is 1

  GL_INLINE int64_t units() const { return ceilDiv(outer, rowsPerUnit) * pieces * blocks; }
};

// False when the reduced axes (those longer than 1) are not neighbours, or there are none.
bool findGeometry(const Op &op, Geometry &g) {
  const Tensor &x = op.in[0];
  const int64_t mask = op.iattr(attr::sum::axes);
  if (x.size == 0) return false;
  g.outer = g.n = g.inner = 1;
  for (int axis = 0; axis < x.rank; axis++) {
    if (x.dims[axis] == 1) continue;
    if (mask >> axis & 1) {
      if (g.inner > 1) return false;
      g.n *= x.dims[axis];
    } else if (g.n > 1) {
      g.inner *= x.dims[axis];
    } else {
      g.outer *= x.dims[axis];
    }
  }
  if (g.n == 1) return false;
  g.blockLength = smaller(g.inner, 512);
  g.blocks = ceilDiv(g.inner, g.blockLength);
  g.pieceLength = larger(2 * kChunk / g.blockLength, 16);
  g.pieces = ceilDiv(g.n, g.pieceLength);
  g.rowsPerUnit = g.inner == 1 && g.pieces == 1 ? larger(1, kChunk / g.n) : 1;
  return true;
}

// One row of n elements: four chains, then the lanes.
template <class Rule>
GL_SIMD float foldRow(const float *x, int64_t n) {
  Vec chain[4] = {Rule::start(), Rule::start(), Rule::start(), Rule::start()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
    for (int k = 0; k < 4; k++) chain[k] = Rule::combine(chain[k], load(x + i + k * kLanes));
  for (; i + kLanes <= n; i += kLanes) chain[0] = Rule::combine(chain[0], load(x + i));
  if (i < n) {
    const IVec inside = laneIndex() < static_cast<int32_t>(n - i);
    chain[1] = Rule::combine(chain[1], select(inside, load(x + i, n - i), Rule::start()));
  }
  return Rule::lanes(Rule::combine(Rule::combine(chain[0], chain[1]), Rule::combine(chain[2], chain[3])));
}

// x [n, inner] -> y [inner], columns [begin, end) only
template <class Rule>
GL_SIMD void foldMiddle(const float *x, int64_t n, int64_t inner, int64_t begin, int64_t end, float *y) {
  if (inner == 1) {
    *y = foldRow<Rule>(x, n);
    return;
  }
  foldColumns<1>(
      n, begin, end, Rule::start(),
      [&](int64_t row, int64_t column, int64_t count, Vec(&value)[1])
          GL_LAMBDA { value[0] = load(x + row * inner + column, count); },
      [](Vec a, Vec b) GL_LAMBDA { return Rule::combine(a, b); },
      [&](int64_t column, int64_t count, Vec(&total)[1]) GL_LAMBDA { store(y + column, total[0], count); });
}

template <class Rule>
void runPieces(const Op &op, int64_t begin, int64_t end, void *) {
  Geometry g = {};
  findGeometry(op, g);
  const float *x = op.in[0].as<float>();
  float *y = g.pieces == 1 ? op.out[0].as<float>() : static_cast<float *>(op.workspace);
  if (g.rowsPerUnit > 1) {
    const int64_t stop = smaller(end * g.rowsPerUnit, g.outer);
    for (int64_t row = begin * g.rowsPerUnit; row < stop; row++) y[row] = foldRow<Rule>(x + row * g.n, g.n);
    return;
  }
  for (int64_t unit = begin; unit < end; unit++) {
    const int64_t block = unit % g.blocks, piece = unit / g.blocks % g.pieces, outer = unit / g.blocks / g.pieces;
    const int64_t first = piece * g.pieceLength, column = block * g.blockLength;
    foldMiddle<Rule>(x + (outer * g.n + first) * g.inner, smaller(g.pieceLength, g.n - first), g.inner, column,
                     smaller(column + g.blockLength, g.inner), y + (outer * g.pieces + piece) * g.inner);
  }
}

template <class Rule>
void joinPieces(const Op &op, int64_t begin, int64_t end, void *) {
  Geometry g = {};
  findGeometry(op, g);
  const float *partial = static_cast<float *>(op.workspace);
  for (int64_t unit = begin; unit < end; unit++) {
    const int64_t outer = unit / g.blocks, column = unit % g.blocks * g.blockLength;
    foldMiddle<Rule>(partial + outer * g.pieces * g.inner, g.pieces, g.inner, column,
                     smaller(column + g.blockLength, g.inner), op.out[0].as<float>() + outer * g.inner);
  }
}

template <class Rule>
bool planFold(const Op &op, KernelPlan &plan) {
  Geometry g = {};
  if (!allF32(op) || !findGeometry(op, g)) return false;
  onePhase(plan, g.inner == 1 ? "rows" : "columns", runPieces<Rule>, g.units(),
           streamTime(4.0 * static_cast<double>(op.in[0].size)));
  if (g.inner == 1 && g.pieces == 1) byRows(plan, g.outer, g.rowsPerUnit, inputBit(0) | outputBit(0));
  if (g.pieces > 1) {
    const int64_t partials = g.outer * g.pieces * g.inner;
    addPhase(plan, joinPieces<Rule>, g.outer * g.blocks, streamTime(4.0 * static_cast<double>(partials)));
    plan.workspace = static_cast<size_t>(partials) * sizeof(float);
  }
  return true;
}

// Index of the first largest of c elements; the first NaN counts as the largest.
GL_SIMD int32_t argmaxRow(const float *x, int64_t c) {
  const float largest = foldRow<Max>(x, c);
  const Vec wanted = set1(largest);
  const IVec never = set1(INT32_MAX);
  IVec first = never;
  eachVec(c, [&](int64_t i, int64_t count) GL_LAMBDA {
    const Vec v = load(x + i, count);
    const IVec index = laneIndex() + static_cast<int32_t>(i);
    const IVec found = ((v == wanted) | ((v != v) & (wanted != wanted))) & (index < static_cast<int32_t>(c));
    const IVec candidate = select(found, index, never);
    first = select(candidate < first, candidate, first);
  });
  return minLanes(first);
}

int64_t argmaxRowsPerUnit(const Op &op) { return larger(1, kChunk / op.in[0].channels()); }

void runArgmax(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t c = op.in[0].channels(), perUnit = argmaxRowsPerUnit(op), stop = smaller(end * perUnit, op.out[0].size);
  const float *x = op.in[0].as<float>();
  int32_t *y = op.out[0].as<int32_t>();
  for (int64_t row = begin * perUnit; row < stop; row++) y[row] = argmaxRow(x + row * c, c);
}

}  // namespace

bool planSum(const Op &op, KernelPlan &plan) { return planFold<Sum>(op, plan); }
bool planMax(const Op &op, KernelPlan &plan) { return planFold<Max>(op, plan); }

bool planArgmax(const Op &op, KernelPlan &plan) {
  const Tensor &x = op.in[0];
  if (op.fp64 || !isF32(x) || op.out[0].dtype != DType::i32 || x.size == 0 || x.channels() > INT32_MAX) return false;
  onePhase(plan, "rows", runArgmax, ceilDiv(op.out[0].size, argmaxRowsPerUnit(op)),
           streamTime(8.0 * static_cast<double>(x.size)) + 10.0 * static_cast<double>(op.out[0].size));
  byRows(plan, op.out[0].size, argmaxRowsPerUnit(op), inputBit(0) | outputBit(0));
  return true;
}

}  // namespace gradline::cpu::GL_ISA
