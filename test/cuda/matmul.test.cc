// Matrix products: every transposition, sizes around the tiles, split sums, epilogues.
#include "tests.h"

namespace gradline::cuda::test {

void testMatmul() {
  const struct {
    int64_t m, n, k;
  } sizes[] = {{1, 1, 1}, {17, 10, 33}, {32, 32, 16}, {65, 33, 130}, {10, 128, 300}, {5, 7, 0}};
  const auto product = [](int ta, int tb, int64_t m, int64_t n, int64_t k, bool integer) {
    const Values a = integer ? integers(-8, 8, 1) : normal(1), b = integer ? integers(-8, 8, 2) : normal(2);
    return Case("matmul " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + (ta ? " a^T" : "") +
                    (tb ? " b^T" : ""),
                OpCode::matmul)
        .attr(attr::matmul::transposeA, ta)
        .attr(attr::matmul::transposeB, tb)
        .in(ta ? Shape{k, m} : Shape{m, k}, a)
        .in(tb ? Shape{n, k} : Shape{k, n}, b)
        .out({m, n});
  };
  for (int ta = 0; ta < 2; ta++)
    for (int tb = 0; tb < 2; tb++) {
      for (const auto &s : sizes) {
        product(ta, tb, s.m, s.n, s.k, true).check(kExact);
        product(ta, tb, s.m, s.n, s.k, true).out({s.n}).check(kExact);
        product(ta, tb, s.m, s.n, s.k, false).check({false, 8, 8 * 18});
      }
    }
  // Enough of them for the larger tiles.
  product(0, 0, 2050, 1026, 3, true).check(kExact);
  product(1, 1, 1030, 1026, 18, true).check(kExact);
  for (const int64_t k : {20, 400}) {
    product(0, 0, 30, 40, k, false)
        .epilogue(OpCode::add, {40}, normal(3))
        .epilogue(OpCode::relu)
        .check({false, 8, 300});
    product(0, 0, 30, 40, k, true).epilogue(OpCode::add, {40}, integers(-9, 9, 3)).epilogue(OpCode::relu).check(kExact);
    product(0, 1, 30, 40, k, true).epilogue(OpCode::reluGrad, {30, 40}, normal(4)).check(kExact);
    product(0, 1, 30, 40, k, true).epilogue(OpCode::leakyRelu, 0.5).check(kExact);
    product(0, 0, 30, 40, k, true)
        .epilogue(OpCode::mul, {40}, integers(-9, 9, 3))
        .epilogue(OpCode::add, {40}, integers(-9, 9, 4))
        .check(kExact);
    product(0, 1, 30, 1, k, true).epilogue(OpCode::add, {1}, integers(-9, 9, 3)).check(kExact);
  }
}

}  // namespace gradline::cuda::test
