// Long sums on data that is made to hurt, and adjoint identities: products, convolutions and pools, whose derivatives
// are sums of the same terms in another order. <A x, y> = <x, A^T y> needs no oracle, so it would find one that is
// wrong.
#include <cmath>
#include <cstdio>

#include "tests.h"

namespace gradline::cuda::test {
namespace {

constexpr double kUnit = 0x1p-24;
constexpr uint32_t kLibrary = 1u << GL_EPILOGUE_NONE | 1u << GL_EPILOGUE_BIAS | 1u << GL_EPILOGUE_BGRAD_B;

Tolerance ofSum(int64_t length) { return {false, 8, 8 * std::sqrt(static_cast<double>(length))}; }

Values magnitude(const Values &of) {
  return [=](uint64_t i) { return std::fabs(of(i)); };
}

// Neighbours along `length`, which is walked with `stride`, cancel but for a millionth.
Values cancelling(int64_t length, int64_t stride, uint64_t seed) {
  return [=](uint64_t i) {
    const uint64_t place = i / static_cast<uint64_t>(stride) % static_cast<uint64_t>(length);
    const uint64_t pair = i - place % 2 * static_cast<uint64_t>(stride);
    return (place % 2 ? -1 : 1) * normal(seed)(pair) * 1000 + normal(seed + 1)(i) * 1e-3;
  };
}
Values pairwise(int64_t length, int64_t stride, uint64_t seed) {  // equal where the others cancel
  return [=](uint64_t i) {
    const uint64_t place = i / static_cast<uint64_t>(stride) % static_cast<uint64_t>(length);
    return normal(seed)(i - place % 2 * static_cast<uint64_t>(stride));
  };
}

struct Product {
  int ta, tb;
  int64_t m, n, k;

