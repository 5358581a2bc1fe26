// Opening a backend's library.
#include "library.h"

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

namespace gradline {

const Backend &loadBackend(const std::string &path) {
#if defined(_WIN32)
  throw Error(ErrorCode::backend, "cannot load " + path + ": backends of their own are not built for Windows");
#else
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw Error(ErrorCode::backend, std::string("cannot load a backend: ") + dlerror());
  const auto table = reinterpret_cast<const Backend *(*)()>(dlsym(library, "gradline_backend"));
  if (!table) throw Error(ErrorCode::backend, path + " exports no gradline_backend");
  const Backend &backend = *table();
  if (backend.fingerprint != kFingerprint)
    throw Error(ErrorCode::backend,
                path + " belongs to another release: it was built for other ops or another interface");
  return backend;
#endif
}

}  // namespace gradline
