// Binds cuBLAS and cuBLASLt at run time: load() looks for them, `provider` hands them to the CUDA backend as the table
// of cuda/blas.h. It runs no kernel of its own and loads on machines without CUDA, where load() says what was looked
// for.
#include <dlfcn.h>
#include <napi.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

#include "cublas/api.h"
#include "cuda/blas.h"

namespace gradline::cublas {
namespace {

struct Library {
  Api api;
  int version[3];
  size_t ltVersion;
  std::string path;
};

// One per process, never closed: the libraries keep threads and device state of their own.
std::mutex mutex;
std::atomic<const Library *> library = nullptr;

template <class F>
bool resolve(void *from, const char *symbol, F &function, std::string &error) {
  function = reinterpret_cast<F>(dlsym(from, symbol));
  if (!function) error += std::string(symbol) + " is missing; ";
  return function != nullptr;
}

// `folder` is empty for the loader's own search, else it ends with a slash.
const Library *open(const std::string &folder, const char *major, std::string &error) {
  // cuBLASLt first: cuBLAS needs it by its bare name, and finds it when it is already there.
  void *lt = dlopen((folder + "libcublasLt.so." + major).c_str(), RTLD_NOW | RTLD_LOCAL);
  void *blas = lt ? dlopen((folder + "libcublas.so." + major).c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (!blas) {
    error += std::string(dlerror()) + "; ";
    if (lt) dlclose(lt);
    return nullptr;
  }
  Library found{};
  bool complete = true;
#define GL_BLAS(field, symbol, ...) complete &= resolve(blas, #symbol, found.api.field, error);
#define GL_LT(field, symbol, ...) complete &= resolve(lt, #symbol, found.api.field, error);
  GL_CUBLAS_API(GL_BLAS)
  GL_CUBLASLT_API(GL_LT)
#undef GL_BLAS
#undef GL_LT
  if (!complete) {
    dlclose(blas);
    dlclose(lt);
    return nullptr;
  }
  for (int i = 0; i < 3; i++) found.api.getProperty(i, &found.version[i]);  // libraryPropertyType: major, minor, patch
  found.ltVersion = found.api.ltVersion();
  Dl_info info;
  if (dladdr(reinterpret_cast<void *>(found.api.create), &info)) found.path = info.dli_fname;
  return new Library(std::move(found));
}

// The first search that succeeds is kept for the life of the process.
const Library *load(const std::string &folder, std::string &error) {
  std::lock_guard<std::mutex> lock(mutex);
  if (const Library *known = library) return known;
  std::vector<std::string> folders;
  if (!folder.empty()) folders.push_back(folder + "/");
  folders.push_back("");
  if (const char *home = std::getenv("CUDA_HOME"); home && *home) folders.push_back(std::string(home) + "/lib64/");
  for (const auto &place : folders) {
    for (const char *major : {"13", "12"}) {
      if (const Library *found = open(place, major, error)) {
        library = found;
        return found;
      }
    }
  }
  return nullptr;
}

// ---- The table. A handle exists only when the library does, so only `open` and `version` ask for it.

int32_t versionNumber() {
  std::string error;
  const Library *lib = load("", error);
  return lib ? lib->version[0] * 10000 + lib->version[1] * 100 + lib->version[2] : 0;
}

int32_t openHandle(void **handle) {
  std::string error;
  const Library *lib = load("", error);
  if (!lib) return kNotInitialized;
  return lib->api.create(reinterpret_cast<Handle *>(handle));
}

int32_t closeHandle(void *handle) { return library.load()->api.destroy(static_cast<Handle>(handle)); }

int32_t useStream(void *handle, void *stream, void *workspace, size_t bytes) {
  // The stream first: changing it resets the workspace to the library's own.
  const Api &api = library.load()->api;
  Status status = api.setStream(static_cast<Handle>(handle), static_cast<Stream>(stream));
  return status ? status : api.setWorkspace(static_cast<Handle>(handle), workspace, bytes);
}

// cuBLAS stores matrices by column. A row-major matrix read that way is its transpose, so the row-major c = a b is
// computed as c^T = b^T a^T: operands and sizes change places, the transpose flags stay.
int32_t gemm(void *handle, const GlGemm *g) {
  for (int64_t size : {g->m, g->n, g->k, g->lda, g->ldb, g->ldc, g->batch}) {
    if (size < 0 || size > INT32_MAX) return kInvalidValue;  // the classic interface takes int
  }
  const Api &api = library.load()->api;
  auto h = static_cast<Handle>(handle);
  int opA = g->transposeA ? kOpT : kOpN, opB = g->transposeB ? kOpT : kOpN;
  int m = static_cast<int>(g->m), n = static_cast<int>(g->n), k = static_cast<int>(g->k);
  int lda = static_cast<int>(g->lda), ldb = static_cast<int>(g->ldb), ldc = static_cast<int>(g->ldc);
  int compute = g->numerics == GL_BLAS_TF32 ? kCompute32FFastTF32 : kCompute32F;
  if (g->batch == 1) {
    return api.gemmEx(h, opB, opA, n, m, k, &g->alpha, g->b, kReal32F, ldb, g->a, kReal32F, lda, &g->beta, g->c,
                      kReal32F, ldc, compute, kGemmDefault);
  }
  return api.gemmStridedBatchedEx(h, opB, opA, n, m, k, &g->alpha, g->b, kReal32F, ldb, g->strideB, g->a, kReal32F, lda,
                                  g->strideA, &g->beta, g->c, kReal32F, ldc, g->strideC, static_cast<int>(g->batch),
                                  compute, kGemmDefault);
}

const char *statusText(int32_t code) {
  const Library *lib = library;
  return lib ? lib->api.statusString(code) : "cuBLAS not found";
}

const GlBlas table = {GL_BLAS_ABI, sizeof(GlBlas), "cublas", versionNumber, openHandle,
                      closeHandle, useStream,      gemm,     statusText};

// load(folder?: string) -> { found, version?, ltVersion?, path?, error? }
Napi::Value loadFromJs(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  if (info.Length() > 0 && !info[0].IsUndefined() && !info[0].IsString()) {
    throw Napi::TypeError::New(env, "expected the folder of cuBLAS to be a string");
  }
  std::string folder = info.Length() > 0 && info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
  std::string error;
  const Library *lib = load(folder, error);
  auto result = Napi::Object::New(env);
  result["found"] = Napi::Boolean::New(env, lib != nullptr);
  if (lib) {
    const int *v = lib->version;
    result["version"] =
        Napi::String::New(env, std::to_string(v[0]) + "." + std::to_string(v[1]) + "." + std::to_string(v[2]));
    result["ltVersion"] = Napi::Number::New(env, static_cast<double>(lib->ltVersion));
    result["path"] = Napi::String::New(env, lib->path);
  } else {
    result["error"] = Napi::String::New(env, "cuBLAS not found: " + error.substr(0, error.size() - 2));
  }
  return result;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  const napi_type_tag tag = GL_BLAS_TAG;
  auto provider = Napi::External<GlBlas>::New(env, const_cast<GlBlas *>(&table));
  provider.TypeTag(&tag);
  exports["load"] = Napi::Function::New(env, loadFromJs, "load");
  exports["provider"] = provider;
  return exports;
}

NODE_API_MODULE(gradline_cublas, init)

}  // namespace
}  // namespace gradline::cublas
