// The optimizer step in f32: data cursor, gradient norm and the update rules over the segments of a parameter region.
// A unit is a chunk of one segment (or of one gradient); coefficients are computed in double, once per call.
#include "../simd.h"
#include "kernels.h"

namespace gradline::cpu::GL_ISA {
namespace {

void runAdvance(const Op &op, int64_t, int64_t, void *) {
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

// x [n] -> sum of squares, in double.
GL_SIMD double sumOfSquares(const float *x, int64_t n) {
  DVec low[2] = {}, high[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes)
    for (int k = 0; k < 2; k++) {
      const Vec v = load(x + i + k * kLanes);
      low[k] += widenLow(v) * widenLow(v);
      high[k] += widenHigh(v) * widenHigh(v);
    }
  eachVec(n - i, [&](int64_t j, int64_t count) GL_LAMBDA {
    const Vec v = load(x + i + j, count);
    low[0] += widenLow(v) * widenLow(v);
    high[0] += widenHigh(v) * widenHigh(v);
  });
  return sumLanes((low[0] + low[1]) + (high[0] + high[1]));
}

// Inputs step, gradients. Workspace: one double per chunk of every gradient, in order.
void chunkSquares(const Op &op, int64_t begin, int64_t end, void *) {
  double *squares = static_cast<double *>(op.workspace);
  int64_t before = 0;  // chunks of the gradients before j
  for (int j = 1; j < op.inputs; j++) {
    const Tensor &g = op.in[j];
    const int64_t chunks = ceilDiv(g.size, kChunk);
    for (int64_t unit = larger(begin, before); unit < smaller(end, before + chunks); unit++) {
      const int64_t first = (unit - before) * kChunk;
      squares[unit] = sumOfSquares(g.as<float>() + first, smaller(kChunk, g.size - first));
    }
    before += chunks;
  }
}

void finishPrepare(const Op &op, int64_t, int64_t, void *) {
  StepState &step = *op.out[0].as<StepState>();
  const double maxNorm = op.attr[attr::prepareUpdate::maxNorm];
  const double *squares = static_cast<double *>(op.workspace);
  double sum = 0;
  for (int j = 1; j < op.inputs; j++) {
    double own = 0;
    for (int64_t chunk = 0; chunk < ceilDiv(op.in[j].size, kChunk); chunk++) own += *squares++;
    sum += own;
  }
  step.gradNorm = __builtin_sqrt(sum);
  step.skip = __builtin_isfinite(step.gradNorm) ? 0 : 1;
  step.clipScale = maxNorm > 0 && step.gradNorm > maxNorm && !step.skip ? maxNorm / step.gradNorm : 1;
  if (step.skip)
    step.skipped++;
  else
    step.updates++;
}

// What all rules share: scale and clip of the gradient, rate and decoupled decay of a segment.
struct Setting {
  float scale, limit, rate, shrink;
};

GL_SIMD Vec clipped(Vec g, const Setting &setting) {
  const Vec scaled = g * setting.scale;
  if (!(setting.limit > 0)) return scaled;
  return maxOf(set1(-setting.limit), minOf(set1(setting.limit), scaled));  // NaN passes as the second argument
}

// Calls rule(first element, count, setting) for the chunks [begin, end) of all segments.
template <class Rule>
GL_SIMD void eachSegmentChunk(const Op &op, const StepState &step, double clipValue, int64_t begin, int64_t end,
                              Rule rule) {
  if (step.skip) return;
  int64_t before = 0;  // chunks of the segments before s
  for (int s = 0; s < op.segmentCount && before < end; s++) {
    const SegmentRecord &segment = op.segments[s];
    const int64_t chunks = ceilDiv(segment.count, kChunk);
    const double rate = step.rate * step.rateFactor * segment.rate;
    const Setting setting = {static_cast<float>(step.clipScale), static_cast<float>(clipValue),
                             static_cast<float>(rate), static_cast<float>(rate * segment.decay)};
    for (int64_t unit = larger(begin, before); unit < smaller(end, before + chunks); unit++) {
      const int64_t first = (unit - before) * kChunk;
      rule(segment.offset + first, smaller(kChunk, segment.count - first), setting);
    }
    before += chunks;
  }
}

// Inputs param, gradient, step.
void runSgd(const Op &op, int64_t begin, int64_t end, void *) {
  float *theta = op.out[0].as<float>();
  const float *gradient = op.in[1].as<float>();
  const double clipValue = op.attr[attr::sgdUpdate::clipValue];
  eachSegmentChunk(op, *op.in[2].as<StepState>(), clipValue, begin, end,
                   [&](int64_t first, int64_t n, const Setting &setting) GL_LAMBDA {
                     eachVec(n, [&](int64_t i, int64_t count) GL_LAMBDA {
                       const int64_t at = first + i;
                       Vec t = load(theta + at, count);
                       t -= setting.shrink * t;
                       t -= setting.rate * clipped(load(gradient + at, count), setting);
                       store(theta + at, t, count);
                     });
                   });
}

// Inputs param, velocity, gradient, step. The two forms and Nesterov's variant: see ref/update.h.
template <bool rateOutside, bool nesterov>
void runMomentum(const Op &op, int64_t begin, int64_t end, void *) {
  namespace a = attr::momentumUpdate;
  float *theta = op.out[0].as<float>(), *velocity = op.out[1].as<float>();
  const float *gradient = op.in[2].as<float>();
  const float beta = static_cast<float>(op.attr[a::beta]);
  eachSegmentChunk(op, *op.in[3].as<StepState>(), op.attr[a::clipValue], begin, end,
                   [&](int64_t first, int64_t n, const Setting &setting) GL_LAMBDA {
                     eachVec(n, [&](int64_t i, int64_t count) GL_LAMBDA {
                       const int64_t at = first + i;
                       const Vec g = clipped(load(gradient + at, count), setting);
                       const Vec step = rateOutside ? g : -(setting.rate * g);
                       const Vec v = beta * load(velocity + at, count) + step;
                       const Vec move = nesterov ? beta * v + step : v;
                       Vec t = load(theta + at, count);
                       t -= setting.shrink * t;
                       t = rateOutside ? t - setting.rate * move : t + move;
                       store(velocity + at, v, count);
                       store(theta + at, t, count);
                     });
                   });
}

// Inputs param, m, v, gradient, step (Kingma, Ba 2015). Root and division are exact, no estimates.
void runAdam(const Op &op, int64_t begin, int64_t end, void *) {
  namespace a = attr::adamUpdate;
  float *theta = op.out[0].as<float>(), *first = op.out[1].as<float>(), *second = op.out[2].as<float>();
  const float *gradient = op.in[3].as<float>();
  const StepState &step = *op.in[4].as<StepState>();
  const double beta1 = op.attr[a::beta1], beta2 = op.attr[a::beta2], t = static_cast<double>(step.updates);
  const float keep1 = static_cast<float>(beta1), take1 = static_cast<float>(1 - beta1);
  const float keep2 = static_cast<float>(beta2), take2 = static_cast<float>(1 - beta2);
  const float eps = static_cast<float>(op.attr[a::eps]);
  const float scale1 = static_cast<float>(1 / (1 - __builtin_pow(beta1, t)));
  const float scale2 = static_cast<float>(1 / (1 - __builtin_pow(beta2, t)));
  eachSegmentChunk(op, step, op.attr[a::clipValue], begin, end,
                   [&](int64_t start, int64_t n, const Setting &setting) GL_LAMBDA {
                     eachVec(n, [&](int64_t i, int64_t count) GL_LAMBDA {
                       const int64_t at = start + i;
                       const Vec g = clipped(load(gradient + at, count), setting);
                       const Vec m = keep1 * load(first + at, count) + take1 * g;
                       const Vec v = keep2 * load(second + at, count) + take2 * g * g;
                       Vec x = load(theta + at, count);
                       x -= setting.shrink * x;
                       x -= setting.rate * (m * scale1) / (sqrt(v * scale2) + eps);
                       store(first + at, m, count);
                       store(second + at, v, count);
                       store(theta + at, x, count);
                     });
                   });
}

bool planSegments(const Op &op, KernelPlan &plan, RunFn run, double nanosecondsPerElement) {
  if (op.fp64 || !isF32(op.in[0])) return false;
  int64_t units = 0, elements = 0;
  for (int s = 0; s < op.segmentCount; s++) {
    units += ceilDiv(op.segments[s].count, kChunk);
    elements += op.segments[s].count;
  }
  const double n = static_cast<double>(elements), tensors = 2.0 * op.outputs + 1;
  return onePhase(plan, "segments", run, units, streamTime(4.0 * tensors * n) + nanosecondsPerElement * n);
}

}  // namespace

bool planAdvance(const Op &, KernelPlan &plan) { return onePhase(plan, "scalar", runAdvance, 1, 10); }

bool planPrepareUpdate(const Op &op, KernelPlan &plan) {
  if (op.fp64) return false;
  int64_t chunks = 0, elements = 0;
  for (int j = 1; j < op.inputs; j++) {
    if (!isF32(op.in[j])) return false;
    chunks += ceilDiv(op.in[j].size, kChunk);
    elements += op.in[j].size;
  }
  onePhase(plan, "chunks", chunkSquares, chunks, streamTime(4.0 * static_cast<double>(elements)));
  addPhase(plan, finishPrepare, 1, 50 + static_cast<double>(chunks));
  plan.workspace = static_cast<size_t>(chunks) * sizeof(double);
  return true;
}

bool planSgdUpdate(const Op &op, KernelPlan &plan) { return planSegments(op, plan, runSgd, 0); }

bool planMomentumUpdate(const Op &op, KernelPlan &plan) {
  namespace a = attr::momentumUpdate;
  const bool nesterov = op.attr[a::nesterov] != 0;
  if (op.attr[a::rateOutside] != 0)
    return planSegments(op, plan, nesterov ? runMomentum<true, true> : runMomentum<true, false>, 0);
  return planSegments(op, plan, nesterov ? runMomentum<false, true> : runMomentum<false, false>, 0);
}

bool planAdamUpdate(const Op &op, KernelPlan &plan) { return planSegments(op, plan, runAdam, kLanes >= 8 ? 0.3 : 1.0); }

}  // namespace gradline::cpu::GL_ISA
