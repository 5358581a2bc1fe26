// The optimizer step and what reads the step state: schedules, random numbers, cursor, norm, rules, constraints.
#include <cmath>

#include "tests.h"

namespace gradline::cuda::test {
namespace {

StepState state() {
  StepState s = {};
  s.seed = 0x1234567890abcdef;
  s.step = 5;
  s.updates = 4;
  s.epoch = 2;
  s.cursor = 100;
  s.first = 90;
  s.rate = 0.05;
  s.rateFactor = 0.5;
  s.clipScale = 0.7;
  s.momentumProduct = 0.4;
  s.groupSteps = 2;
  s.groupRows = 37;
  return s;
}
template <class F>
StepState with(F change) {
  StepState s = state();
  change(s);
  return s;
}

// Gaps between segments, segments that end inside a block, a short one, and all settings.
std::vector<SegmentRecord> segmentsUpTo(int64_t n) {
  return {{0, 0, 0, 700, 1, 0, 0, 0},
          {0, 0, 704, 3, 0.5, 0.1, 0, 0.3},
          {0, 0, 720, n - 1000, 2, 0.01, 0.2, 0},
          {0, 0, n - 200, 200, 1, 0, 0.1, 0.1}};
}

void rules() {
  const struct {
    OpCode code;
    int moments;
    std::vector<double> attributes;  // after clipValue
  } list[] = {
      {OpCode::sgdUpdate, 0, {}},
      {OpCode::momentumUpdate, 1, {0.9, 0, 0}},
      {OpCode::momentumUpdate, 1, {0.9, 1, 0}},
      {OpCode::momentumUpdate, 1, {0.9, 0, 1}},
      {OpCode::momentumUpdate, 1, {0.9, 1, 1}},
      {OpCode::adagradUpdate, 1, {1e-8}},
      {OpCode::adadeltaUpdate, 2, {0.95, 1e-6}},
      {OpCode::rmspropUpdate, 1, {0.9, 1e-8}},
      {OpCode::rmspropMomentumUpdate, 3, {0.9, 1e-8, 0, 0.9}},
      {OpCode::rmspropMomentumUpdate, 3, {0.9, 1e-8, 1, 0.9}},
      {OpCode::adamUpdate, 2, {0.9, 0.999, 1e-8}},
      {OpCode::amsgradUpdate, 3, {0.9, 0.999, 1e-8}},
      {OpCode::adamaxUpdate, 2, {0.9, 0.999, 1e-8}},
      {OpCode::nadamUpdate, 2, {0.9, 0.999, 1e-8, 0.004}},
      {OpCode::radamUpdate, 2, {0.9, 0.999, 1e-8}},
      {OpCode::lionUpdate, 1, {0.9, 0.99}},
  };
  for (const auto &rule : list)
    for (const double clip : {0.0, 0.5})
      for (const uint64_t updates : {1, 4, 30})
        for (const uint32_t skip : {0, 1}) {
          const int64_t n = 3001;
          Case c("rule " + std::to_string(static_cast<int>(rule.code)), rule.code);
          c.attr(0, clip);
          for (size_t i = 0; i < rule.attributes.size(); i++) c.attr(static_cast<int>(i) + 1, rule.attributes[i]);
          c.in({n}, normal(1));
          for (int j = 0; j < rule.moments; j++) c.in({n}, between(0.01, 1, 2 + static_cast<uint64_t>(j)));
          c.in({n}, normal(9)).step(with([=](StepState &s) {
            s.updates = updates;
            s.skip = skip;
          }));
          for (int j = 0; j <= rule.moments; j++) c.effect(j);
          c.segments(segmentsUpTo(n)).check(kExact);
        }
}

void norms() {
  for (const int64_t n : {1, 3001, 70001})
    for (const double maxNorm : {0.0, 1.0, 1e6})
      for (const int grouped : {0, 1})
        for (const uint64_t pending : {0, 1})
          Case("prepareUpdate", OpCode::prepareUpdate)
              .attr(attr::prepareUpdate::maxNorm, maxNorm)
              .attr(attr::prepareUpdate::grouped, grouped)
              .attr(attr::prepareUpdate::momentum, 0.9)
              .attr(attr::prepareUpdate::momentumDecay, 0.004)
              .step(with([=](StepState &s) { s.pending = pending; }))
              .in({n}, integers(-20, 20, 1))
              .effect(0)
              .check(kExact);
  Case("prepareUpdate of several", OpCode::prepareUpdate)
      .attr(0, 2)
      .step(state())
      .in({5000}, integers(-5, 5, 1))
      .in({3}, integers(-5, 5, 2))
      .in({9, 10}, integers(-5, 5, 3))
      .effect(0)
      .check(kExact);
  for (const float value : {NAN, INFINITY})
    Case("prepareUpdate not finite", OpCode::prepareUpdate)
        .attr(0, 1)
        .step(state())
        .in({500}, [=](uint64_t i) { return i == 77 ? value : 1.0f; })
        .effect(0)
        .check(kExact);
  for (const Shape &shape : {Shape{7, 3}, Shape{300, 40}, Shape{3, 3, 5, 33}, Shape{1, 1}}) {
    Case("maxNorm", OpCode::maxNorm).attr(0, 3).in(shape, integers(-2, 2, 1)).step(state()).effect(0).check(kExact);
    Case("maxNorm skipped", OpCode::maxNorm)
        .attr(0, 3)
        .in(shape, integers(-2, 2, 1))
        .step(with([](StepState &s) { s.skip = 1; }))
        .effect(0)
        .check(kExact);
  }
  for (const uint64_t updates : {1, 2})
    Case("averageWeights", OpCode::averageWeights)
        .attr(0, 0.99)
        .in({777}, normal(1))
        .in({777}, normal(2))
        .step(with([=](StepState &s) { s.updates = updates; }))
        .effect(0)
        .check(kExact);
}

void groups() {
  for (const uint64_t cursor : {90, 100})
    Case("advance", OpCode::advance)
        .attr(0, 10)
        .attr(1, 100)
        .step(with([=](StepState &s) { s.cursor = cursor; }))
        .effect(0)
        .check(kExact);
  Case("advance without data", OpCode::advance).attr(0, 10).attr(1, 0).step(state()).effect(0).check(kExact);
  for (int field = 0; field < 6; field++)
    Case("stepValue", OpCode::stepValue).attr(0, field).step(state()).out({1}).check(kExact);
  for (const uint64_t pending : {0, 1})
    for (const uint64_t steps : {1, 3})
      Case("countGroup", OpCode::countGroup)
          .attr(0, 4)
          .attr(1, 16)
          .attr(2, 200)
          .step(with([=](StepState &s) {
            s.pending = pending;
            s.groupSteps = steps;
          }))
          .effect(0)
          .check(kExact);
  for (const uint64_t pending : {0, 1})
    for (const uint64_t steps : {1, 3})
      Case("accumulateGradient", OpCode::accumulateGradient)
          .attr(0, 16)
          .in({3001}, normal(1))
          .in({3001}, normal(2))
          .in({3001}, normal(3))
          .step(with([=](StepState &s) {
            s.pending = pending;
            s.groupSteps = steps;
          }))
          .effect(0)
          .effect(1)
          .segments(segmentsUpTo(3001))
          .check(kExact);
}

void schedules() {
  namespace a = attr::scheduleRate;
  const struct {
    ScheduleKind kind;
    double a, b, c;
  } kinds[] = {{ScheduleKind::constant, 0, 0, 0},    {ScheduleKind::exponential, 10, 0.5, 0},
               {ScheduleKind::power, 10, 0.7, 0},    {ScheduleKind::polynomial, 20, 2, 0.001},
               {ScheduleKind::cosine, 20, 0.001, 0}, {ScheduleKind::cosine, 5, 0.001, 1},
               {ScheduleKind::cosine, 5, 0.001, 2},  {ScheduleKind::steps, 7, 0.1, 0},
               {ScheduleKind::table, 0, 0, 0}};
  for (const auto &k : kinds)
    for (const uint64_t t : {0, 2, 3, 17, 22, 50, 1000}) {
      Case c("schedule " + std::to_string(static_cast<int>(k.kind)), OpCode::scheduleRate);
      c.attr(a::kind, static_cast<int>(k.kind)).attr(a::unit, t % 2).attr(a::begin, 2).attr(a::end, 900);
      c.attr(a::base, 0.3).attr(a::a, k.a).attr(a::b, k.b).attr(a::c, k.c);
      c.step(with([=](StepState &s) { s.updates = s.epoch = t; }));
      if (k.kind == ScheduleKind::table) c.in({30}, normal(4));
      c.effect(0).check(kExact);
    }
}

void randoms() {
  for (const int64_t n : {1, 4, 1023, 2051}) {
    for (const double rate : {0.0, 0.3}) {
      Case("dropout", OpCode::dropout).attr(0, rate).attr(1, 3).in({n}, normal(1)).step(state()).out({n}).check(kExact);
      Case("dropout in place", OpCode::dropout)
          .attr(0, rate)
          .attr(1, 3)
          .in({n}, normal(1))
          .step(state())
          .inPlace(0)
          .check(kExact);
    }
    for (const int back : {0, 1}) {
      const int64_t h = 5 + n % 3;
      Case("cropFlip", OpCode::cropFlip)
          .attr(0, 2)
          .attr(1, 1)
          .attr(2, 0.5)
          .attr(3, n % 2)
          .attr(4, -3)
          .attr(5, 9)
          .attr(6, back)
          .in({5, back ? 4 : h, 7, 3}, normal(1))
          .step(state())
          .out({5, back ? h : 4, 7, 3})
          .check(kExact);
    }
    Case("randomUniform", OpCode::randomUniform)
        .attr(0, -1)
        .attr(1, 2.5)
        .attr(2, 7)
        .step(state())
        .out({n})
        .check(kExact);
    Case("randomNormal", OpCode::randomNormal).attr(0, 1).attr(1, 2).attr(2, 7).step(state()).out({n}).check(kExact);
    for (int shuffle = 0; shuffle < 3; shuffle++)
      Case("sampleRows", OpCode::sampleRows)
          .attr(0, 1237)
          .attr(1, shuffle)
          .step(state())
          .out(DType::i32, {n})
          .check(kExact);
  }
}

}  // namespace

void testUpdate() {
  rules();
  norms();
  groups();
  schedules();
  randoms();
}

}  // namespace gradline::cuda::test
