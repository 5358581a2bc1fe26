// The optimizer step in f32: groups of micro-batches, gradient norm, constraints, averages, and the loop
// that runs an update rule (rules.h) over the segments of a parameter region. A unit is a chunk of one segment (or of
// one gradient); coefficients are computed in double, once per call.
#include "kernels.h"
#include "rules.h"

namespace gradline::cpu::GL_ISA {
namespace {

// Calls body(segment, first element, count) for the chunks [begin, end) of all segments.
template <class Body>
GL_SIMD void eachSegmentChunk(const Op &op, int64_t begin, int64_t end, Body body) {
  int64_t before = 0;  // chunks of the segments before s
  for (int s = 0; s < op.segmentCount && before < end; s++) {
    const SegmentRecord &segment = op.segments[s];
    const int64_t chunks = ceilDiv(segment.count, kChunk);
    for (int64_t unit = larger(begin, before); unit < smaller(end, before + chunks); unit++) {
      const int64_t first = (unit - before) * kChunk;
      body(segment, segment.offset + first, smaller(kChunk, segment.count - first));
    }
    before += chunks;
  }
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
  namespace a = attr::prepareUpdate;
  StepState &step = *op.out[0].as<StepState>();
  if (op.attr[a::grouped] == 0) step.pending = 0;
  step.skip = 1;
  if (step.pending) return;
  const double maxNorm = op.attr[a::maxNorm];
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

// Inputs param (for its segments), accumulator, gradient, step.
void runAccumulate(const Op &op, int64_t begin, int64_t end, void *) {
  const StepState &step = *op.in[3].as<StepState>();
  const float rows = static_cast<float>(op.attr[attr::accumulateGradient::rows]);
  const float all = static_cast<float>(step.groupRows);
  const bool first = step.groupSteps <= 1, full = !step.pending;
  float *sum = op.out[1].as<float>();
  const float *gradient = op.in[2].as<float>();
  eachSegmentChunk(op, begin, end, [&](const SegmentRecord &, int64_t start, int64_t n) GL_LAMBDA {
    eachVec(n, [&](int64_t i, int64_t count) GL_LAMBDA {
      const Vec g = rows * load(gradient + start + i, count);
      const Vec total = first ? g : load(sum + start + i, count) + g;
      store(sum + start + i, full ? total / all : total, count);
    });
  });
}

// Inputs average, param, step.
void runAverage(const Op &op, int64_t begin, int64_t end, void *) {
  const StepState &step = *op.in[2].as<StepState>();
  if (step.skip) return;
  const double decay = step.updates <= 1 ? 0 : op.attr[attr::averageWeights::decay];
  const float keep = static_cast<float>(decay), take = static_cast<float>(1 - decay);
  float *average = op.out[0].as<float>();
  const float *theta = op.in[1].as<float>();
  const int64_t first = begin * kChunk;
  eachVec(smaller(end * kChunk, op.out[0].size) - first, [&](int64_t i, int64_t count) GL_LAMBDA {
    const int64_t at = first + i;
    store(average + at, keep * load(average + at, count) + take * load(theta + at, count), count);
  });
}

// Inputs param [..., units], step. A unit of work is one vector of units; rows are summed in order, in double.
void runMaxNorm(const Op &op, int64_t begin, int64_t end, void *) {
  if (op.in[1].as<StepState>()->skip) return;
  const double limit = op.attr[attr::maxNorm::limit];
  const int64_t units = op.out[0].channels(), rows = op.out[0].rows();
  for (int64_t block = begin; block < end; block++) {
    float *w = op.out[0].as<float>() + block * kLanes;
    const int64_t count = smaller(kLanes, units - block * kLanes);
    DVec squares[2] = {};
    for (int64_t row = 0; row < rows; row++) {
      const Vec v = load(w + row * units, count);
      squares[0] += widenLow(v) * widenLow(v);
      squares[1] += widenHigh(v) * widenHigh(v);
    }
    Vec factor = set1(1.0f);
    bool exceeded = false;
    for (int lane = 0; lane < kLanes; lane++) {
      const double norm = __builtin_sqrt(squares[lane / (kLanes / 2)][lane % (kLanes / 2)]);
      if (!(norm > limit)) continue;
      factor[lane] = static_cast<float>(limit / norm);
      exceeded = true;
    }
    if (!exceeded) continue;
    for (int64_t row = 0; row < rows; row++) store(w + row * units, load(w + row * units, count) * factor, count);
  }
}

// What all rules share: scale and clip of the gradient, rate, decoupled decay and penalties of a segment.
struct Setting {
  float scale, limit, rate, shrink, l1, l2;
  bool penalized;
};

// The gradient that a rule sees at the weights w.
GL_SIMD Vec gradientOf(Vec g, Vec w, const Setting &setting) {
  g = g * setting.scale;
  // NaN passes as the second argument.
  if (setting.limit > 0) g = maxOf(set1(-setting.limit), minOf(set1(setting.limit), g));
  if (!setting.penalized) return g;
  return g + setting.l2 * w + select(w > 0, set1(setting.l1), select(w < 0, set1(-setting.l1), Vec{}));
}

// Applies rule(w, slots, gradient, rate), which changes w and its slots, to the elements of the chunks [begin, end).
// Inputs param, slots, gradient, step; decoupled decay has shrunk w before.
template <int kSlots, class Rule>
void runRule(const Op &op, int64_t begin, int64_t end, void *) {
  const StepState &step = *op.in[kSlots + 2].as<StepState>();
  if (step.skip) return;
  const Rule rule(op);
  float *theta = op.out[0].as<float>(), *slots[kSlots + 1] = {};
  for (int k = 0; k < kSlots; k++) slots[k] = op.out[k + 1].as<float>();
  const float *gradient = op.in[kSlots + 1].as<float>();
  const float clipValue = static_cast<float>(op.attr[attr::sgdUpdate::clipValue]);  // the first attribute of them all
  eachSegmentChunk(op, begin, end, [&](const SegmentRecord &segment, int64_t start, int64_t n) GL_LAMBDA {
    const double rate = step.rate * step.rateFactor * segment.rate;
    const Setting setting = {static_cast<float>(step.clipScale), clipValue,
                             static_cast<float>(rate),           static_cast<float>(rate * segment.decay),
                             static_cast<float>(segment.l1),     static_cast<float>(segment.l2),
                             segment.l1 != 0 || segment.l2 != 0};
    eachVec(n, [&](int64_t i, int64_t count) GL_LAMBDA {
      const int64_t at = start + i;
      Vec w = load(theta + at, count), s[kSlots + 1];
      for (int k = 0; k < kSlots; k++) s[k] = load(slots[k] + at, count);
      const Vec g = gradientOf(load(gradient + at, count), w, setting);
      w -= setting.shrink * w;
      rule(w, s, g, setting.rate);
      for (int k = 0; k < kSlots; k++) store(slots[k] + at, s[k], count);
      store(theta + at, w, count);
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

bool planAccumulateGradient(const Op &op, KernelPlan &plan) { return planSegments(op, plan, runAccumulate, 0); }

bool planAverageWeights(const Op &op, KernelPlan &plan) {
  if (op.fp64 || !isF32(op.out[0])) return false;
  const int64_t n = op.out[0].size;
  return onePhase(plan, "stream", runAverage, ceilDiv(n, kChunk), streamTime(12.0 * static_cast<double>(n)));
}

bool planMaxNorm(const Op &op, KernelPlan &plan) {
  if (op.fp64 || !isF32(op.out[0])) return false;
  const int64_t blocks = ceilDiv(op.out[0].channels(), kLanes);
  return onePhase(plan, "columns", runMaxNorm, blocks, streamTime(8.0 * static_cast<double>(op.out[0].size)));
}

bool planUpdateRule(const Op &op, KernelPlan &plan) {
  const double roots = kLanes >= 8 ? 0.3 : 1.0;  // of a square root and a division
  switch (op.code) {
    case OpCode::sgdUpdate:
      return planSegments(op, plan, runRule<0, Sgd>, 0);
    case OpCode::momentumUpdate: {
      const bool nesterov = op.attr[attr::momentumUpdate::nesterov] != 0;
      if (op.attr[attr::momentumUpdate::rateOutside] != 0)
        return planSegments(op, plan, nesterov ? runRule<1, Momentum<true, true>> : runRule<1, Momentum<true, false>>,
                            0);
      return planSegments(op, plan, nesterov ? runRule<1, Momentum<false, true>> : runRule<1, Momentum<false, false>>,
                          0);
    }
    case OpCode::adagradUpdate:
      return planSegments(op, plan, runRule<1, Adagrad>, roots);
    case OpCode::adadeltaUpdate:
      return planSegments(op, plan, runRule<2, Adadelta>, 2 * roots);
    case OpCode::rmspropUpdate:
      return planSegments(op, plan, runRule<1, Rmsprop>, roots);
    case OpCode::rmspropMomentumUpdate:
      return planSegments(op, plan, runRule<3, RmspropMomentum>, roots);
    case OpCode::adamUpdate:
      return planSegments(op, plan, runRule<2, Adam>, roots);
    case OpCode::amsgradUpdate:
      return planSegments(op, plan, runRule<3, Amsgrad>, roots);
    case OpCode::adamaxUpdate:
      return planSegments(op, plan, runRule<2, Adamax>, roots);
    case OpCode::nadamUpdate:
      return planSegments(op, plan, runRule<2, Nadam>, roots);
    case OpCode::radamUpdate:
      return planSegments(op, plan, runRule<2, Radam>, roots);
    case OpCode::lionUpdate:
      return planSegments(op, plan, runRule<1, Lion>, 0);
    default:
      return false;
  }
}

}  // namespace gradline::cpu::GL_ISA
