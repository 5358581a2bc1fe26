// Batch normalisation of f32 [r, c] (any leading axes) with its activation, and softmax over the last axis, with
// derivatives. Batch norm reads x twice and writes y; its derivative reads dy and x twice and writes dx; what an
// activation does to either happens on the way.
#include "activation.h"
#include "batchnorm.h"
#include "softmax.h"

namespace gradline::cpu::GL_ISA {
namespace {

// ---- Batch norm

struct Affine {
  const float *mean, *factor, *beta;
};

// One epilogue on y [rows, c] from row `first` on: on (x - mean) * factor + beta when `fresh`, else on what y holds.
template <bool fresh, OpCode code>
GL_SIMD void writeEpilogue(const Op &op, int64_t first, int64_t rows, const Affine &by, const Epilogue &epilogue) {
  const int64_t c = op.out[0].channels();
  const float attr = static_cast<float>(epilogue.attr);
  const bool isRow = epilogue.hasOperand && epilogue.operand.size != op.out[0].size;
  const float *x = op.in[0].as<float>() + first * c;
  float *y = op.out[0].as<float>() + first * c;
  // Without an operand y stands for it: read but not used.
  const float *b = epilogue.hasOperand ? epilogue.operand.as<float>() + (isRow ? 0 : first * c) : y;
  for (int64_t row = 0; row < rows; row++, x += c, y += c, b += isRow ? 0 : c)
    eachVec(c, [&](int64_t i, int64_t count) GL_LAMBDA {
      const Vec v = fresh ? normalized(load(x + i, count), load(by.mean + i, count), load(by.factor + i, count),
                                       load(by.beta + i, count))
                          : load(y + i, count);
      store(y + i, activate<code>(v, load(b + i, count), attr), count);
    });
}

// The tiles [begin, end) of y through all epilogues: the first in registers, further ones while the tile lies in a
// cache. The last tile comes first: what the statistics read last is the likeliest to be in a cache still.
GL_SIMD void normalize(const Op &op, int64_t begin, int64_t end, const float *mean, const float *variance, float eps,
                       float *factor) {
  const Tiling t = tilingOf(op.in[0]);
  normalFactor(op.in[1].as<float>(), variance, eps, t.c, factor);
  const Affine by = {mean, factor, op.in[2].as<float>()};
  const auto each = [&](int64_t tile) GL_LAMBDA {
    const int64_t first = t.first(tile), rows = t.count(tile);
    if (op.epilogues == 0) return writeEpilogue<true, OpCode::copy>(op, first, rows, by, Epilogue{});
    withEpilogueCode(op.epilogue[0].code, [&](auto code) GL_LAMBDA {
      writeEpilogue<true, decltype(code)::value>(op, first, rows, by, op.epilogue[0]);
    });
    for (int e = 1; e < op.epilogues; e++)
      withEpilogueCode(op.epilogue[e].code, [&](auto code) GL_LAMBDA {
        writeEpilogue<false, decltype(code)::value>(op, first, rows, by, op.epilogue[e]);
      });
  };
  for (int64_t tile = end - 1; tile >= begin; tile--) each(tile);
}

void sumStatistics(const Op &op, int64_t begin, int64_t end, void *) {
  const Tiling t = tilingOf(op.in[0]);
  for (int64_t tile = begin; tile < end; tile++)
    tileStatistics(op.in[0].as<float>() + t.first(tile) * t.c, t.count(tile), t.c,
                   static_cast<float *>(op.workspace) + tile * kStatisticsRows * t.c);
}

// Calls merge(column, count) for the vectors of channels [begin, end).
template <class Merge>
GL_SIMD void eachChannelVec(int64_t c, int64_t begin, int64_t end, Merge merge) {
  for (int64_t column = begin * kLanes; column < smaller(end * kLanes, c); column += kLanes)
    merge(column, smaller(kLanes, c - column));
}

void finishStatistics(const Op &op, int64_t begin, int64_t end, void *) {
  const Tiling t = tilingOf(op.in[0]);
  eachChannelVec(t.c, begin, end, [&](int64_t column, int64_t count) GL_LAMBDA {
    mergeStatistics(t, op.in[0].as<float>(), static_cast<float *>(op.workspace), column, count, op.out[1].as<float>(),
                    op.out[2].as<float>());
  });
}

void normalizeBatch(const Op &op, int64_t begin, int64_t end, void *scratch) {
  normalize(op, begin, end, op.out[1].as<float>(), op.out[2].as<float>(),
            static_cast<float>(op.attr[attr::batchNorm::eps]), static_cast<float *>(scratch));
}

void normalizeInference(const Op &op, int64_t begin, int64_t end, void *scratch) {
  normalize(op, begin, end, op.in[3].as<float>(), op.in[4].as<float>(),
            static_cast<float>(op.attr[attr::batchNormInference::eps]), static_cast<float *>(scratch));
}

// ---- Its derivative: inputs dy, x, gamma, mean, variance and, where an activation followed, beta

GL_SIMD float epsOf(const Op &op) { return static_cast<float>(op.attr[attr::batchNormGrad::eps]); }

// dy through the derivative of the activation, whose argument is computed anew from x.
template <OpCode activation>
GL_SIMD Vec throughActivation(const Op &op, const float *factor, Vec dy, Vec x, int64_t i, int64_t count) {
  if constexpr (activation == OpCode::copy) return dy;
  const Vec y = normalized(x, load(op.in[3].as<float>() + i, count), load(factor + i, count),
                           load(op.in[5].as<float>() + i, count));
  return activate<activation>(dy, y, static_cast<float>(op.attr[attr::batchNormGrad::slope]));
}

template <OpCode activation>
void sumGradients(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const Tiling t = tilingOf(op.in[0]);
  const float *mean = op.in[3].as<float>();
  float *factor = static_cast<float *>(scratch);
  normalFactor(op.in[2].as<float>(), op.in[4].as<float>(), epsOf(op), t.c, factor);
  for (int64_t tile = begin; tile < end; tile++) {
    const int64_t at = t.first(tile) * t.c;
    const float *dy = op.in[0].as<float>() + at, *x = op.in[1].as<float>() + at;
    float *partial = static_cast<float *>(op.workspace) + tile * kGradientRows * t.c;
    sumRows<kGradientRows>(t.count(tile), t.c, partial,
                           [&](int64_t row, int64_t i, int64_t count, Vec(&value)[kGradientRows]) GL_LAMBDA {
                             const Vec from = load(x + row * t.c + i, count), g = load(dy + row * t.c + i, count);
                             value[kSum] = throughActivation<activation>(op, factor, g, from, i, count);
                             value[kProduct] = value[kSum] * (from - load(mean + i, count));
                           });
  }
}

GL_SIMD Vec deviationOf(const Op &op, int64_t column, int64_t count) {
  return sqrt(load(op.in[4].as<float>() + column, count) + epsOf(op));
}

void finishGradients(const Op &op, int64_t begin, int64_t end, void *) {
  const Tiling t = tilingOf(op.in[0]);
  eachChannelVec(t.c, begin, end, [&](int64_t column, int64_t count) GL_LAMBDA {
    mergeGradients(t, static_cast<float *>(op.workspace), column, count, deviationOf(op, column, count),
                   op.out[1].as<float>(), op.out[2].as<float>());
  });
}

// dx = gamma / s * (dy - average(dy) - (x - mean) / s * average(dy * z)), s = sqrt(variance + eps). The factors of each
// channel stand in the scratch: gamma / s, average(dy), average(dy * z) / s. The last tile comes first, as in
// normalize.
template <OpCode activation>
void writeGradient(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const Tiling t = tilingOf(op.in[0]);
  const Vec share = set1(1.0f / static_cast<float>(t.rows));
  const float *mean = op.in[3].as<float>();
  float *factor = static_cast<float *>(scratch), *average = factor + t.c, *slope = average + t.c;
  normalFactor(op.in[2].as<float>(), op.in[4].as<float>(), epsOf(op), t.c, factor);
  eachVec(t.c, [&](int64_t i, int64_t count) GL_LAMBDA {
    store(average + i, load(op.out[2].as<float>() + i, count) * share, count);
    store(slope + i, load(op.out[1].as<float>() + i, count) * share / deviationOf(op, i, count), count);
  });
  for (int64_t tile = end - 1; tile >= begin; tile--)
    for (int64_t row = t.first(tile); row < t.first(tile) + t.count(tile); row++) {
      const float *dy = op.in[0].as<float>() + row * t.c, *x = op.in[1].as<float>() + row * t.c;
      float *dx = op.out[0].as<float>() + row * t.c;
      eachVec(t.c, [&](int64_t i, int64_t count) GL_LAMBDA {
        const Vec from = load(x + i, count);
        const Vec g = throughActivation<activation>(op, factor, load(dy + i, count), from, i, count);
        const Vec rest = g - load(average + i, count) - (from - load(mean + i, count)) * load(slope + i, count);
        store(dx + i, load(factor + i, count) * rest, count);
      });
    }
}

// ---- Softmax

int64_t rowsPerUnit(const Op &op) { return larger(1, kChunk / op.in[0].channels()); }

void runSoftmax(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t c = op.in[0].channels(), perUnit = rowsPerUnit(op), stop = smaller(end * perUnit, op.in[0].rows());
  for (int64_t row = begin * perUnit; row < stop; row++)
    softmaxRow(op.in[0].as<float>() + row * c, op.out[0].as<float>() + row * c, c);
}

void runSoftmaxGrad(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t c = op.in[0].channels(), perUnit = rowsPerUnit(op), stop = smaller(end * perUnit, op.in[0].rows());
  for (int64_t row = begin * perUnit; row < stop; row++) {
    const float *dy = op.in[0].as<float>() + row * c, *y = op.in[1].as<float>() + row * c;
    float *dx = op.out[0].as<float>() + row * c;
    Vec products = set1(0.0f);
    eachVec(c, [&](int64_t i, int64_t count) GL_LAMBDA { products += load(dy + i, count) * load(y + i, count); });
    const Vec inner = set1(sumLanes(products));
    eachVec(c, [&](int64_t i, int64_t count)
                   GL_LAMBDA { store(dx + i, load(y + i, count) * (load(dy + i, count) - inner), count); });
  }
}

// Nanoseconds of a softmax-like op on x: three light passes, one exponential per vector and a few reductions per row.
double rowTime(const Tensor &x) {
  const double vectors = static_cast<double>(x.rows() * ceilDiv(x.channels(), kLanes));
  return streamTime(8.0 * static_cast<double>(x.size)) + 5.0 * vectors + 8.0 * static_cast<double>(x.rows());
}

}  // namespace

// Sums of tiles, their merger per channel, and the result. `reads`: tensors of the size of x that are read.
static bool planTiles(const Op &op, KernelPlan &plan, int reads, RunFn sums, RunFn merge, RunFn result) {
  if (!allF32(op) || op.in[0].size == 0) return false;
  const Tiling t = tilingOf(op.in[0]);
  const double bytes = 4.0 * static_cast<double>(op.in[0].size);
  const double partials = 4.0 * static_cast<double>(t.tiles * 2 * t.c);
  const uint32_t inputs = reads == 1 ? inputBit(0) : inputBit(0) | inputBit(1);
  onePhase(plan, "tiles", sums, t.tiles, streamTime(reads * bytes));
  byRows(plan, t.rows, t.rowsPerTile, inputs);
  addPhase(plan, merge, ceilDiv(t.c, kLanes), streamTime(partials));
  addPhase(plan, result, t.tiles, streamTime((reads + 1) * bytes));
  byRows(plan, t.rows, t.rowsPerTile, inputs | outputBit(0));
  plan.workspace = static_cast<size_t>(partials);
  plan.scratch = static_cast<size_t>(3 * t.c) * sizeof(float);
  return true;
}

bool planBatchNorm(const Op &op, KernelPlan &plan) {
  return planTiles(op, plan, 1, sumStatistics, finishStatistics, normalizeBatch);
}

bool planBatchNormGrad(const Op &op, KernelPlan &plan) {
  const auto planned = [&](auto code) GL_LAMBDA {
    constexpr OpCode activation = decltype(code)::value;
    return planTiles(op, plan, 2, sumGradients<activation>, finishGradients, writeGradient<activation>);
  };
  if (op.inputs == 5) return planned(CodeConstant<OpCode::copy>{});
  if (op.attr[attr::batchNormGrad::slope] == 0) return planned(CodeConstant<OpCode::reluGrad>{});
  return planned(CodeConstant<OpCode::leakyReluGrad>{});
}

bool planBatchNormInference(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0) return false;
  const Tiling t = tilingOf(op.in[0]);
  onePhase(plan, "tiles", normalizeInference, t.tiles, streamTime(8.0 * static_cast<double>(op.in[0].size)));
  byRows(plan, t.rows, t.rowsPerTile, inputBit(0) | outputBit(0));
  plan.scratch = static_cast<size_t>(t.c) * sizeof(float);
  return true;
}

bool planSoftmax(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0) return false;
  onePhase(plan, "rows", runSoftmax, ceilDiv(op.in[0].rows(), rowsPerUnit(op)), rowTime(op.in[0]));
  byRows(plan, op.in[0].rows(), rowsPerUnit(op), inputBit(0) | outputBit(0));
  return true;
}

bool planSoftmaxGrad(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0) return false;
  onePhase(plan, "rows", runSoftmaxGrad, ceilDiv(op.in[0].rows(), rowsPerUnit(op)), rowTime(op.in[0]));
  byRows(plan, op.in[0].rows(), rowsPerUnit(op), inputBit(0) | inputBit(1) | outputBit(0));
  return true;
}

}  // namespace gradline::cpu::GL_ISA
