// Losses and checks of data: values, and which fault is reported when several rows are at fault.
#include <cmath>

#include "tests.h"

namespace gradline::cuda::test {

void testLoss() {
  const Tolerance close = {false, 32, 0, 1e-6};
  const struct {
    int64_t n, k;
  } sizes[] = {{1, 1}, {7, 10}, {33, 33}, {5, 300}, {64, 2}};
  for (const auto &s : sizes) {
    const int k = static_cast<int>(s.k);
    const Shape wide = {s.n, s.k};
    Case("cross entropy", OpCode::softmaxCrossEntropy)
        .in(wide, normal(1))
        .in(DType::i32, {s.n}, integers(0, k - 1, 2))
        .out({s.n})
        .out(wide)
        .check(close);
    Case("cross entropy of weights", OpCode::softmaxCrossEntropy)
        .in(wide, normal(1))
        .in(wide, integers(0, 2, 3))
        .out({s.n})
        .out(wide)
        .check({false, 32, 0, 1e-4});
    Case("its gradient", OpCode::softmaxCrossEntropyGrad)
        .in({s.n}, normal(4))
        .in(wide, between(0, 1, 5))
        .in(DType::i32, {s.n}, integers(0, k - 1, 2))
        .out(wide)
        .check(kExact);
    Case("its gradient of weights", OpCode::softmaxCrossEntropyGrad)
        .in({s.n}, integers(-3, 3, 4))
        .in(wide, integers(0, 4, 5))
        .in(wide, integers(0, 2, 3))
        .out(wide)
        .check(kExact);
    Case("oneHot", OpCode::oneHot)
        .attr(attr::oneHot::ignore, -1)
        .in(DType::i32, {s.n}, integers(-1, k - 1, 6))
        .out(wide)
        .check(kExact);
    Case("oneHot ignores a class", OpCode::oneHot)
        .attr(attr::oneHot::ignore, 0)
        .in(DType::i32, {s.n}, integers(0, k - 1, 6))
        .out(wide)
        .check(kExact);
  }
  Case("large logits", OpCode::softmaxCrossEntropy)
      .in({9, 10}, [](uint64_t i) { return 1e4 * uniform(7, i); })
      .in(DType::i32, {9}, integers(0, 9, 2))
      .out({9})
      .out({9, 10})
      .check({false, 32, 0, 1e-3});

  // Rows 40 and later are at fault; the report names row 40 in any order of blocks.
  const Values bad = [](uint64_t i) { return i >= 40 ? 10 + static_cast<double>(i) : static_cast<double>(i % 10); };
  Case("a label out of range", OpCode::softmaxCrossEntropy)
      .in({90, 10}, normal(1))
      .in(DType::i32, {90}, bad)
      .out({90})
      .out({90, 10})
      .check();
  Case("a label out of range, gradient", OpCode::softmaxCrossEntropyGrad)
      .in({90}, normal(1))
      .in({90, 10}, normal(1))
      .in(DType::i32, {90}, bad)
      .out({90, 10})
      .check();
  Case("a label out of range, oneHot", OpCode::oneHot)
      .attr(attr::oneHot::ignore, -1)
      .in(DType::i32, {90}, bad)
      .out({90, 10})
      .check();
  Case("finite", OpCode::requireFinite).in({700}, normal(1)).out({700}).check(kExact);
  for (const float value : {INFINITY, -INFINITY, NAN})
    Case("not finite", OpCode::requireFinite)
        .in({700}, [=](uint64_t i) { return i == 300 || i == 650 ? value : 1.0f; })
        .out({700})
        .check();
}

}  // namespace gradline::cuda::test
