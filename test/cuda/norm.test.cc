// Batch norm with one chunk of rows and with many, alone and with its activation, a mean far above the deviation,
// softmax of narrow and wide rows.
#include <cmath>

#include "tests.h"

namespace gradline::cuda::test {

void testNorm() {
  const Shape shapes[] = {{2, 1}, {7, 3}, {128, 40}, {3, 9, 5, 6}, {700, 33}, {9000, 2}, {1, 5}};
  for (const Shape &shape : shapes) {
    const int64_t c = shape.back();
    const Values gamma = between(0.5, 1.5, 2), beta = normal(3), mean = normal(4), variance = between(0.5, 2, 5);
    Case("batchNorm", OpCode::batchNorm)
        .attr(0, 1e-5)
        .in(shape, normal(1))
        .in({c}, gamma)
        .in({c}, beta)
        .out(shape)
        .out({c})
        .out({c})
        .check({false, 64, 0, 1e-5});
    Case("batchNormInference", OpCode::batchNormInference)
        .attr(0, 1e-5)
        .in(shape, normal(1))
        .in({c}, gamma)
        .in({c}, beta)
        .in({c}, mean)
        .in({c}, variance)
        .out(shape)
        .check({false, 16, 0, 1e-6});
    Case("batchNormGrad", OpCode::batchNormGrad)
        .attr(0, 1e-5)
        .in(shape, normal(6))
        .in(shape, normal(1))
        .in({c}, gamma)
        .in({c}, mean)
        .in({c}, variance)
        .out(shape)
        .out({c})
        .out({c})
        .check({false, 64, 0, 1e-4});
    for (const double slope : {0.0, 0.25})
      Case("batchNormGrad through an activation", OpCode::batchNormGrad)
          .attr(attr::batchNormGrad::eps, 1e-5)
          .attr(attr::batchNormGrad::slope, slope)
          .in(shape, normal(6))
          .in(shape, normal(1))
          .in({c}, gamma)
          .in({c}, mean)
          .in({c}, variance)
          .in({c}, beta)
          .out(shape)
          .out({c})
          .out({c})
          .check({false, 64, 0, 1e-4});
    Case("batchNorm with epilogues", OpCode::batchNorm)
        .attr(0, 1e-5)
        .in(shape, normal(1))
        .in({c}, gamma)
        .in({c}, beta)
        .out(shape)
        .out({c})
        .out({c})
        .epilogue(OpCode::mul, {c}, normal(11))
        .epilogue(OpCode::add, shape, normal(12))
        .epilogue(OpCode::leakyRelu, 0.25)
        .check({false, 64, 0, 1e-5});
    Case("batchNormInference with epilogues", OpCode::batchNormInference)
        .attr(0, 1e-5)
        .in(shape, normal(1))
        .in({c}, gamma)
        .in({c}, beta)
        .in({c}, mean)
        .in({c}, variance)
        .out(shape)
        .epilogue(OpCode::add, {c}, normal(11))
        .epilogue(OpCode::tanh)
        .check({false, 32, 0, 4e-6});
    Case("softmax", OpCode::softmax).in(shape, normal(7)).out(shape).check({false, 32});
    Case("softmaxGrad", OpCode::softmaxGrad)
        .in(shape, normal(8))
        .in(shape, between(0, 1, 9))
        .out(shape)
        .check({false, 8, 64, 1e-6});
  }
  // Mean 1e4, deviation 1e-2: the statistics keep their digits; half a unit of the mean in float is 5 % of the
  // deviation.
  for (const int64_t rows : {100, 3000})
    Case("batchNorm far from 0", OpCode::batchNorm)
        .attr(0, 1e-5)
        .in({rows, 5}, [](uint64_t i) { return 1e4 + 0.01 * normal(1)(i); })
        .in({5}, constant(1))
        .in({5}, constant(0))
        .out({rows, 5})
        .out({5})
        .out({5})
        .check({false, 64, 0, 0.06});
  Case("softmax of wide rows", OpCode::softmax)
      .in({3, 1000}, between(-50, 50, 7))
      .out({3, 1000})
      .check({false, 256, 0, 1e-37});
}

}  // namespace gradline::cuda::test
