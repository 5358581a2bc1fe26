// The optimizer step but for its rules (rules.h): data cursor, groups of micro-batches, gradient norm and clipping
// before them, constraints and averages after them. Numbers that differ between steps stand in StepState.
#pragma once
#include <algorithm>
#include <cmath>

#include "rules.h"

namespace gradline::ref {

// step -> step: see StepState in abi.h.
template <class T>
void advance(const Op &op) {
  StepState &step = *op.out[0].as<StepState>();
  const uint64_t batch = static_cast<uint64_t>(op.attr[attr::advance::batch]);
  const uint64_t samples = static_cast<uint64_t>(op.attr[attr::advance::samples]);
  step.step++;
  if (samples == 0) return;
  if (step.cursor >= samples) {
    step.epoch++;
    step.cursor = 0;
  }
  step.first = step.cursor;
  step.cursor += batch;
}

// Elements per partial sum of squares: fixed, so that a backend that sums chunks on several threads adds the same
// numbers in the same order.
constexpr int64_t kNormChunk = 4096;

// g [...] -> sum of squares in double: each chunk by itself, then the chunks in order.
template <class T>
double sumOfSquares(const Tensor &g) {
  double total = 0;
  for (int64_t begin = 0; begin < g.size; begin += kNormChunk) {
    const int64_t end = std::min(begin + kNormChunk, g.size);
    double chunk = 0;
    for (int64_t i = begin; i < end; i++) {
      const double value = static_cast<double>(g.as<T>()[i]);
      chunk += value * value;
    }
    total += chunk;
  }
  return total;
}

// step -> [1]: a number of the step state, for rules that are written as compositions.
template <class T>
void stepValue(const Op &op) {
  const StepState &step = *op.in[0].as<StepState>();
  const double fields[] = {step.rate * step.rateFactor,          step.clipScale,
                           static_cast<double>(step.skip),       static_cast<double>(step.updates),
                           static_cast<double>(step.groupSteps), static_cast<double>(step.groupRows)};
  op.out[0].as<T>()[0] = static_cast<T>(fields[op.iattr(attr::stepValue::field)]);
}

// step -> step: see StepState in abi.h. samples 0: no data set, so a group ends only when it is full.
template <class T>
void countGroup(const Op &op) {
  namespace a = attr::countGroup;
  StepState &step = *op.out[0].as<StepState>();
  if (!step.pending) step.groupSteps = step.groupRows = 0;
  step.groupSteps++;
  step.groupRows += static_cast<uint64_t>(op.attr[a::rows]);
  const uint64_t size = static_cast<uint64_t>(op.attr[a::size]), samples = static_cast<uint64_t>(op.attr[a::samples]);
  step.pending = step.groupSteps < size && !(samples > 0 && step.cursor >= samples) ? 1 : 0;
}

// theta [p], sum [p], g [p], step -> sum: rows * g added up over the group, its first micro-batch without what stood
// there before; when the group is full the sum becomes the mean over all rows. theta only names the segments.
template <class T>
void accumulateGradient(const Op &op) {
  const StepState &step = *op.in[3].as<StepState>();
  const T rows = static_cast<T>(op.attr[attr::accumulateGradient::rows]);
  const bool first = step.groupSteps <= 1, full = !step.pending;
  const T all = static_cast<T>(step.groupRows);
  T *sum = op.out[1].as<T>();
  const T *g = op.in[2].as<T>();
  for (int s = 0; s < op.segmentCount; s++) {
    const SegmentRecord &segment = op.segments[s];
    for (int64_t i = segment.offset; i < segment.offset + segment.count; i++) {
      const T total = first ? rows * g[i] : sum[i] + rows * g[i];
      sum[i] = full ? total / all : total;
    }
  }
}

// step, gradients [...] ... -> step: see StepState in abi.h. maxNorm 0 leaves the gradients as they are; momentum > 0
// keeps nadam's product of momenta.
template <class T>
void prepareUpdate(const Op &op) {
  namespace a = attr::prepareUpdate;
  StepState &step = *op.out[0].as<StepState>();
  if (op.attr[a::grouped] == 0) step.pending = 0;
  step.skip = 1;
  if (step.pending) return;
  const double maxNorm = op.attr[a::maxNorm];
  double squares = 0;
  for (int j = 1; j < op.inputs; j++) squares += sumOfSquares<T>(op.in[j]);
  step.gradNorm = std::sqrt(squares);
  step.skip = std::isfinite(step.gradNorm) ? 0 : 1;
  step.clipScale = maxNorm > 0 && step.gradNorm > maxNorm && !step.skip ? maxNorm / step.gradNorm : 1;
  if (step.skip) {
    step.skipped++;
    return;
  }
  step.updates++;
  if (op.attr[a::momentum] > 0) {
    const double mu = nadamMomentum(op.attr[a::momentum], op.attr[a::momentumDecay], static_cast<double>(step.updates));
    step.momentumProduct = step.updates == 1 ? mu : step.momentumProduct * mu;
  }
}

// theta [..., units], step -> theta: the weights w of each unit, all axes but the last, become w * min(1, limit / |w|).
// A unit within the limit keeps its bits.
template <class T>
void maxNorm(const Op &op) {
  if (op.in[1].as<StepState>()->skip) return;
  const double limit = op.attr[attr::maxNorm::limit];
  const Tensor &theta = op.out[0];
  const int64_t units = theta.channels(), rows = theta.rows();
  for (int64_t unit = 0; unit < units; unit++) {
    T *w = theta.as<T>() + unit;
    double squares = 0;
    for (int64_t row = 0; row < rows; row++)
      squares += static_cast<double>(w[row * units]) * static_cast<double>(w[row * units]);
    const double norm = std::sqrt(squares);
    if (!(norm > limit)) continue;
    for (int64_t row = 0; row < rows; row++) w[row * units] *= static_cast<T>(limit / norm);
  }
}

// average [p], theta [p], step -> average = decay average + (1 - decay) theta, after each update; the first one copies.
template <class T>
void averageWeights(const Op &op) {
  const StepState &step = *op.in[2].as<StepState>();
  if (step.skip) return;
  const double decay = step.updates <= 1 ? 0 : op.attr[attr::averageWeights::decay];
  const T keep = static_cast<T>(decay), take = static_cast<T>(1 - decay);
  T *average = op.out[0].as<T>();
  const T *theta = op.in[1].as<T>();
  for (int64_t i = 0; i < op.out[0].size; i++) average[i] = keep * average[i] + take * theta[i];
}

}  // namespace gradline::ref
