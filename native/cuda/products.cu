// The library for products of a device, seen from one program: plans by shape and epilogue, made when the program is
// compiled and kept until it ends. With tuning, a product that the library's file of measured plans does not know is
// measured here, on operands of its own, against what our own kernels make of them.
#include <algorithm>
#include <cmath>

#include "host.h"

namespace gradline::cuda {
namespace {

// By GL_BLAS_*: what rounding an operand does to it. Numbers of either sign keep this distance from the largest of
// their sums, however long those are.
constexpr float kUnits[] = {0, 0x1p-11f, 0x1p-8f};
constexpr size_t kSampleFloats = 65521;  // a prime, so that no two rows of a matrix hold the same numbers

bool isSame(const GlGemm &a, const GlGemm &b) {
  return a.transposeA == b.transposeA && a.transposeB == b.transposeB && a.numerics == b.numerics && a.m == b.m &&
         a.n == b.n && a.k == b.k && a.lda == b.lda && a.ldb == b.ldb && a.ldc == b.ldc;
}

std::string describe(const GlGemm &gemm) {
  return std::to_string(gemm.m) + "x" + std::to_string(gemm.n) + "x" + std::to_string(gemm.k);
}

// Memory on the card with numbers from -1 to 1: weak in power over rounding, strong in showing what is wrong.
class Sample {
 public:
  Sample(size_t floats, uint32_t seed, cudaStream_t stream) {
    check(cudaMalloc(memory_.out(), floats * sizeof(float)), "allocate memory to measure products");
    std::vector<float> numbers(std::min(floats, kSampleFloats));
    for (float &number : numbers) {
      seed = seed * 1664525u + 1013904223u;
      number = static_cast<float>(static_cast<int32_t>(seed)) * 0x1p-31f;
    }
    for (size_t at = 0; at < floats; at += numbers.size()) {
      const size_t bytes = std::min(numbers.size(), floats - at) * sizeof(float);
      check(cudaMemcpyAsync(static_cast<float *>(memory_.get()) + at, numbers.data(), bytes, cudaMemcpyHostToDevice,
                            stream),
            "write operands to measure products");
    }
  }
  void *address() const { return memory_.get(); }

