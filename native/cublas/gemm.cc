// The classic interface: checks of a product and its call, once for row-major to storage by column. It chooses no
// algorithm; plans do (plan.cc).
#include "cublas/gemm.h"

namespace gradline::cublas {

size_t sizeOfType(int type) { return type == kReal64F ? 8 : type == kReal32F ? 4 : 2; }

int Product::compute() const {
  if (typeC == kReal64F) return kCompute64F;
  if (g.numerics == GL_BLAS_TF32) return kCompute32FFastTF32;
  return g.numerics == GL_BLAS_BF16 ? kCompute32FFast16BF : kCompute32F;
}

void Product::scalars(Scalars &out) const {
  out = {{alpha, beta}, {static_cast<float>(alpha), static_cast<float>(beta)}, nullptr, nullptr};
  const bool wide = scaleType() == kReal64F;
  out.alpha = wide ? static_cast<const void *>(&out.f64[0]) : &out.f32[0];
  out.beta = wide ? static_cast<const void *>(&out.f64[1]) : &out.f32[1];
}

Queue *openQueue() {
  auto queue = new Queue;
  const Status status = loaded().api.create(&queue->handle);
  if (status != kSuccess) {
    delete queue;
    check(status, "cublasCreate");
  }
  return queue;
}

void closeQueue(Queue *queue) {
  const Status status = loaded().api.destroy(queue->handle);
  delete queue;
  check(status, "cublasDestroy");
}

void useStream(Queue &queue, Stream stream, void *workspace, size_t bytes) {
  // The stream first: changing it resets the workspace to the library's own.
  check(loaded().api.setStream(queue.handle, stream), "cublasSetStream");
  check(loaded().api.setWorkspace(queue.handle, workspace, bytes), "cublasSetWorkspace");
  queue.stream = stream;
  queue.workspace = workspace;
  queue.workspaceBytes = bytes;
}

int64_t spanOf(int64_t rows, int64_t columns, int64_t ld, int64_t stride, int64_t batch) {
  if (rows == 0 || columns == 0 || batch == 0) return 0;
  return (batch - 1) * stride + (rows - 1) * ld + columns;
}

void checkProduct(const Product &p) {
  const GlGemm &g = p.g;
  const auto fail = [](const std::string &text) { throw Failure(kInvalidValue, text); };
  const auto size = [&](const char *name, int64_t value, int64_t least) {
    if (value < least || value > INT32_MAX) {
      fail("expected " + std::string(name) + " to be an integer from " + std::to_string(least) +
           " to 2147483647 but received " + std::to_string(value));
    }
  };
  size("m", g.m, 1), size("n", g.n, 1), size("k", g.k, 1), size("batch", g.batch, 1);
  const auto matrix = [&](const char *name, int64_t rows, int64_t columns, int64_t ld, int64_t stride, bool output) {
    size((std::string("ld") + name).c_str(), ld, columns);
    if (g.batch == 1) return;
    // An operand may be shared by the batch (stride 0) or overlap itself; an output may not.
    const int64_t least = output ? (rows - 1) * ld + columns : 0;
    if (stride < least || stride > (int64_t{1} << 40)) {
      fail("expected stride" + std::string(name) + " to be from " + std::to_string(least) + " to 2^40 but received " +
           std::to_string(stride));
    }
    if (stride > 0 && g.batch > (int64_t{1} << 48) / stride) {
      fail("a batch of " + std::to_string(g.batch) + " with stride" + name + " " + std::to_string(stride) +
           " is larger than any memory");
    }
  };
  matrix("A", g.transposeA ? g.k : g.m, g.transposeA ? g.m : g.k, g.lda, g.strideA, false);
  matrix("B", g.transposeB ? g.n : g.k, g.transposeB ? g.k : g.n, g.ldb, g.strideB, false);
  matrix("C", g.m, g.n, g.ldc, g.strideC, true);
  if (g.numerics < 0 || g.numerics >= kNumerics) {
    fail("expected numerics to be fp32, tf32 or bf16 but received " + std::to_string(g.numerics));
  }
  if (g.numerics != GL_BLAS_FP32 && p.typeAB != kReal32F) {
    fail(std::string(kNumericsNames[g.numerics]) + " is for float32 operands");
  }
  const bool wide = p.typeAB == kReal64F || p.typeC == kReal64F;
  if (wide ? p.typeAB != p.typeC : p.typeC != kReal32F && p.typeC != p.typeAB) {
    fail("the type of c must be that of a and b, or float32 for products of 16-bit types");
  }
}

// cuBLAS stores matrices by column. A row-major matrix read that way is its transpose, so the row-major c = a b is
// computed as c^T = b^T a^T: operands and sizes change places, the transpose flags stay.
void gemm(Queue &queue, const Product &p) {
  checkProduct(p);
  const GlGemm &g = p.g;
  const Api &api = loaded().api;
  const int opA = g.transposeA ? kOpT : kOpN, opB = g.transposeB ? kOpT : kOpN;
  const int m = static_cast<int>(g.m), n = static_cast<int>(g.n), k = static_cast<int>(g.k);
  const int lda = static_cast<int>(g.lda), ldb = static_cast<int>(g.ldb), ldc = static_cast<int>(g.ldc);
  Product::Scalars s;
  p.scalars(s);
  if (g.batch == 1) {
    check(api.gemmEx(queue.handle, opB, opA, n, m, k, s.alpha, g.b, p.typeAB, ldb, g.a, p.typeAB, lda, s.beta, g.c,
                     p.typeC, ldc, p.compute(), kGemmDefault),
          "cublasGemmEx");
  } else {
    check(api.gemmStridedBatchedEx(queue.handle, opB, opA, n, m, k, s.alpha, g.b, p.typeAB, ldb, g.strideB, g.a,
                                   p.typeAB, lda, g.strideA, s.beta, g.c, p.typeC, ldc, g.strideC,
                                   static_cast<int>(g.batch), p.compute(), kGemmDefault),
          "cublasGemmStridedBatchedEx");
  }
}

void sgemm(Queue &queue, const GlGemm &g) {
  checkProduct({g});
  const auto of = [](int64_t value) { return static_cast<int>(value); };
  const auto floats = [](const void *at) { return static_cast<const float *>(at); };
  check(loaded().api.sgemm(queue.handle, g.transposeB ? kOpT : kOpN, g.transposeA ? kOpT : kOpN, of(g.n), of(g.m),
                           of(g.k), &g.alpha, floats(g.b), of(g.ldb), floats(g.a), of(g.lda), &g.beta,
                           static_cast<float *>(g.c), of(g.ldc)),
        "cublasSgemm");
}

}  // namespace gradline::cublas