  Case of(const char *what, const Values &a, const Values &b, uint32_t library) const {
    Case c(std::string("matmul of ") + what + ", k = " + std::to_string(k), OpCode::matmul);
    c.attr(attr::matmul::transposeA, ta).attr(attr::matmul::transposeB, tb);
    c.in(ta ? Shape{k, m} : Shape{m, k}, a).in(tb ? Shape{n, k} : Shape{k, n}, b).out({m, n});
    return c.library(library);
  }
};

void products() {
  for (const uint32_t library : {0u, kLibrary})
    for (const int ta : {0, 1})
      for (const int tb : {0, 1})
        for (const int64_t k : {2, 63, 64, 1000}) {
          const Product p = {ta, tb, 33, 5, k};
          const int64_t strideA = ta ? p.m : 1, strideB = tb ? 1 : p.n;
          p.of("cancelling terms", cancelling(k, strideA, 1), pairwise(k, strideB, 2), library).check(ofSum(k));
          p.of("terms of all sizes", wild(1), wild(3), library).check(ofSum(k));
          p.of("terms of one sign", between(1, 2, 1), between(1, 2, 2), library).check(ofSum(k));
          p.of(
               "powers of two", [](uint64_t i) { return std::ldexp(1.0, static_cast<int>(i % 9)); },
               integers(-16, 16, 2), library)
              .check(kExact);
          p.of("terms with sums", wild(1), wild(3), library).out({p.n}).check(ofSum(k));
        }
}

double dot(const std::vector<double> &a, const Values &b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += a[i] * static_cast<double>(static_cast<float>(b(i)));
  return sum;
}

// Both sides of an identity. With integers they are equal; else each lies within the error of its sums, of `lengths`
// terms together, times the same of magnitudes.
void expectAdjoint(const std::string &name, double left, double right, bool exact, double lengths, double magnitudes) {
  const double bound = exact ? 0 : 8 * kUnit * lengths * magnitudes;
  if (std::fabs(left - right) <= bound) return;
  char text[160];
  std::snprintf(text, sizeof text, "<A x, y> = %.17g, <x, A^T y> = %.17g, allowed are %.3g", left, right, bound);
  failed(name, text);
}

struct Data {
  const char *name;
  Values x, w, dy;
  bool exact;
};
std::vector<Data> dataSets() {
  return {{"integers", integers(-4, 4, 1), integers(-4, 4, 2), integers(-4, 4, 3), true},
          {"normal numbers", normal(1), normal(2), normal(3), false},
          {"numbers of all sizes", wild(1), wild(4), wild(7), false}};
}

// y = x w: <y, dy> = <x, dy w^T> = <w, x^T dy>
void adjointProducts() {
  for (const uint32_t library : {0u, kLibrary})
    for (const Data &d : dataSets()) {
      const int64_t m = 21, n = 10, k = 150;
      const std::string name = std::string("adjoint matmul of ") + d.name;
      const auto made = [&](Product p, const Values &a, const Values &b) {
        Case c = p.of("an adjoint identity", a, b, library);
        c.check(d.exact ? kExact : ofSum(p.k));
        return c.result();
      };
      const double y = dot(made({0, 0, m, n, k}, d.x, d.w), d.dy);
      const double all = dot(made({0, 0, m, n, k}, magnitude(d.x), magnitude(d.w)), magnitude(d.dy));
      const double lengths = std::sqrt(k) + std::sqrt(n) + std::sqrt(m);
      expectAdjoint(name, y, dot(made({0, 1, m, k, n}, d.dy, d.w), d.x), d.exact, lengths, all);
      expectAdjoint(name, y, dot(made({1, 0, k, n, m}, d.x, d.dy), d.w), d.exact, lengths, all);
    }
}

// The same of convolutions: <conv(x, w), dy> = <x, inputGrad(dy, w)> = <w, filterGrad(x, dy)>
void adjointConvolutions() {
  const struct {
    int64_t n, h, w, ci, co, kh, kw, stride, pad, dilation, groups;
  } list[] = {{2, 6, 5, 3, 4, 3, 3, 1, 1, 1, 1}, {1, 9, 8, 4, 6, 3, 2, 2, 1, 1, 2}, {1, 9, 9, 2, 3, 3, 3, 1, 2, 2, 1},
              {2, 4, 4, 8, 5, 1, 1, 1, 0, 1, 1}, {1, 7, 7, 4, 4, 3, 3, 3, 0, 1, 4}, {3, 8, 8, 1, 2, 5, 5, 1, 2, 1, 1}};
  for (const auto &s : list)
    for (const Data &d : dataSets()) {
      const auto length = [&](int64_t in, int64_t k) {
        return (in + 2 * s.pad - s.dilation * (k - 1) - 1) / s.stride + 1;
      };
      const Shape x = {s.n, s.h, s.w, s.ci}, w = {s.kh, s.kw, s.ci / s.groups, s.co};
      const Shape y = {s.n, length(s.h, s.kh), length(s.w, s.kw), s.co};
      const int64_t taps = s.kh * s.kw, pixels = y[0] * y[1] * y[2];
      const std::string name = std::string("adjoint conv2d of ") + d.name + ", stride " + std::to_string(s.stride) +
                               ", dilation " + std::to_string(s.dilation) + ", groups " + std::to_string(s.groups);
      const auto made = [&](OpCode code, const Shape &a, const Values &first, const Shape &b, const Values &second,
                            const Shape &out, int64_t terms) {
        namespace at = attr::conv2d;
        Case c(name, code);
        c.attr(at::strideH, s.stride).attr(at::strideW, s.stride).attr(at::padTop, s.pad).attr(at::padLeft, s.pad);
        c.attr(at::dilationH, s.dilation).attr(at::dilationW, s.dilation).attr(at::groups, s.groups);
        c.in(a, first).in(b, second).out(out).check(d.exact ? kExact : ofSum(terms));
        return c.result();
      };
      const int64_t in = taps * s.ci / s.groups, out = taps * s.co / s.groups;
      const double left = dot(made(OpCode::conv2d, x, d.x, w, d.w, y, in), d.dy);
      const double all = dot(made(OpCode::conv2d, x, magnitude(d.x), w, magnitude(d.w), y, in), magnitude(d.dy));
      const double lengths = std::sqrt(in) + std::sqrt(out) + std::sqrt(pixels);
      expectAdjoint(name, left, dot(made(OpCode::conv2dInputGrad, y, d.dy, w, d.w, x, out), d.x), d.exact, lengths,
                    all);
      expectAdjoint(name, left, dot(made(OpCode::conv2dFilterGrad, x, d.x, y, d.dy, w, pixels), d.w), d.exact, lengths,
                    all);
    }
}

// Pools. A maximum is linear as long as no other element takes its place: x holds different multiples of 4, what is
// added to it is at most 1.
void adjointPools() {
  const struct {
    int64_t n, h, w, c, kernel, stride, pad;
  } list[] = {{2, 6, 6, 3, 2, 2, 0}, {1, 7, 5, 2, 3, 1, 1}, {2, 9, 9, 1, 3, 2, 1}, {1, 8, 8, 5, 2, 3, 0}};
  for (const auto &s : list) {
    const Shape x = {s.n, s.h, s.w, s.c};
    const Shape y = {s.n, (s.h + 2 * s.pad - s.kernel) / s.stride + 1, (s.w + 2 * s.pad - s.kernel) / s.stride + 1,
                     s.c};
    const auto with = [&](const char *name, OpCode code) {
      Case c(name, code);
      c.attr(0, s.kernel).attr(1, s.kernel).attr(2, s.stride).attr(3, s.stride).attr(4, s.pad).attr(5, s.pad);
      return c;
    };
    for (const int counted : {0, 1})
      for (const Data &d : dataSets()) {
        const auto pool = [&](const Values &values) {
          Case c = with("adjoint avgPool2d", OpCode::avgPool2d);
          c.attr(6, counted).in(x, values).out(y).check(kExact);
          return c.result();
        };
        Case back = with("adjoint avgPool2d", OpCode::avgPool2dGrad);
        back.attr(6, counted).in(y, d.dy).out(x).check(kExact);
        expectAdjoint("adjoint avgPool2d", dot(pool(d.x), d.dy), dot(back.result(), d.x), d.exact && s.kernel == 2,
                      2 * static_cast<double>(s.kernel), dot(pool(magnitude(d.x)), magnitude(d.dy)));
      }
    const uint64_t size = static_cast<uint64_t>(s.n * s.h * s.w * s.c);
    const Values places = [=](uint64_t i) {
      return static_cast<double>(4 * (i * 97 % size));
    };  // 97: prime to all sizes
    const Values move = integers(-1, 1, 5), dy = integers(-4, 4, 3);
    const auto pool = [&](const Values &values) {
      Case c = with("adjoint maxPool2d", OpCode::maxPool2d);
      c.in(x, values).out(y).check(kExact);
      return c.result();
    };
    const std::vector<double> before = pool(places);
    std::vector<double> change = pool([&](uint64_t i) { return places(i) + move(i); });
    for (size_t i = 0; i < change.size(); i++) change[i] -= before[i];
    Case back = with("adjoint maxPool2d", OpCode::maxPool2dGrad);
    back.in(y, dy).in(x, places).in(y, [&](uint64_t i) { return before[i]; }).out(x).check(kExact);
    expectAdjoint("adjoint maxPool2d", dot(change, dy), dot(back.result(), move), true, 0, 0);
  }
}

}  // namespace

void testSums() {
  products();
  adjointProducts();
  adjointConvolutions();
  adjointPools();
}

}  // namespace gradline::cuda::test
