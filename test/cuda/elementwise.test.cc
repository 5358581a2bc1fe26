// Elementwise kernels: shapes that end inside of a load of four, inside of a block, and operands that broadcast.
#include <cmath>

#include "tests.h"

namespace gradline::cuda::test {
namespace {

const Shape kShapes[] = {{1}, {17}, {5, 33}, {2, 3, 1, 5}, {3001}, {4096}};

void one(OpCode code, const char *name, const Values &values, Tolerance tolerance, double a = 0, double b = 0) {
  for (const Shape &shape : kShapes)
    Case(name, code).attr(0, a).attr(1, b).in(shape, values).out(shape).check(tolerance);
  Case(std::string(name) + " in place", code).attr(0, a).attr(1, b).in({77}, values).inPlace(0).check(tolerance);
}

void two(OpCode code, const char *name, const Values &a, const Values &b, Tolerance tolerance, double attr = 0,
         double second = 0) {
  for (const Shape &shape : kShapes)
    Case(name, code).attr(0, attr).attr(1, second).in(shape, a).in(shape, b).out(shape).check(tolerance);
}

double special(uint64_t i) {
  const double values[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-40, -1e-40, 3e38, -3e38, 1, -1};
  return values[i % 11];
}

}  // namespace

void testElementwise() {
  const Values any = normal(1), other = normal(2), positive = between(0.1, 5, 3);
  one(OpCode::neg, "neg", any, kExact);
  one(OpCode::abs, "abs", any, kExact);
  one(OpCode::sign, "sign", integers(-2, 2, 4), kExact);
  one(OpCode::exp, "exp", any, {});
  one(OpCode::log, "log", positive, {});
  one(OpCode::log1p, "log1p", positive, {});
  one(OpCode::erf, "erf", any, {});
  one(OpCode::sqrt, "sqrt", positive, kExact);
  one(OpCode::scale, "scale", any, kExact, 1.5, -0.25);
  one(OpCode::relu, "relu", any, kExact);
  one(OpCode::leakyRelu, "leakyRelu", any, kExact, 0.1);
  one(OpCode::elu, "elu", any, {}, 1.3);
  one(OpCode::sigmoid, "sigmoid", any, {});
  one(OpCode::tanh, "tanh", any, {});

  two(OpCode::reluGrad, "reluGrad", any, other, kExact);
  two(OpCode::leakyReluGrad, "leakyReluGrad", any, other, kExact, 0.1);
  two(OpCode::eluGrad, "eluGrad", any, other, kExact, 1.3);
  two(OpCode::sigmoidGrad, "sigmoidGrad", any, between(0, 1, 5), {});
  two(OpCode::tanhGrad, "tanhGrad", any, between(-0.9, 0.9, 6), {});
  two(OpCode::add, "add", any, other, kExact);
  two(OpCode::sub, "sub", any, other, kExact);
  two(OpCode::mul, "mul", any, other, kExact);
  two(OpCode::div, "div", any, positive, kExact);
  two(OpCode::maximum, "maximum", any, other, kExact);
  two(OpCode::minimum, "minimum", any, other, kExact);
  two(OpCode::weightedSum, "weightedSum", any, other, kExact, 0.9, -2);
  two(OpCode::greater, "greater", integers(0, 3, 7), integers(0, 3, 8), kExact);
  two(OpCode::equal, "equal", integers(0, 3, 7), integers(0, 3, 8), kExact);

  const struct {
    Shape a, b, y;
  } broadcasts[] = {
      {{5, 33}, {33}, {5, 33}},       {{5, 33}, {5, 1}, {5, 33}},
      {{5, 33}, {1}, {5, 33}},        {{33}, {5, 33}, {5, 33}},
      {{4, 1, 7}, {3, 1}, {4, 3, 7}}, {{2, 1, 3, 1, 5}, {4, 1, 6, 5}, {2, 4, 3, 6, 5}},
      {{1, 1}, {}, {1, 1}},           {{2, 3, 4, 5, 6, 2}, {3, 1, 5, 1, 2}, {2, 3, 4, 5, 6, 2}},
  };
  for (const auto &s : broadcasts) {
    Case("sub broadcast", OpCode::sub).in(s.a, any).in(s.b, other).out(s.y).check(kExact);
    Case("select broadcast", OpCode::select)
        .in(s.b, integers(0, 1, 9))
        .in(s.a, any)
        .in({1}, other)
        .out(s.y)
        .check(kExact);
  }
  Case("add in place", OpCode::add).in({5, 33}, any).in({33}, other).inPlace(0).check(kExact);
  Case("equal i32", OpCode::equal)
      .in(DType::i32, {5, 33}, integers(0, 2, 7))
      .in(DType::i32, {33}, integers(0, 2, 8))
      .out({5, 33})
      .check(kExact);
  for (const OpCode code : {OpCode::neg, OpCode::abs, OpCode::sign, OpCode::relu, OpCode::sqrt})
    Case("special values", code).in({44}, special).out({44}).check(kExact);
  for (const OpCode code : {OpCode::maximum, OpCode::minimum, OpCode::greater, OpCode::equal, OpCode::reluGrad})
    Case("special pairs", code)
        .in({121}, special)
        .in({121}, [](uint64_t i) { return special(i / 11); })
        .out({121})
        .check(kExact);
  Case("nothing", OpCode::neg).in({0, 3}, any).out({0, 3}).check(kExact);
}

}  // namespace gradline::cuda::test
