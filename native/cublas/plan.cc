// Plans: a cuBLASLt product with descriptors, layouts and algorithm fixed, so that a run sets addresses and nothing
// else. The choice among algorithms by time is tune.cc's.
#include <algorithm>
#include <cstring>

#include "cublas/gemm.h"

namespace gradline::cublas {
namespace {

// By GL_EPILOGUE_*. A bias has one element for each row of cuBLAS's D, which is our column: [n]. Operands change
// places, so the sum of our a is cuBLAS's BGRADB and the sum of our b its BGRADA.
constexpr EpilogueKind kKinds[kEpilogues] = {
    {"none", kEpilogueDefault, 0, false, 0, false},     {"bias", kEpilogueBias, 'n', false, 0, false},
    {"relu", kEpilogueRelu, 0, false, 0, false},        {"reluBias", kEpilogueReluBias, 'n', false, 0, false},
    {"reluAux", kEpilogueReluAux, 0, false, 'm', true}, {"reluAuxBias", kEpilogueReluAuxBias, 'n', false, 'm', true},
    {"gelu", kEpilogueGelu, 0, false, 0, false},        {"geluBias", kEpilogueGeluBias, 'n', false, 0, false},
    {"geluAux", kEpilogueGeluAux, 0, false, 'g', true}, {"geluAuxBias", kEpilogueGeluAuxBias, 'n', false, 'g', true},
    {"dRelu", kEpilogueDRelu, 0, false, 'm', false},    {"dReluBgrad", kEpilogueDReluBgrad, 'n', true, 'm', false},
    {"dGelu", kEpilogueDGelu, 0, false, 'g', false},    {"dGeluBgrad", kEpilogueDGeluBgrad, 'n', true, 'g', false},
    {"bgradA", kEpilogueBgradB, 'm', true, 0, false},   {"bgradB", kEpilogueBgradA, 'n', true, 0, false},
};

constexpr int kCandidates = 16;
constexpr uint32_t kAssumedAlignment = 16, kFullAlignment = 256;  // bytes

template <class T>
void set(Status (*setter)(Desc, int, const void *, size_t), Desc desc, int attribute, T value) {
  check(setter(desc, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
}

bool reducesInPlace(const Algo &algorithm) {
  uint32_t scheme = 0;
  size_t written = 0;
  check(loaded().api.algoConfig(&algorithm, kConfigReductionScheme, &scheme, sizeof scheme, &written),
        "cublasLtMatmulAlgoConfigGetAttribute");
  return (scheme & kReductionInPlace) != 0;
}

bool aligned(const void *address, uint32_t bytes) { return reinterpret_cast<uintptr_t>(address) % bytes == 0; }

}  // namespace

const EpilogueKind &epilogueKind(int epilogue) {
  if (epilogue >= 0 && epilogue < kEpilogues) return kKinds[epilogue];
  throw Failure(kInvalidValue, "there is no epilogue " + std::to_string(epilogue));
}

size_t auxBytes(const EpilogueKind &kind, const GlGemm &g, int64_t auxStride, int typeC) {
  if (!kind.aux) return 0;
  const int64_t multiple = kind.aux == 'm' ? kMaskLdMultiple : kGeluInputLdMultiple;
  if (auxStride < g.n || auxStride % multiple || auxStride > INT32_MAX) {
    throw Failure(kInvalidValue, "expected auxStride to be a multiple of " + std::to_string(multiple) +
                                     " that is at least n = " + std::to_string(g.n) + " but received " +
                                     std::to_string(auxStride));
  }
  const size_t elements = static_cast<size_t>(g.m) * auxStride;
  if (elements > size_t{1} << 48) throw Failure(kInvalidValue, "aux would be larger than any memory");
  return kind.aux == 'm' ? elements / 8 : elements * sizeOfType(typeC);
}

Plan::Plan(Queue &on, const Product &what, const GlPlanOptions &how)
    : queue(on),
      product(what),
      options(how),
      epilogue(epilogueKind(how.epilogue)),
      alignA_(alignment(what.g.a)),
      alignB_(alignment(what.g.b)),
      alignC_(alignment(what.g.c)) {
  checkProduct(product);
  const GlGemm &g = product.g;
  if (how.epilogue != GL_EPILOGUE_NONE && g.batch != 1) {
    throw Failure(kInvalidValue, "expected batch to be 1 for an epilogue but received " + std::to_string(g.batch));
  }
  auxBytes(epilogue, g, how.auxStride, product.typeC);  // refuses a wrong stride
  const Api &api = loaded().api;
  try {
    check(api.descCreate(&desc_, product.compute(), product.scaleType()), "cublasLtMatmulDescCreate");
    set<int32_t>(api.descSet, desc_, kDescTransA, g.transposeB ? kOpT : kOpN);
    set<int32_t>(api.descSet, desc_, kDescTransB, g.transposeA ? kOpT : kOpN);
    set<uint32_t>(api.descSet, desc_, kDescEpilogue, epilogue.code);
    if (epilogue.aux) set<int64_t>(api.descSet, desc_, kDescAuxLd, how.auxStride);
    // Until a run sets the addresses: the choice of an algorithm does not follow them, but looks whether they are
    // there.
    const auto anywhere = reinterpret_cast<const void *>(static_cast<uintptr_t>(kFullAlignment));
    if (epilogue.vector) set<const void *>(api.descSet, desc_, kDescBiasPointer, anywhere);
    if (epilogue.aux) set<const void *>(api.descSet, desc_, kDescAuxPointer, anywhere);
    left_ = layout(product.typeAB, g.transposeB ? g.n : g.k, g.transposeB ? g.k : g.n, g.ldb, g.strideB);
    right_ = layout(product.typeAB, g.transposeA ? g.k : g.m, g.transposeA ? g.m : g.k, g.lda, g.strideA);
    out_ = layout(product.typeC, g.m, g.n, g.ldc, g.strideC);
    if (how.algorithm < 0 && useStored()) return;
    const size_t index = how.algorithm < 0 ? 0 : static_cast<size_t>(how.algorithm);
    if (index >= candidates().size()) {
      throw Failure(kNotSupported,
                    "cuBLASLt offers " + std::to_string(candidates_.size()) + " algorithms for " + key());
    }
    use(candidates_[index], false);
  } catch (...) {
    destroy();
    throw;
  }
}

Plan::~Plan() { destroy(); }

void Plan::destroy() {
  const Api &api = loaded().api;
  for (Layout layout : {left_, right_, out_}) {
    if (layout) api.layoutDestroy(layout);
  }
  if (desc_) api.descDestroy(desc_);
}

// Row-major [rows, columns] is, by column, [columns, rows].
Layout Plan::layout(int type, int64_t rows, int64_t columns, int64_t ld, int64_t stride) {
  const Api &api = loaded().api;
  Layout made = nullptr;
  check(api.layoutCreate(&made, type, static_cast<uint64_t>(columns), static_cast<uint64_t>(rows), ld),
        "cublasLtMatrixLayoutCreate");
  if (product.g.batch == 1) return made;
  const auto batch = static_cast<int32_t>(product.g.batch);
  Status status = api.layoutSet(made, kLayoutBatchCount, &batch, sizeof batch);
  if (!status) status = api.layoutSet(made, kLayoutBatchStride, &stride, sizeof stride);
  if (status) api.layoutDestroy(made);
  check(status, "cublasLtMatrixLayoutSetAttribute");
  return made;
}

uint32_t Plan::alignment(const void *address) const {
  if (!address) return kAssumedAlignment;
  const auto lowest = reinterpret_cast<uintptr_t>(address) & -reinterpret_cast<uintptr_t>(address);
  return static_cast<uint32_t>(std::min<uintptr_t>(lowest, kFullAlignment));
}

const std::vector<Heuristic> &Plan::candidates() {
  if (asked_) return candidates_;
  const Api &api = loaded().api;
  Preference preference = nullptr;
  check(api.prefCreate(&preference), "cublasLtMatmulPreferenceCreate");
  const uint64_t limit = options.workspaceLimit;
  Status status = api.prefSet(preference, kPrefWorkspaceBytes, &limit, sizeof limit);
  const auto number = [&](int attribute, uint32_t value) {
    if (!status) status = api.prefSet(preference, attribute, &value, sizeof value);
  };
  number(kPrefReductionMask, kReductionComputeType);
  number(kPrefAlignmentA, alignB_);
  number(kPrefAlignmentB, alignA_);
  number(kPrefAlignmentC, alignC_);
  number(kPrefAlignmentD, alignC_);
  std::vector<Heuristic> found(kCandidates);
  int count = 0;
  const char *what = "cublasLtMatmulPreferenceSetAttribute";
  if (!status) {
    what = "cublasLtMatmulAlgoGetHeuristic";
    status =
        api.heuristic(queue.handle, desc_, left_, right_, out_, out_, preference, kCandidates, found.data(), &count);
    if (status == kNotSupported) status = kSuccess, count = 0;  // the same as nothing found
  }
  api.prefDestroy(preference);
  check(status, what);
  for (int i = 0; i < count; i++) {
    if (found[i].state != kSuccess || found[i].workspaceBytes > options.workspaceLimit) continue;
    if (!reducesInPlace(found[i].algo)) candidates_.push_back(found[i]);
  }
  asked_ = true;
  return candidates_;
}

void Plan::use(const Heuristic &algorithm, bool measured) {
  chosen_ = algorithm;
  measured_ = measured;
}

// A blob of the file is given to the library only when its key, which holds the version, is equal, and used only when
// the library accepts it for this product.
bool Plan::useStored() {
  Heuristic known{};
  if (!findMeasured(key(), known.algo)) return false;
  Heuristic verdict{};
  const Status status = loaded().api.algoCheck(queue.handle, desc_, left_, right_, out_, out_, &known.algo, &verdict);
  if (status != kSuccess || verdict.state != kSuccess || verdict.workspaceBytes > options.workspaceLimit) return false;
  if (reducesInPlace(known.algo)) return false;
  known.workspaceBytes = verdict.workspaceBytes;
  use(known, true);
  return true;
}

void Plan::run(const GlOperands &o) {
  const auto need = [](const char *name, const void *address, uint32_t alignment) {
    if (!address) throw Failure(kInvalidValue, std::string("expected an address for ") + name + " but received null");
    if (!aligned(address, alignment)) {
      throw Failure(kInvalidValue, std::string(name) + " is not aligned to the " + std::to_string(alignment) +
                                       " bytes that its plan was made for");
    }
  };
  need("a", o.a, alignA_), need("b", o.b, alignB_), need("c", o.c, alignC_);
  const Api &api = loaded().api;
  if (epilogue.vector) {
    need("the vector of the epilogue", o.vector, static_cast<uint32_t>(sizeOfType(product.typeC)));
    set<const void *>(api.descSet, desc_, kDescBiasPointer, o.vector);
  }
  if (epilogue.aux) {
    need("aux", o.aux, kAuxAlignment);
    set<const void *>(api.descSet, desc_, kDescAuxPointer, o.aux);
  }
  if (chosen_.workspaceBytes > queue.workspaceBytes) {
    throw Failure(kInvalidValue, "the plan needs a workspace of " + std::to_string(chosen_.workspaceBytes) +
                                     " bytes, the handle has " + std::to_string(queue.workspaceBytes));
  }
  Product::Scalars s;
  product.scalars(s);
  check(api.matmul(queue.handle, desc_, s.alpha, o.b, left_, o.a, right_, s.beta, o.c, out_, o.c, out_, &chosen_.algo,
                   queue.workspace, chosen_.workspaceBytes, queue.stream),
        "cublasLtMatmul");
}

GlPlanInfo Plan::info() {
  return {chosen_.workspaceBytes, measured_ ? 1 : 0, static_cast<int32_t>(candidates().size())};
}

std::string Plan::key() const {
  const Library &lib = loaded();
  const GlGemm &g = product.g;
  std::string key = "lt " + std::to_string(lib.ltVersion);
  if (lib.hasDriver) {
    int device = 0;
    char name[128] = "";
    if (lib.driver.contextDevice(&device) == 0 && lib.driver.deviceName(name, sizeof name - 1, device) == 0) {
      key += std::string(", ") + name;
    }
  }
  key += std::string(", ") + (g.transposeA ? "T" : "N") + (g.transposeB ? "T" : "N");
  for (int64_t size : {g.m, g.n, g.k, g.lda, g.ldb, g.ldc}) key += " " + std::to_string(size);
  if (g.batch != 1) {
    key += " batch";
    for (int64_t size : {g.batch, g.strideA, g.strideB, g.strideC}) key += " " + std::to_string(size);
  }
  key += ", types " + std::to_string(product.typeAB) + " " + std::to_string(product.typeC);
  key += std::string(", ") + kNumericsNames[g.numerics];
  key += std::string(", ") + epilogue.name;
  if (epilogue.aux) key += " " + std::to_string(options.auxStride);
  key += product.beta != 0 ? ", beta" : "";
  key += ", aligned " + std::to_string(alignA_) + " " + std::to_string(alignB_) + " " + std::to_string(alignC_);
  return key + ", workspace " + std::to_string(options.workspaceLimit);
}

}  // namespace gradline::cublas
