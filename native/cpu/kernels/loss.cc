// Softmax cross entropy of f32 logits in one pass per row, and its derivative. Labels are i32 [n] or f32 [n, k]. A
// label outside [0, k) is reported and its row gets no loss; nothing outside the row is touched.
#include "kernels.h"
#include "softmax.h"

namespace gradline::cpu::GL_ISA {
namespace {

// Rows of a unit: a multiple of kLanes, since logarithms are taken for kLanes rows at once.
int64_t rowsPerUnit(int64_t k) { return ceilDiv(larger(1, kChunk / k), kLanes) * kLanes; }

GL_SIMD bool labelInside(const Op &op, int64_t row, int64_t label, int64_t k) {
  if (label >= 0 && label < k) return true;
  report(op, Fault::labelOutOfRange, row, label, k);
  return false;
}

// sum t (log total - (x - largest)); a class of weight 0 adds nothing, even where x is -inf.
GL_SIMD float weightedLoss(const float *x, const float *t, int64_t k, float largest, float logTotal) {
  Vec sums = set1(0.0f);
  eachVec(k, [&](int64_t i, int64_t count) GL_LAMBDA {
    const Vec weight = load(t + i, count);
    const Vec term = weight * (set1(logTotal) - (load(x + i, count) - set1(largest)));
    sums += select(weight != 0.0f, term, set1(0.0f));
  });
  return sumLanes(sums);
}

// Inputs logits [n, k], labels; outputs loss [n], probabilities [n, k].
void runForward(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t n = op.in[0].rows(), k = op.in[0].channels(), perUnit = rowsPerUnit(k);
  const int32_t *labels = op.in[1].dtype == DType::i32 ? op.in[1].as<int32_t>() : nullptr;
  const int64_t stop = smaller(end * perUnit, n);
  for (int64_t first = begin * perUnit; first < stop; first += kLanes) {
    const int64_t count = smaller(kLanes, stop - first);
    const float *x = op.in[0].as<float>() + first * k;
    float largest[kLanes], totals[kLanes], logTotals[kLanes];
    for (int64_t r = 0; r < kLanes; r++) totals[r] = 1;
    for (int64_t r = 0; r < count; r++) {
      const RowStatistics row = softmaxRow(x + r * k, op.out[1].as<float>() + (first + r) * k, k);
      largest[r] = row.largest;
      totals[r] = row.total;
    }
    store(logTotals, log(load(totals)));
    for (int64_t r = 0; r < count; r++) {
      float loss = 0;
      if (!labels) {
        loss = weightedLoss(x + r * k, op.in[1].as<float>() + (first + r) * k, k, largest[r], logTotals[r]);
      } else if (labelInside(op, first + r, labels[first + r], k)) {
        loss = logTotals[r] - (x[r * k + labels[first + r]] - largest[r]);
      }
      op.out[0].as<float>()[first + r] = loss;
    }
  }
}

// Inputs dloss [n], probabilities [n, k], labels; output dlogits [n, k] = dloss * (p * sum t - t).
void runBackward(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t n = op.in[1].rows(), k = op.in[1].channels(), perUnit = rowsPerUnit(k);
  const int32_t *labels = op.in[2].dtype == DType::i32 ? op.in[2].as<int32_t>() : nullptr;
  for (int64_t row = begin * perUnit; row < smaller(end * perUnit, n); row++) {
    const float dloss = op.in[0].as<float>()[row];
    const float *p = op.in[1].as<float>() + row * k;
    float *dx = op.out[0].as<float>() + row * k;
    if (labels) {
      const int32_t label = labels[row];
      eachVec(k, [&](int64_t i, int64_t count) GL_LAMBDA { store(dx + i, dloss * load(p + i, count), count); });
      if (labelInside(op, row, label, k)) dx[label] = dloss * (p[label] - 1.0f);
      continue;
    }
    const float *t = op.in[2].as<float>() + row * k;
    Vec sums = set1(0.0f);
    eachVec(k, [&](int64_t i, int64_t count) GL_LAMBDA { sums += load(t + i, count); });
    const Vec weight = set1(sumLanes(sums));
    eachVec(k, [&](int64_t i, int64_t count)
                   GL_LAMBDA { store(dx + i, dloss * (load(p + i, count) * weight - load(t + i, count)), count); });
  }
}

bool supported(const Op &op, const Tensor &scores, const Tensor &labels) {
  if (op.fp64 || !isF32(scores) || scores.size == 0) return false;
  return labels.dtype == DType::i32 || isF32(labels);
}

double timeOf(const Tensor &scores) {
  const double rows = static_cast<double>(scores.rows());
  return streamTime(8.0 * static_cast<double>(scores.size)) +
         rows * (12 + 5.0 * static_cast<double>(ceilDiv(scores.channels(), kLanes)));
}

}  // namespace

bool planSoftmaxCrossEntropy(const Op &op, KernelPlan &plan) {
  if (!supported(op, op.in[0], op.in[1])) return false;
  const Tensor &logits = op.in[0];
  onePhase(plan, "rows", runForward, ceilDiv(logits.rows(), rowsPerUnit(logits.channels())), timeOf(logits));
  byRows(plan, logits.rows(), rowsPerUnit(logits.channels()), inputBit(0) | inputBit(1) | outputBit(0) | outputBit(1));
  return true;
}

bool planSoftmaxCrossEntropyGrad(const Op &op, KernelPlan &plan) {
  if (!supported(op, op.in[1], op.in[2])) return false;
  const Tensor &p = op.in[1];
  onePhase(plan, "rows", runBackward, ceilDiv(p.rows(), rowsPerUnit(p.channels())),
           streamTime(8.0 * static_cast<double>(p.size)) + 3.0 * static_cast<double>(p.rows()));
  byRows(plan, p.rows(), rowsPerUnit(p.channels()), inputBit(0) | inputBit(1) | inputBit(2) | outputBit(0));
  return true;
}

}  // namespace gradline::cpu::GL_ISA
