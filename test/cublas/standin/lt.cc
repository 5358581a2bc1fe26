// cuBLASLt of the stand-in: descriptors that refuse unknown numbers and sizes, a heuristic that offers good, slow,
// wrong and failing algorithms. The product itself is matmul.cc.
#include "lt.h"

#include <cstring>

using namespace standin;

namespace {

constexpr int kAllocFailed = 3, kInvalid = 7, kFailed = 13, kNotSupported = 15;
constexpr uint64_t kMagic = 0x57a7d1;

struct Algo {
  uint64_t data[8];  // magic, which, fingerprint of the problem
};
struct Result {
  Algo algo;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

// What the heuristic offers, in its order.
constexpr Offer kOffers[] = {
    {Kind::right, 20e-6, 0},   {Kind::wrong, 1e-6, 0},
    {Kind::failing, 1e-6, 0},  {Kind::lazy, 1e-6, 0},
    {Kind::inPlace, 1e-6, 0},  {Kind::unusable, 1e-6, 0},
    {Kind::right, 5e-6, 4096}, {Kind::right, 4e-6, size_t{1} << 40},
};

template <class T>
int assign(T &field, const void *from, size_t bytes, const char *what) {
  if (bytes != sizeof field || !from) return violation(std::string(what) + " has the wrong size"), kInvalid;
  std::memcpy(&field, from, sizeof field);
  return 0;
}

template <class T, class... Arguments>
int create(const char *name, std::set<T *> &set, T **out, Arguments... arguments) {
  if (fails(name)) return kAllocFailed;
  inCapture(name);
  set.insert(*out = new T{arguments...});
  return 0;
}

template <class T>
int destroy(const char *name, std::set<T *> &set, T *object) {
  const bool failed = fails(name);
  if (!set.erase(object)) return violation(std::string(name) + " of what is none"), kInvalid;
  delete object;
  return failed ? kFailed : 0;
}

uint64_t fingerprint(const Desc &d, const Layout &a, const Layout &b, const Layout &c) {
  uint64_t hash = 1469598103934665603u;
  const auto mix = [&](uint64_t word) { hash = (hash ^ word) * 1099511628211u; };
  for (int64_t word :
       {int64_t{d.compute}, int64_t{d.scale}, int64_t{d.transA}, int64_t{d.transB}, int64_t{d.epilogue}, d.auxLd}) {
    mix(static_cast<uint64_t>(word));
  }
  for (const Layout *l : {&a, &b, &c}) {
    for (uint64_t word : {uint64_t(l->type), l->rows, l->columns, uint64_t(l->ld), uint64_t(l->batch)}) mix(word);
  }
  return hash;
}

// Whether descriptor and layouts are complete and fit each other.
int checkProblem(const char *name, Blas *handle, Desc *d, Layout *a, Layout *b, Layout *c, Layout *out) {
  State &s = state();
  const auto bad = [&](const char *what) { return violation(std::string(name) + ": " + what), kInvalid; };
  if (!s.handles.count(handle)) return bad("no handle");
  if (!s.descs.count(d)) return bad("no descriptor");
  for (Layout *l : {a, b, c, out}) {
    if (!s.layouts.count(l)) return bad("no layout");
    if (sizeOf(l->type) == 0 || l->ld < static_cast<int64_t>(l->rows)) return bad("a leading dimension below the rows");
    if (l->batch != out->batch) return bad("batch counts differ");
  }
  const uint64_t m = d->transA ? a->columns : a->rows, k = d->transA ? a->rows : a->columns;
  const uint64_t n = d->transB ? b->rows : b->columns, k2 = d->transB ? b->columns : b->rows;
  if (k != k2 || m != out->rows || n != out->columns || c->rows != m || c->columns != n) return bad("shapes differ");
  static const std::set<uint32_t> epilogues = {1, 2, 4, 6, 32, 36, 130, 134, 136, 152, 160, 164, 192, 208, 256, 512};
  if (!epilogues.count(d->epilogue)) return bad("unknown epilogue");
  if (hasVector(*d) && !d->bias) return bad("the epilogue lacks its bias pointer");
  if (hasAux(*d)) {
    if (!d->aux) return bad("the epilogue lacks its aux pointer");
    if (d->auxLd % (isMask(*d) ? 128 : 8) || d->auxLd < static_cast<int64_t>(m)) return bad("leading dimension of aux");
    if (reinterpret_cast<uintptr_t>(d->aux) % 16) return bad("aux is not aligned");
  }
  const bool wide = d->compute == 70;
  if ((d->compute != 68 && d->compute != 75 && d->compute != 77 && !wide) || d->scale != (wide ? 1 : 0))
    return bad("compute type");
  if (a->type != b->type || (a->type == 1) != wide) return kNotSupported;
  if (d->compute > 70 && a->type != 0) return kNotSupported;
  if (out->batch > 1 && d->epilogue != 1) return kNotSupported;
  return d->epilogue == state().options.unsupported ? kNotSupported : 0;
}

}  // namespace

EXPORT int cublasLtMatmulDescCreate(Desc **desc, int compute, int scale) {
  return create("cublasLtMatmulDescCreate", state().descs, desc, compute, scale);
}
EXPORT int cublasLtMatmulDescDestroy(Desc *desc) { return destroy("cublasLtMatmulDescDestroy", state().descs, desc); }
EXPORT int cublasLtMatmulDescSetAttribute(Desc *desc, int attribute, const void *value, size_t bytes) {
  if (fails("cublasLtMatmulDescSetAttribute")) return kFailed;
  if (!state().descs.count(desc)) return violation("an attribute of no descriptor"), kInvalid;
  switch (attribute) {
    case 3:
      return assign(desc->transA, value, bytes, "TRANSA");
    case 4:
      return assign(desc->transB, value, bytes, "TRANSB");
    case 7:
      return assign(desc->epilogue, value, bytes, "EPILOGUE");
    case 8:
      return assign(desc->bias, value, bytes, "BIAS_POINTER");
    case 11:
      return assign(desc->aux, value, bytes, "EPILOGUE_AUX_POINTER");
    case 12:
      return assign(desc->auxLd, value, bytes, "EPILOGUE_AUX_LD");
    default:
      return violation("unknown attribute of a descriptor: " + std::to_string(attribute)), kInvalid;
  }
}
EXPORT int cublasLtMatrixLayoutCreate(Layout **layout, int type, uint64_t rows, uint64_t columns, int64_t ld) {
  return create("cublasLtMatrixLayoutCreate", state().layouts, layout, type, rows, columns, ld);
}
EXPORT int cublasLtMatrixLayoutDestroy(Layout *layout) {
  return destroy("cublasLtMatrixLayoutDestroy", state().layouts, layout);
}
EXPORT int cublasLtMatrixLayoutSetAttribute(Layout *layout, int attribute, const void *value, size_t bytes) {
  if (fails("cublasLtMatrixLayoutSetAttribute")) return kFailed;
  if (!state().layouts.count(layout)) return violation("an attribute of no layout"), kInvalid;
  if (attribute == 5) return assign(layout->batch, value, bytes, "BATCH_COUNT");
  if (attribute == 6) return assign(layout->stride, value, bytes, "STRIDED_BATCH_OFFSET");
  return violation("unknown attribute of a layout: " + std::to_string(attribute)), kInvalid;
}
EXPORT int cublasLtMatmulPreferenceCreate(Preference **preference) {
  return create("cublasLtMatmulPreferenceCreate", state().preferences, preference);
}
EXPORT int cublasLtMatmulPreferenceDestroy(Preference *preference) {
  return destroy("cublasLtMatmulPreferenceDestroy", state().preferences, preference);
}
EXPORT int cublasLtMatmulPreferenceSetAttribute(Preference *preference, int attribute, const void *value,
                                                size_t bytes) {
  if (fails("cublasLtMatmulPreferenceSetAttribute")) return kFailed;
  if (!state().preferences.count(preference)) return violation("an attribute of no preference"), kInvalid;
  if (attribute == 1) return assign(preference->workspace, value, bytes, "MAX_WORKSPACE_BYTES");
  if (attribute == 3) return assign(preference->reductions, value, bytes, "REDUCTION_SCHEME_MASK");
  if (attribute >= 5 && attribute <= 8)
    return assign(preference->alignment[attribute - 5], value, bytes, "MIN_ALIGNMENT");
  return violation("unknown attribute of a preference: " + std::to_string(attribute)), kInvalid;
}

EXPORT int cublasLtMatmulAlgoGetHeuristic(Blas *handle, Desc *d, Layout *a, Layout *b, Layout *c, Layout *out,
                                          Preference *preference, int most, Result *results, int *count) {
  if (fails("cublasLtMatmulAlgoGetHeuristic")) return kFailed;
  inCapture("cublasLtMatmulAlgoGetHeuristic");
  if (const int error = checkProblem("cublasLtMatmulAlgoGetHeuristic", handle, d, a, b, c, out)) return error;
  if (!state().preferences.count(preference) || most < 1) return kInvalid;
  *count = 0;
  for (size_t i = 0; i < std::size(kOffers) && *count < most; i++) {
    const Offer &offer = kOffers[i];
    if (offer.workspace > preference->workspace) continue;
    if (offer.kind == Kind::inPlace && !(preference->reductions & 1) && !state().options.rude) continue;
    if (state().options.onlyRight && offer.kind != Kind::right) continue;
    results[(*count)++] = {{{kMagic, i, fingerprint(*d, *a, *b, *out)}},
                           offer.workspace,
                           offer.kind == Kind::unusable ? kNotSupported : 0,
                           1,
                           {}};
  }
  return *count ? 0 : kNotSupported;
}
EXPORT int cublasLtMatmulAlgoCheck(Blas *handle, Desc *d, Layout *a, Layout *b, Layout *c, Layout *out,
                                   const Algo *algo, Result *result) {
  if (fails("cublasLtMatmulAlgoCheck")) return kFailed;
  // The pointers of the epilogue may be missing here, as nothing is run.
  if (!state().handles.count(handle) || !state().descs.count(d)) return kInvalid;
  if (!a || !b || !c || algo->data[0] != kMagic || algo->data[1] >= std::size(kOffers)) return kInvalid;
  if (algo->data[2] != fingerprint(*d, *a, *b, *out)) return kNotSupported;
  *result = {*algo, kOffers[algo->data[1]].workspace, 0, 1, {}};
  return 0;
}
EXPORT int cublasLtMatmulAlgoConfigGetAttribute(const Algo *algo, int attribute, void *value, size_t bytes,
                                                size_t *written) {
  if (fails("cublasLtMatmulAlgoConfigGetAttribute")) return kFailed;
  if (attribute != 3 || bytes != 4 || algo->data[0] != kMagic)
    return violation("configuration of an algorithm"), kInvalid;
  const uint32_t scheme = kOffers[algo->data[1]].kind == Kind::inPlace ? 1 : 0;
  std::memcpy(value, &scheme, 4);
  return *written = 4, 0;
}

EXPORT int cublasLtMatmul(Blas *handle, Desc *d, const void *alpha, const void *a, Layout *la, const void *b,
                          Layout *lb, const void *beta, const void *c, Layout *lc, void *out, Layout *ld,
                          const Algo *algo, void *workspace, size_t workspaceBytes, void *stream) {
  if (fails("cublasLtMatmul")) return kFailed;
  if (const int error = checkProblem("cublasLtMatmul", handle, d, la, lb, lc, ld)) return error;
  if (!isStream(stream)) return violation("cublasLtMatmul on a stream that is gone"), kInvalid;
  if (!algo || algo->data[0] != kMagic || algo->data[2] != fingerprint(*d, *la, *lb, *ld)) {
    return violation("cublasLtMatmul with the algorithm of another problem"), kInvalid;
  }
  const Offer &offer = kOffers[algo->data[1]];
  if (offer.kind == Kind::unusable || offer.kind == Kind::inPlace) {
    return violation("cublasLtMatmul with an algorithm that must not be used"), kNotSupported;
  }
  if (offer.kind == Kind::failing) return kFailed;
  if (workspaceBytes < offer.workspace) return violation("too little workspace"), kInvalid;
  const auto scalar = [&](const void *at) {
    return d->scale == 1 ? *static_cast<const double *>(at) : *static_cast<const float *>(at);
  };
  const Call call = {*d, *la, *lb, *lc, *ld,   scalar(alpha), scalar(beta),
                     a,  b,   c,   out, offer, workspace,     workspaceBytes};
  if (!areInside(call)) return kInvalid;
  return onStream(stream, [call] { perform(call); }) ? kFailed : 0;
}
