// Elementwise ops on f32: one operand, and two or three operands whose shapes are equal or broadcast as a scalar, a row
// (the last axes) or a column (the first axes). Other broadcasts are left to ref.
#include "activation.h"
#include "grid.h"

namespace gradline::cpu::GL_ISA {
namespace {

// ---- One operand

template <OpCode code>
GL_SIMD Vec unary(Vec x, float a, float b) {
  if constexpr (code == OpCode::neg) return -x;
  if constexpr (code == OpCode::abs) return abs(x);
  if constexpr (code == OpCode::sign) return select(x > 0.0f, set1(1.0f), select(x < 0.0f, set1(-1.0f), x));
  if constexpr (code == OpCode::exp) return exp(x);
  if constexpr (code == OpCode::log) return log(x);
  if constexpr (code == OpCode::log1p) return log1p(x);
  if constexpr (code == OpCode::erf) return erf(x);
  if constexpr (code == OpCode::sqrt) return sqrt(x);
  if constexpr (code == OpCode::scale) return a * x + b;
  return activate<code>(x, x, a);
}

template <OpCode code>
void runUnary(const Op &op, int64_t begin, int64_t end, void *) {
  const float a = static_cast<float>(op.attr[0]), b = static_cast<float>(op.attr[1]);
  const int64_t first = begin * kChunk, n = smaller(end * kChunk, op.out[0].size) - first;
  const float *x = op.in[0].as<float>() + first;
  float *y = op.out[0].as<float>() + first;
  eachVec(n, [&](int64_t i, int64_t count) GL_LAMBDA { store(y + i, unary<code>(load(x + i, count), a, b), count); });
}

// ---- Several operands: see grid.h

template <OpCode code>
GL_SIMD Vec binary(Vec a, Vec b, float attr, float second) {
  const Vec one = set1(1.0f), zero = set1(0.0f);
  if constexpr (code == OpCode::sub) return a - b;
  if constexpr (code == OpCode::div) return a / b;
  if constexpr (code == OpCode::maximum) return maxOrNan(a, b);
  if constexpr (code == OpCode::minimum) return minOrNan(a, b);
  if constexpr (code == OpCode::weightedSum) return attr * a + second * b;
  if constexpr (code == OpCode::greater) return select(a > b, one, zero);
  if constexpr (code == OpCode::equal) return select(a == b, one, zero);
  return activate<code>(a, b, attr);
}

template <OpCode code, bool movingA, bool movingB>
void runBinary(const Op &op, int64_t begin, int64_t end, void *) {
  Grid grid = {};
  findGrid(op, grid);
  const float attr = static_cast<float>(op.attr[0]), second = static_cast<float>(op.attr[1]);
  eachStretch(grid, begin, end, [&](int64_t row, int64_t column, int64_t columns) GL_LAMBDA {
    const float *a = op.in[0].as<float>() + row * grid.operand[0].perRow + (movingA ? column : 0);
    const float *b = op.in[1].as<float>() + row * grid.operand[1].perRow + (movingB ? column : 0);
    float *y = op.out[0].as<float>() + row * grid.inner + column;
    const Vec fixedA = set1(a[0]), fixedB = set1(b[0]);
    eachVec(columns, [&](int64_t i, int64_t count) GL_LAMBDA {
      const Vec va = movingA ? load(a + i, count) : fixedA, vb = movingB ? load(b + i, count) : fixedB;
      store(y + i, binary<code>(va, vb, attr, second), count);
    });
  });
}

void runEqualInt(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t first = begin * kChunk, n = smaller(end * kChunk, op.out[0].size) - first;
  const int32_t *a = op.in[0].as<int32_t>() + first, *b = op.in[1].as<int32_t>() + first;
  float *y = op.out[0].as<float>() + first;
  eachVec(n, [&](int64_t i, int64_t count) GL_LAMBDA {
    store(y + i, select(load(a + i, count) == load(b + i, count), set1(1.0f), set1(0.0f)), count);
  });
}

void runSelect(const Op &op, int64_t begin, int64_t end, void *) {
  Grid grid = {};
  findGrid(op, grid);
  eachStretch(grid, begin, end, [&](int64_t row, int64_t column, int64_t columns) GL_LAMBDA {
    const float *from[3];
    for (int k = 0; k < 3; k++)
      from[k] = op.in[k].as<float>() + row * grid.operand[k].perRow + grid.operand[k].perColumn * column;
    float *y = op.out[0].as<float>() + row * grid.inner + column;
    eachVec(columns, [&](int64_t i, int64_t count) GL_LAMBDA {
      Vec v[3];
      for (int k = 0; k < 3; k++) v[k] = grid.operand[k].perColumn ? load(from[k] + i, count) : set1(from[k][0]);
      store(y + i, select(v[0] != 0.0f, v[1], v[2]), count);
    });
  });
}

template <OpCode code>
GL_SIMD RunFn binaryRunner(const Grid &grid) {
  const bool movingA = grid.operand[0].perColumn, movingB = grid.operand[1].perColumn;
  if (movingA && movingB) return runBinary<code, true, true>;
  if (movingA) return runBinary<code, true, false>;
  return movingB ? runBinary<code, false, true> : runBinary<code, false, false>;
}

double bytesMoved(const Op &op) {
  double bytes = 4.0 * static_cast<double>(op.out[0].size);
  for (int i = 0; i < op.inputs; i++) bytes += 4.0 * static_cast<double>(op.in[i].size);
  return bytes;
}

// Units of a grid are rows of it, or chunks of its only row; those that are chunks of several rows are not told by row.
bool onGrid(const Op &op, const Grid &grid, KernelPlan &plan, RunFn run) {
  onePhase(plan, grid.rows == 1 ? "vector" : "vector rows", run, grid.units(), streamTime(bytesMoved(op)));
  uint32_t moving = outputBit(0);
  for (int k = 0; k < op.inputs; k++)
    if (grid.rows == 1 ? grid.operand[k].perColumn : grid.operand[k].perRow) moving |= inputBit(k);
  if (grid.rows == 1)
    byRows(plan, op.out[0].size, kChunk, moving);
  else if (grid.blocks() == 1)
    byRows(plan, grid.rows, grid.rowsPerUnit(), moving);
  return true;
}

// Functions that compute more than they move, in nanoseconds per element of one thread.
double arithmetic(OpCode code) {
  switch (code) {
    case OpCode::exp:
    case OpCode::log:
    case OpCode::log1p:
    case OpCode::erf:
    case OpCode::elu:
    case OpCode::sigmoid:
    case OpCode::tanh:
      return kLanes >= 8 ? 0.3 : 1.2;
    default:
      return 0;
  }
}

}  // namespace

bool planUnary(const Op &op, KernelPlan &plan) {
  if (!allF32(op)) return false;
  RunFn run = nullptr;
  switch (op.code) {
#define GL_CASE(name)             \
  case OpCode::name:              \
    run = runUnary<OpCode::name>; \
    break;
    GL_CASE(neg)
    GL_CASE(abs)
    GL_CASE(sign)
    GL_CASE(exp)
    GL_CASE(log)
    GL_CASE(log1p)
    GL_CASE(erf)
    GL_CASE(sqrt)
    GL_CASE(scale)
    GL_CASE(relu)
    GL_CASE(leakyRelu)
    GL_CASE(elu)
    GL_CASE(sigmoid)
    GL_CASE(tanh)
#undef GL_CASE
    default:
      return false;
  }
  const double n = static_cast<double>(op.out[0].size);
  onePhase(plan, "vector", run, ceilDiv(op.out[0].size, kChunk), streamTime(bytesMoved(op)) + n * arithmetic(op.code));
  byRows(plan, op.out[0].size, kChunk, inputBit(0) | outputBit(0));
  return true;
}

bool planBinary(const Op &op, KernelPlan &plan) {
  if (op.fp64 || !isF32(op.out[0])) return false;
  if (op.code == OpCode::equal && op.in[0].dtype == DType::i32 && op.in[1].dtype == DType::i32) {
    if (op.in[0].size != op.out[0].size || op.in[1].size != op.out[0].size) return false;
    return onePhase(plan, "vector i32", runEqualInt, ceilDiv(op.out[0].size, kChunk), streamTime(bytesMoved(op)));
  }
  Grid grid = {};
  if (!allF32(op) || !findGrid(op, grid)) return false;
  RunFn run = nullptr;
  switch (op.code) {
#define GL_CASE(name)                       \
  case OpCode::name:                        \
    run = binaryRunner<OpCode::name>(grid); \
    break;
    GL_CASE(reluGrad)
    GL_CASE(leakyReluGrad)
    GL_CASE(eluGrad)
    GL_CASE(sigmoidGrad)
    GL_CASE(tanhGrad)
    GL_CASE(add)
    GL_CASE(sub)
    GL_CASE(mul)
    GL_CASE(div)
    GL_CASE(maximum)
    GL_CASE(minimum)
    GL_CASE(weightedSum)
    GL_CASE(greater)
    GL_CASE(equal)
#undef GL_CASE
    default:
      return false;
  }
  return onGrid(op, grid, plan, run);
}

bool planSelect(const Op &op, KernelPlan &plan) {
  Grid grid = {};
  if (!allF32(op) || !findGrid(op, grid)) return false;
  return onGrid(op, grid, plan, runSelect);
}

}  // namespace gradline::cpu::GL_ISA
