// The table of cuda/blas.h over this binding: C at the border, so every exception becomes a code and its text waits for
// `text`. A handle exists only when the library does, so only `open` and `version` look for it.
#include "cublas/table.h"

#include <new>

#include "cublas/gemm.h"

namespace gradline::cublas {
namespace {

thread_local Status lastCode = 0;
thread_local std::string lastText;

template <class Body>
int32_t guarded(Body body) {
  try {
    body();
    return kSuccess;
  } catch (const Failure &failure) {
    lastCode = failure.code;
    lastText = failure.what();
  } catch (const std::bad_alloc &) {
    lastCode = kAllocFailed;
    lastText = "out of memory";
  } catch (const std::exception &error) {
    lastCode = kInternalError;
    lastText = error.what();
  }
  return lastCode;
}

Queue &queueOf(void *handle) { return *static_cast<Queue *>(handle); }
Plan &planOf(void *plan) { return *static_cast<Plan *>(plan); }

int32_t version() {
  std::string error;
  const Library *lib = load("", error);
  return lib ? lib->versionNumber() : 0;
}

int32_t open(void **handle) {
  return guarded([&] {
    std::string error;
    if (!load("", error)) throw Failure(kNotInitialized, error);
    *handle = openQueue();
  });
}

int32_t close(void *handle) {
  return guarded([&] { closeQueue(&queueOf(handle)); });
}

int32_t use(void *handle, void *stream, void *workspace, size_t bytes) {
  return guarded([&] { useStream(queueOf(handle), static_cast<Stream>(stream), workspace, bytes); });
}

int32_t gemmOnce(void *handle, const GlGemm *g) {
  return guarded([&] { gemm(queueOf(handle), Product{*g}); });
}

const char *text(int32_t code) {
  if (code == lastCode && code != kSuccess) return lastText.c_str();
  try {
    return loaded().api.statusString(code);
  } catch (const Failure &) {
    return "cuBLAS is not loaded";
  }
}

int32_t plan(void *handle, const GlGemm *g, const GlPlanOptions *options, void **made) {
  return guarded([&] { *made = new Plan(queueOf(handle), Product{*g}, *options); });
}

int32_t describe(void *plan, GlPlanInfo *info) {
  return guarded([&] { *info = planOf(plan).info(); });
}

int32_t run(void *plan, const GlOperands *operands) {
  return guarded([&] { planOf(plan).run(*operands); });
}

int32_t release(void *plan) {
  return guarded([&] { delete &planOf(plan); });
}

int32_t tuned(void *handle, const GlGemm *g, const GlPlanOptions *options, const GlOperands *operands,
              const GlTune *how, void **made) {
  return guarded([&] { *made = tune(queueOf(handle), Product{*g}, *options, *operands, *how); });
}

int32_t cache(const char *path) {
  return guarded([&] { setCacheFile(path ? path : ""); });
}

}  // namespace

const GlBlas &table() {
  static const GlBlas made = {GL_BLAS_ABI, sizeof(GlBlas), "cublas", version, open,    close, use,  gemmOnce,
                              text,        plan,           describe, run,     release, tuned, cache};
  return made;
}

}  // namespace gradline::cublas
