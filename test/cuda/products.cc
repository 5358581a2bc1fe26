// See products.h.
#include "products.h"

#include "../../native/cuda/emulator/memory.h"
#include "harness.h"

namespace gradline::cuda::test {

const PlannedProduct *OfferedProducts::plan(const GlGemm &gemm, int32_t epilogue) {
  if (gemm.batch != 1 || gemm.alpha != 1 || gemm.beta != 0)
    failed("a planner", "asks for another product than that of its op");
  if ((epilogues_ >> epilogue & 1) == 0) return nullptr;
  plans_.push_back(std::make_unique<PlannedProduct>(PlannedProduct{gemm, epilogue, nullptr, "a product"}));
  return plans_.back().get();
}

void OfferedProducts::run(const ProductCall &call) {
  const GlGemm &g = call.product->gemm;
  const GlOperands &o = call.operands;
  const int32_t epilogue = call.product->epilogue;
  const auto *a = static_cast<const float *>(o.a), *b = static_cast<const float *>(o.b);
  auto *c = static_cast<float *>(o.c), *vector = static_cast<float *>(o.vector);
  const auto bytes = [](int64_t count) { return static_cast<size_t>(count) * sizeof(float); };
  if (!emulator::isDefined(a, bytes(g.m * g.k)) || !emulator::isDefined(b, bytes(g.k * g.n)))
    failed("a product", "reads what nobody wrote");
  for (int64_t i = 0; i < g.m; i++) {
    for (int64_t j = 0; j < g.n; j++) {
      double sum = epilogue == GL_EPILOGUE_BIAS ? static_cast<double>(vector[j]) : 0;
      for (int64_t p = 0; p < g.k; p++) {
        const float left = g.transposeA ? a[p * g.lda + i] : a[i * g.lda + p];
        const float right = g.transposeB ? b[j * g.ldb + p] : b[p * g.ldb + j];
        sum += static_cast<double>(left) * static_cast<double>(right);
      }
      c[i * g.ldc + j] = static_cast<float>(sum);
    }
  }
  emulator::define(c, bytes(g.m * g.n));
  for (int64_t j = 0; j < g.n && epilogue == GL_EPILOGUE_BGRAD_B; j++) {
    double sum = 0;
    for (int64_t p = 0; p < g.k; p++) sum += static_cast<double>(g.transposeB ? b[j * g.ldb + p] : b[p * g.ldb + j]);
    vector[j] = static_cast<float>(sum);
  }
  if (epilogue == GL_EPILOGUE_BGRAD_B) emulator::define(vector, bytes(g.n));
  made++;
}

}  // namespace gradline::cuda::test