 private:
  DeviceMemory memory_;
};

Tensor tensor(const Sample &sample, int64_t rows, int64_t columns) {
  Tensor t = {};
  t.data = sample.address();
  t.rank = 2;
  t.dims[0] = rows;
  t.dims[1] = columns;
  t.size = rows * columns;
  return t;
}

// The product by our own kernels, in fp32: what the library's results are compared with.
void runOwn(const PlannedProduct &product, const Sample &a, const Sample &b, const Sample &vector, const Sample &c,
            cudaStream_t stream) {
  const GlGemm &gemm = product.gemm;
  Op op = {};
  op.code = OpCode::matmul;
  op.attr[attr::matmul::transposeA] = gemm.transposeA;
  op.attr[attr::matmul::transposeB] = gemm.transposeB;
  op.inputs = 2;
  op.in[0] = tensor(a, gemm.transposeA ? gemm.k : gemm.m, gemm.lda);
  op.in[1] = tensor(b, gemm.transposeB ? gemm.n : gemm.k, gemm.ldb);
  op.outputs = product.epilogue == GL_EPILOGUE_BGRAD_B ? 2 : 1;
  op.out[0] = tensor(c, gemm.m, gemm.n);
  op.out[1] = tensor(vector, 1, gemm.n);
  if (product.epilogue == GL_EPILOGUE_BIAS) {
    op.epilogues = 1;
    op.epilogue[0].code = OpCode::add;
    op.epilogue[0].hasOperand = true;
    op.epilogue[0].operand = tensor(vector, 1, gemm.n);
  }
  Launches size, launches;
  plannerOf(op.code)(op, size);
  DeviceMemory workspace;
  if (size.workspaceBytes > 0)
    check(cudaMalloc(workspace.out(), size.workspaceBytes), "allocate memory to measure products");
  op.workspace = workspace.get();
  plannerOf(op.code)(op, launches);
  for (const Launch &launch : launches.list) launchKernel(launch, stream);
  check(cudaStreamSynchronize(stream), "wait for a product");
}

}  // namespace

PlannedProducts::~PlannedProducts() {
  for (const auto &known : known_)
    if (known->plan) (void)device_.blas->release(known->plan);
}

void PlannedProducts::use(void *workspace, size_t bytes) {
  const GlBlas &blas = *device_.blas;
  const int32_t code = blas.use(device_.blasHandle, device_.stream.get(), workspace, bytes);
  if (code != 0) throw std::runtime_error(std::string("could not prepare products: ") + blas.text(code));
}

const PlannedProduct *PlannedProducts::plan(const GlGemm &gemm, int32_t epilogue) {
  for (const auto &known : known_)
    if (known->epilogue == epilogue && isSame(known->gemm, gemm)) return known->plan ? known.get() : nullptr;
  known_.push_back(std::make_unique<PlannedProduct>(PlannedProduct{gemm, epilogue, nullptr, ""}));
  PlannedProduct &made = *known_.back();
  GlPlanOptions options = {};
  options.epilogue = epilogue;
  options.algorithm = device_.tune ? -1 : 0;  // a file of measured plans is for those who asked for it
  options.workspaceLimit = kBlasBytes;
  const GlBlas &blas = *device_.blas;
  if (!succeeded(blas.plan(device_.blasHandle, &gemm, &options, &made.plan), made, "plan")) return nullptr;
  GlPlanInfo info = {};
  if (!succeeded(blas.describe(made.plan, &info), made, "plan")) return nullptr;
  if (device_.tune && !info.measured) {
    if (!measure(made, options) || !succeeded(blas.describe(made.plan, &info), made, "plan")) return nullptr;
  }
  workspaceBytes_ = std::max(workspaceBytes_, info.workspaceBytes);
  made.text = std::string(blas.name) + " gemm";
  if (gemm.numerics != GL_BLAS_FP32) made.text += gemm.numerics == GL_BLAS_TF32 ? " in tf32" : " in bf16";
  if (epilogue == GL_EPILOGUE_BIAS) made.text += " with bias";
  if (epilogue == GL_EPILOGUE_BGRAD_B) made.text += " with column sums";
  if (info.measured) made.text += ", measured";
  return &made;
}

// False where the library has nothing for this product; anything else that is wrong is an error.
bool PlannedProducts::succeeded(int32_t code, const PlannedProduct &product, const char *what) const {
  if (code == 0) return true;
  if (code == GL_BLAS_NOT_SUPPORTED) return false;
  throw std::runtime_error(std::string("could not ") + what + " a product of " + cuda::describe(product.gemm) + " by " +
                           device_.blas->name + ": " + device_.blas->text(code) +
                           "; device('cuda', { blas: false }) computes without it");
}

bool PlannedProducts::measure(PlannedProduct &product, const GlPlanOptions &options) {
  const GlBlas &blas = *device_.blas;
  const GlGemm &gemm = product.gemm;
  const cudaStream_t stream = device_.stream.get();
  const auto floats = [](int64_t rows, int64_t columns) { return static_cast<size_t>(rows * columns); };
  const Sample a(floats(gemm.m, gemm.k), 1, stream), b(floats(gemm.k, gemm.n), 2, stream);
  const Sample c(floats(gemm.m, gemm.n), 3, stream), vector(floats(1, gemm.n), 4, stream);
  runOwn(product, a, b, vector, c, stream);

  (void)blas.release(product.plan);
  product.plan = nullptr;
  DeviceMemory workspace;
  check(cudaMalloc(workspace.out(), kBlasBytes), "allocate memory to measure products");
  use(workspace.get(), kBlasBytes);
  const GlOperands operands = {a.address(), b.address(), c.address(), vector.address(), nullptr};
  GlTune how = {};
  how.expectedC = c.address();
  if (product.epilogue == GL_EPILOGUE_BGRAD_B) how.expectedVector = vector.address();
  how.tolerance = 8 * (kUnits[gemm.numerics] + 0x1p-24f * std::sqrt(static_cast<float>(gemm.k)));
  return succeeded(blas.tune(device_.blasHandle, &gemm, &options, &operands, &how, &product.plan), product, "measure");
}

}  // namespace gradline::cuda
