// Matrix products: every transposition, sizes around the tiles, split sums, epilogues.
#include "products.h"
#include "tests.h"

namespace gradline::cuda::test {

namespace {

// What a library makes of a product, and what is left for our own kernels: every epilogue with a plan for it and
// without.
void products() {
  constexpr uint32_t kPlain = 1u << GL_EPILOGUE_NONE, kBias = kPlain | 1u << GL_EPILOGUE_BIAS,
                     kSums = kPlain | 1u << GL_EPILOGUE_BGRAD_B;
  const auto product = [](int ta, int tb, uint32_t offered) {
    const int64_t m = 6, n = 10, k = 7;
    return Case("matmul by a library that offers " + std::to_string(offered), OpCode::matmul)
        .attr(attr::matmul::transposeA, ta)
        .attr(attr::matmul::transposeB, tb)
        .in(ta ? Shape{k, m} : Shape{m, k}, integers(-8, 8, 1))
        .in(tb ? Shape{n, k} : Shape{k, n}, integers(-8, 8, 2))
        .out({m, n})
        .library(offered);
  };
  const Values row = integers(-9, 9, 3), all = integers(-9, 9, 4);
  for (const uint32_t offered : {kPlain, kBias, kSums, kBias | kSums})
    for (int ta = 0; ta < 2; ta++)
      for (int tb = 0; tb < 2; tb++) {
        const auto make = [&] { return product(ta, tb, offered); };
        make().check(kExact);
        make().out({10}).check(kExact);
        make().epilogue(OpCode::add, {10}, row).check(kExact);
        make().epilogue(OpCode::add, {10}, row).epilogue(OpCode::relu).check(kExact);
        make().epilogue(OpCode::add, {6, 10}, all).epilogue(OpCode::leakyRelu, 0.5).check(kExact);
        make().epilogue(OpCode::reluGrad, {6, 10}, all).check(kExact);
        make().epilogue(OpCode::mul, {10}, row).epilogue(OpCode::add, {10}, row).check(kExact);
        make().epilogueBelow(OpCode::reluGrad, all).check(kExact);
        make().epilogue(OpCode::add, {10}, row).epilogueBelow(OpCode::leakyReluGrad, all, 0.25).check(kExact);
        make().epilogueBelow(OpCode::mul, all).epilogue(OpCode::relu).epilogue(OpCode::add, {10}, row).check(kExact);
      }
}

// Who makes a product where a library takes large ones only: ours are those that can share a launch.
void smallProducts() {
  struct LargeProducts : OfferedProducts {
    LargeProducts() : OfferedProducts(1u << GL_EPILOGUE_NONE) {}
    bool takesAll() const override { return false; }
  };
  const struct {
    int64_t m, n, k;
    Work work;
  } list[] = {
      {6, 10, 7, Work::kernel},
      {256, 256, 256, Work::kernel},  // 2^24 multiply-adds
      {256, 256, 257, Work::gemm},
      {2048, 1024, 8, Work::gemm},  // as many, but in tiles of 128 x 64, which are no stage
  };
  for (const auto &item : list) {
    Op op = {};
    op.code = OpCode::matmul;
    op.inputs = 2;
    op.outputs = 1;
    op.in[0] = matrix(item.m, item.k);
    op.in[1] = matrix(item.k, item.n);
    op.out[0] = matrix(item.m, item.n);
    LargeProducts library;
    Launches launches;
    launches.products = &library;
    if (!plannerOf(op.code)(op, launches) || launches.list[0].work != item.work)
      failed("a product " + std::to_string(item.m) + "x" + std::to_string(item.n) + "x" + std::to_string(item.k),
             item.work == Work::gemm ? "is not the library's" : "is not our own kernels'");
  }
}

}  // namespace

void testMatmul() {
  products();
  smallProducts();
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
