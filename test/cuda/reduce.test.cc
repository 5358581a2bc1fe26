// Reductions: rows for a warp, rows for a block, rows in stretches, columns of any width, axes that do not lie
// together.
#include <cmath>

#include "tests.h"

namespace gradline::cuda::test {

void testReduce() {
  const struct {
    Shape x;
    int axes;
    Shape y;
  } cases[] = {
      {{17}, 1, {1}},
      {{5, 33}, 2, {5, 1}},
      {{5, 33}, 1, {1, 33}},
      {{5, 33}, 3, {1, 1}},
      {{3, 700}, 2, {3, 1}},
      {{2, 9001}, 2, {2, 1}},
      {{20001}, 1, {1}},
      {{700, 3}, 1, {1, 3}},
      {{9001, 2}, 1, {1, 2}},
      {{300, 70}, 1, {1, 70}},
      {{4, 50, 6}, 2, {4, 1, 6}},
      {{3, 4, 5, 6}, 5, {1, 4, 1, 6}},
      {{3, 4, 5, 6}, 10, {3, 1, 5, 1}},
      {{3, 1, 5}, 0, {3, 1, 5}},
      {{2, 3, 4, 40}, 7, {1, 1, 1, 40}},
      {{0, 4}, 1, {1, 4}},
      {{1, 1}, 3, {1, 1}},
  };
  for (const auto &c : cases) {
    Case("sum", OpCode::sum).attr(0, c.axes).in(c.x, normal(1)).out(c.y).check({false, 8, 64});
    Case("sum of integers", OpCode::sum).attr(0, c.axes).in(c.x, integers(-9, 9, 2)).out(c.y).check(kExact);
    Case("max", OpCode::max).attr(0, c.axes).in(c.x, normal(3)).out(c.y).check(kExact);
  }
  const Values holes = [](uint64_t i) { return i % 37 == 5 ? static_cast<double>(NAN) : uniform(4, i); };
  Case("max of NaN", OpCode::max).attr(0, 2).in({9, 70}, holes).out({9, 1}).check(kExact);
  for (const Shape &shape : {Shape{1, 1}, Shape{5, 33}, Shape{3, 700}, Shape{40, 10}}) {
    Case("argmax", OpCode::argmax).in(shape, integers(0, 5, 5)).out(DType::i32, {shape[0]}).check(kExact);
    Case("argmax of NaN", OpCode::argmax).in(shape, holes).out(DType::i32, {shape[0]}).check(kExact);
    Case("argmax of -inf", OpCode::argmax).in(shape, constant(-INFINITY)).out(DType::i32, {shape[0]}).check(kExact);
  }
}

}  // namespace gradline::cuda::test
