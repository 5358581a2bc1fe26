// Products on a handle: the check of a product, the call of the classic interface, and plans, which hold a cuBLASLt
// product with its algorithm. Row-major throughout; the turn to cuBLAS's storage by column is made in gemm.cc and
// plan.cc.
#pragma once
#include <string>
#include <vector>

#include "cublas/library.h"
#include "cuda/blas.h"

namespace gradline::cublas {

// A GlGemm with element types, which the table leaves at fp32, and factors that float64 products need whole.
struct Product {
  Product(const GlGemm &gemm = {}) : g(gemm), alpha(gemm.alpha), beta(gemm.beta) {}
  GlGemm g;
  double alpha, beta;
  int typeAB = kReal32F, typeC = kReal32F;
  int compute() const;
  int scaleType() const { return typeC == kReal64F ? kReal64F : kReal32F; }
  // alpha and beta in the scale type
  struct Scalars {
    double f64[2];
    float f32[2];
    const void *alpha, *beta;
  };
  void scalars(Scalars &out) const;
};

size_t sizeOfType(int type);

// By GL_BLAS_FP32 and the like.
constexpr const char *kNumericsNames[] = {"fp32", "tf32", "bf16"};
constexpr int kNumerics = 3;

// What an epilogue needs, in row-major terms.
struct EpilogueKind {
  const char *name;
  uint32_t code;
  char vector;        // of how many elements: 'n', 'm', or 0 for none
  bool vectorOutput;  // written, not read
  char aux;           // 'm'ask, 'g'elu input, or 0
  bool auxOutput;
};
constexpr int kEpilogues = 16;
const EpilogueKind &epilogueKind(int epilogue);  // throws for what is not in the table
size_t auxBytes(const EpilogueKind &, const GlGemm &, int64_t auxStride, int typeC);

// One per handle of the table and of JavaScript. Streams and workspaces are the user's.
struct Queue {
  Handle handle = nullptr;
  Stream stream = nullptr;
  void *workspace = nullptr;
  size_t workspaceBytes = 0;
};
Queue *openQueue();
void closeQueue(Queue *);
void useStream(Queue &, Stream, void *workspace, size_t bytes);

// Throws where sizes, leading dimensions or strides do not fit each other, or exceed the int of the classic interface.
void checkProduct(const Product &);
// Elements from the first to the last that a matrix of these rows and columns touches, over all of the batch.
int64_t spanOf(int64_t rows, int64_t columns, int64_t ld, int64_t stride, int64_t batch);

void gemm(Queue &, const Product &);  // gemmEx, or the strided batched one
void sgemm(Queue &, const GlGemm &);  // the oldest form: fp32, one product

class Plan {
 public:
  Plan(Queue &, const Product &, const GlPlanOptions &);
  ~Plan();
  Plan(const Plan &) = delete;
  Plan &operator=(const Plan &) = delete;

  // The algorithms that the library offers, best guess first; those that add partial sums in place are left out.
  const std::vector<Heuristic> &candidates();
  void use(const Heuristic &algorithm, bool measured);
  void run(const GlOperands &);
  GlPlanInfo info();

  Queue &queue;
  const Product product;
  const GlPlanOptions options;
  const EpilogueKind &epilogue;
  // Under which a measured algorithm is kept: whatever makes another algorithm right or fast.
  std::string key() const;
  bool useStored();  // true when the cache file knows an algorithm that the library accepts

 private:
  void destroy();
  Layout layout(int type, int64_t rows, int64_t columns, int64_t ld, int64_t stride);
  uint32_t alignment(const void *address) const;
  Desc desc_ = nullptr;
  Layout left_ = nullptr, right_ = nullptr, out_ = nullptr;  // cuBLAS's A, B and D: our b, a and c
  uint32_t alignA_, alignB_, alignC_;
  std::vector<Heuristic> candidates_;
  Heuristic chosen_{};
  bool asked_ = false, measured_ = false;
};

// The plan of the fastest algorithm that gives what the fallback gives; see GlBlas::tune. The caller owns it.
Plan *tune(Queue &, const Product &, const GlPlanOptions &, const GlOperands &, const GlTune &);

// Measured algorithms by key, in a file of JSON lines or, without one, in the process (cache.cc).
std::string setCacheFile(const std::string &path);  // empty: none. What of the file is ignored, for people, or ""
bool findMeasured(const std::string &key, Algo &algo);
void keepMeasured(const std::string &key, const Algo &algo, double seconds);

}  // namespace gradline::cublas
