// Convolution and its derivatives, and pooling: strides, padding, dilation, groups, pixels that no window holds.
#include <cmath>

#include "tests.h"

namespace gradline::cuda::test {
namespace {

void convolutions() {
  const struct {
    int64_t n, h, w, ci, co, kh, kw, stride, pad, dilation, groups;
  } list[] = {
      {2, 5, 6, 3, 4, 3, 3, 1, 1, 1, 1},   {1, 7, 7, 1, 5, 5, 5, 1, 0, 1, 1},  {2, 9, 8, 4, 6, 3, 2, 2, 1, 1, 2},
      {1, 9, 9, 2, 2, 3, 3, 1, 2, 2, 1},   {3, 4, 4, 8, 40, 1, 1, 1, 0, 1, 1}, {1, 6, 6, 4, 4, 3, 3, 3, 0, 1, 4},
      {4, 12, 12, 3, 8, 3, 3, 1, 1, 1, 1}, {2, 6, 7, 8, 12, 3, 3, 2, 1, 1, 1}, {1, 9, 7, 16, 24, 3, 2, 1, 2, 2, 2},
  };
  for (const Numerics numerics : {Numerics::fp32, Numerics::tf32, Numerics::bf16})
    for (const auto &s : list) {
      const auto length = [&](int64_t in, int64_t k) {
        return (in + 2 * s.pad - s.dilation * (k - 1) - 1) / s.stride + 1;
      };
      const Shape x = {s.n, s.h, s.w, s.ci}, w = {s.kh, s.kw, s.ci / s.groups, s.co};
      const Shape y = {s.n, length(s.h, s.kh), length(s.w, s.kw), s.co};
      for (const bool whole : {true, false}) {
        const Values a = whole ? integers(-4, 4, 1) : normal(1), b = whole ? integers(-4, 4, 2) : normal(2);
        const Tolerance tolerance = whole ? kExact : ofProducts(numerics, 24 * 24);
        const auto with = [&](const char *name, OpCode code) {
          namespace at = attr::conv2d;
          Case c(name, code);
          c.attr(at::strideH, s.stride).attr(at::strideW, s.stride).attr(at::padTop, s.pad).attr(at::padLeft, s.pad);
          c.attr(at::dilationH, s.dilation).attr(at::dilationW, s.dilation).attr(at::groups, s.groups);
          return c.numerics(numerics);
        };
        with("conv2d", OpCode::conv2d).in(x, a).in(w, b).out(y).check(tolerance);
        with("conv2d with epilogues", OpCode::conv2d)
            .in(x, a)
            .in(w, b)
            .out(y)
            .epilogue(OpCode::add, {s.co}, integers(-9, 9, 3))
            .epilogue(OpCode::relu)
            .check(tolerance);
        with("conv2dInputGrad", OpCode::conv2dInputGrad).in(y, a).in(w, b).out(x).check(tolerance);
        with("conv2dInputGrad with an epilogue", OpCode::conv2dInputGrad)
            .in(y, a)
            .in(w, b)
            .out(x)
            .epilogue(OpCode::reluGrad, x, normal(4))
            .check(tolerance);
        with("conv2dFilterGrad", OpCode::conv2dFilterGrad).in(x, a).in(y, b).out(w).check(tolerance);
        with("conv2dFilterGrad with sums", OpCode::conv2dFilterGrad)
            .in(x, a)
            .in(y, b)
            .out(w)
            .out({s.co})
            .check(tolerance);
      }
    }
}

// Filters of one pixel are matrix products; what has strides, padding or groups is not.
void pointwise() {
  const Shape x = {2, 3, 5, 6}, w = {1, 1, 6, 4}, y = {2, 3, 5, 4};
  const Values a = integers(-4, 4, 1), b = integers(-4, 4, 2);
  for (const uint32_t offered : {1u << GL_EPILOGUE_NONE, 1u | 1u << GL_EPILOGUE_BIAS | 1u << GL_EPILOGUE_BGRAD_B}) {
    const auto with = [&](const char *name, OpCode code) {
      namespace at = attr::conv2d;
      Case c(name, code);
      for (const int one : {at::strideH, at::strideW, at::dilationH, at::dilationW, at::groups}) c.attr(one, 1);
      return c.library(offered);
    };
    with("conv2d of one pixel", OpCode::conv2d)
        .in(x, a)
        .in(w, b)
        .out(y)
        .epilogue(OpCode::add, {4}, integers(-9, 9, 3))
        .epilogue(OpCode::relu)
        .check(kExact);
    with("conv2dInputGrad of one pixel", OpCode::conv2dInputGrad)
        .in(y, a)
        .in(w, b)
        .out(x)
        .epilogueBelow(OpCode::reluGrad, integers(-2, 2, 4))
        .check(kExact);
    with("conv2dFilterGrad of one pixel", OpCode::conv2dFilterGrad).in(x, a).in(y, b).out(w).out({4}).check(kExact);
  }
}

void pools() {
  const struct {
    int64_t n, h, w, c, kernel, stride, pad;
  } list[] = {{2, 6, 6, 3, 2, 2, 0},
              {1, 7, 5, 2, 3, 1, 1},
              {2, 9, 9, 1, 3, 2, 1},
              {1, 8, 8, 33, 2, 3, 0},
              {1, 5, 5, 2, 5, 5, 0}};
  const Values holes = [](uint64_t i) {
    return i % 11 == 3 ? static_cast<double>(NAN) : std::floor(uniform(5, i) * 4);
  };
  for (const auto &s : list) {
    const Shape x = {s.n, s.h, s.w, s.c};
    const Shape y = {s.n, (s.h + 2 * s.pad - s.kernel) / s.stride + 1, (s.w + 2 * s.pad - s.kernel) / s.stride + 1,
                     s.c};
    const auto with = [&](const char *name, OpCode code) {
      Case c(name, code);
      c.attr(0, s.kernel).attr(1, s.kernel).attr(2, s.stride).attr(3, s.stride).attr(4, s.pad).attr(5, s.pad);
      return c;
    };
    for (const Values &values : {integers(-2, 2, 1), holes}) {
      with("maxPool2d", OpCode::maxPool2d).in(x, values).out(y).check(kExact);
      // y need not be the maxima: wherever x equals it counts, and integers make that happen often.
      with("maxPool2dGrad", OpCode::maxPool2dGrad)
          .in(y, integers(-9, 9, 2))
          .in(x, values)
          .in(y, values)
          .out(x)
          .check(kExact);
      with("maxPool2dGrad with epilogues", OpCode::maxPool2dGrad)
          .in(y, integers(-9, 9, 2))
          .in(x, values)
          .in(y, values)
          .out(x)
          .epilogue(OpCode::add, x, integers(-9, 9, 6))
          .epilogue(OpCode::reluGrad, x, integers(-2, 2, 1))
          .check(kExact);
    }
    for (int counted = 0; counted < 2; counted++) {
      with("avgPool2d", OpCode::avgPool2d).attr(6, counted).in(x, normal(3)).out(y).check(kExact);
      with("avgPool2dGrad", OpCode::avgPool2dGrad).attr(6, counted).in(y, normal(4)).out(x).check(kExact);
      with("avgPool2dGrad with an epilogue", OpCode::avgPool2dGrad)
          .attr(6, counted)
          .in(y, normal(4))
          .out(x)
          .epilogue(OpCode::reluGrad, x, normal(3))
          .check(kExact);
    }
  }
}

}  // namespace

void testConv() {
  convolutions();
  pointwise();
}
void testPool() { pools(); }

}  // namespace gradline::cuda::test
