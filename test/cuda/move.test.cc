// Moves: places, dtypes, conversions at the edges of their ranges, indices out of range.
#include <cmath>

#include "tests.h"

namespace gradline::cuda::test {

void testMove() {
  const DType types[] = {DType::f32, DType::i32, DType::u8};
  const Values odd = [](uint64_t i) {
    const double values[] = {0, 1.9, -1.9, 254.9, 255.5, 300, -1, 2147483520, 3e9, -3e9, NAN, INFINITY, -INFINITY, 0.5};
    return values[i % 14];
  };
  for (const DType from : types)
    for (const DType to : types)
      Case("copy", OpCode::copy)
          .in(from, {1030}, from == DType::f32 ? odd : integers(from == DType::u8 ? 0 : -300, 255, 1))
          .out(to, {1030})
          .check(kExact);
  for (const DType type : types) {
    const Values any = integers(0, 200, 2);
    Case("fill", OpCode::fill).attr(0, 7).out(type, {3, 500}).check(kExact);
    Case("broadcast", OpCode::broadcast).in(type, {4, 1, 3}, any).out(type, {2, 4, 5, 3}).check(kExact);
    Case("broadcast of one", OpCode::broadcast).in(type, {1}, any).out(type, {2000}).check(kExact);
    Case("transpose", OpCode::transpose)
        .attr(0, 1)
        .attr(1, 0)
        .in(type, {33, 70}, any)
        .out(type, {70, 33})
        .check(kExact);
    Case("transpose of the last axes", OpCode::transpose)
        .attr(0, 0)
        .attr(1, 2)
        .attr(2, 1)
        .in(type, {3, 33, 40}, any)
        .out(type, {3, 40, 33})
        .check(kExact);
    Case("transpose of four axes", OpCode::transpose)
        .attr(0, 2)
        .attr(1, 0)
        .attr(2, 3)
        .attr(3, 1)
        .in(type, {3, 4, 5, 6}, any)
        .out(type, {5, 3, 6, 4})
        .check(kExact);
    Case("concat", OpCode::concat)
        .attr(0, 1)
        .in(type, {4, 3, 5}, any)
        .in(type, {4, 1, 5}, any)
        .in(type, {4, 7, 5}, any)
        .out(type, {4, 11, 5})
        .check(kExact);
    Case("slice", OpCode::slice)
        .attr(0, 1)
        .attr(1, 2)
        .attr(2, 0)
        .in(type, {4, 9, 5}, any)
        .out(type, {2, 1, 4})
        .check(kExact);
    Case("pad", OpCode::pad).attr(0, 1).attr(1, 2).in(type, {4, 5}, any).out(type, {7, 9}).check(kExact);
    Case("gather", OpCode::gather)
        .attr(0, 0.5)
        .attr(1, -1)
        .in(type, {20, 3, 5}, any)
        .in(DType::i32, {33}, integers(0, 19, 3))
        .out(type == DType::i32 ? DType::i32 : DType::f32, {33, 3, 5})
        .check(kExact);
  }
  Case("fill -inf", OpCode::fill).attr(0, -INFINITY).out({40}).check(kExact);
  for (const Shape &inner : {Shape{}, Shape{7}, Shape{3, 100}}) {
    Shape dy = {600}, table = {9};
    dy.insert(dy.end(), inner.begin(), inner.end());
    table.insert(table.end(), inner.begin(), inner.end());
    Case("gatherGrad", OpCode::gatherGrad)
        .attr(0, 0.5)
        .in(dy, normal(1))
        .in(DType::i32, {600}, integers(0, 7, 4))
        .out(table)
        .check(kExact);
  }
  const Values bad = [](uint64_t i) { return i == 45 || i == 300 ? -3.0 : i == 500 ? 20.0 : 3.0; };
  Case("an index out of range", OpCode::gather)
      .attr(0, 1)
      .in({20, 5}, normal(1))
      .in(DType::i32, {600}, bad)
      .out({600, 5})
      .check();
  Case("an index out of range, gradient", OpCode::gatherGrad)
      .attr(0, 1)
      .in({600, 5}, normal(1))
      .in(DType::i32, {600}, bad)
      .out({20, 5})
      .check();
}

}  // namespace gradline::cuda::test
