// The search for the libraries: a folder that was named, the loader's own places, CUDA_HOME, the usual folder of the
// toolkit, and where Python wheels put them; in each 13 before 12. Opens; does not call more than version functions.
#include "cublas/library.h"

#include <dlfcn.h>
#include <glob.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <vector>

namespace gradline::cublas {
namespace {

// Never closed: the libraries keep threads and device state of their own.
std::mutex mutex;
std::atomic<const Library *> library = nullptr;

template <class F>
bool resolve(void *from, const char *symbol, F &function, std::string &missing) {
  function = reinterpret_cast<F>(dlsym(from, symbol));
  if (!function) missing += (missing.empty() ? "" : ", ") + std::string(symbol);
  return function != nullptr;
}

std::string join(const std::string &folder, const char *name) { return folder.empty() ? name : folder + "/" + name; }

// One reason per line of the error text.
void *openOne(const std::string &path, std::string &error) {
  void *opened = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!opened) error += std::string("\n  ") + dlerror();
  return opened;
}

void openDriver(Library &found, const std::string &folder) {
  std::string error;
  void *driver = folder.empty() ? nullptr : openOne(join(folder, "libcuda.so.1"), error);
  if (!driver) driver = openOne("libcuda.so.1", error);
  if (!driver) {
    found.driverError = "no CUDA driver; looked for:" + error;
    return;
  }
  std::string missing;
#define GL_DRIVER(field, symbol, ...) resolve(driver, #symbol, found.driver.field, missing);
  GL_DRIVER_API(GL_DRIVER)
#undef GL_DRIVER
  found.hasDriver = missing.empty();
  if (!missing.empty()) found.driverError = "the CUDA driver libcuda.so.1 lacks " + missing;
}

const Library *open(const std::string &folder, const char *major, std::string &error) {
  // cuBLASLt first: cuBLAS needs it by its bare name, and finds it when it is already there.
  void *lt = openOne(join(folder, "libcublasLt.so.") + major, error);
  if (!lt) return nullptr;
  void *blas = openOne(join(folder, "libcublas.so.") + major, error);
  Library found{};
  std::string missing;
  if (blas) {
#define GL_BLAS(field, symbol, ...) resolve(blas, #symbol, found.api.field, missing);
#define GL_LT(field, symbol, ...) resolve(lt, #symbol, found.api.field, missing);
    GL_CUBLAS_API(GL_BLAS)
    GL_CUBLASLT_API(GL_LT)
#undef GL_BLAS
#undef GL_LT
    if (!missing.empty()) error += "\n  " + join(folder, "libcublas.so.") + major + ": lacks " + missing;
  }
  if (!blas || !missing.empty()) {
    if (blas) dlclose(blas);
    dlclose(lt);
    return nullptr;
  }
  for (int i = 0; i < 3; i++) found.api.getProperty(i, &found.version[i]);  // libraryPropertyType: major, minor, patch
  found.ltVersion = found.api.ltVersion();
  Dl_info info;
  if (dladdr(reinterpret_cast<void *>(found.api.create), &info)) found.path = info.dli_fname;
  return new Library(std::move(found));
}

// Folders behind the loader's own places. Wheels: nvidia/cu13/lib since 13, nvidia/cublas/lib before.
std::vector<std::string> wellKnown() {
  std::vector<std::string> patterns;
  const auto variable = [](const char *name) {
    const char *value = std::getenv(name);
    return std::string(value ? value : "");
  };
  if (const std::string home = variable("CUDA_HOME"); !home.empty()) patterns.push_back(home + "/lib64");
  patterns.push_back("/usr/local/cuda/lib64");
  if (const std::string conda = variable("CONDA_PREFIX"); !conda.empty()) patterns.push_back(conda + "/lib");
  std::vector<std::string> roots;
  for (const char *name : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    if (const std::string root = variable(name); !root.empty()) roots.push_back(root);
  }
  if (const std::string home = variable("HOME"); !home.empty()) roots.push_back(home + "/.local");
  roots.insert(roots.end(), {"/usr/local", "/usr", "/opt/conda"});
  for (const auto &root : roots) {
    for (const char *wheel : {"cu13", "cublas"}) {
      patterns.push_back(root + "/lib/python3*/*-packages/nvidia/" + wheel + "/lib");
    }
  }
  std::vector<std::string> folders;
  for (const auto &pattern : patterns) {
    glob_t found{};
    if (glob(pattern.c_str(), 0, nullptr, &found) == 0)
      folders.insert(folders.end(), found.gl_pathv, found.gl_pathv + found.gl_pathc);
    globfree(&found);
  }
  return folders;
}

}  // namespace

const Library *load(const std::string &folder, std::string &error) {
  std::lock_guard<std::mutex> lock(mutex);
  if (const Library *known = library) return known;
  std::vector<std::string> folders;
  if (!folder.empty()) folders.push_back(folder);
  folders.push_back("");
  for (const auto &place : wellKnown()) folders.push_back(place);
  for (const auto &place : folders) {
    for (const char *major : {"13", "12"}) {
      if (const Library *found = open(place, major, error)) {
        openDriver(const_cast<Library &>(*found), folder);
        library = found;
        return found;
      }
    }
  }
  error = "cuBLAS 13 or 12 was not found; looked for:" + error;
  return nullptr;
}

const Library &loaded() {
  if (const Library *known = library) return *known;
  throw Failure(kNotInitialized, "cuBLAS is not loaded");
}

const Library &loadedWithDriver() {
  const Library &known = loaded();
  if (!known.hasDriver) throw Failure(kNotInitialized, known.driverError);
  return known;
}

void check(Status status, const char *what) {
  if (status == kSuccess) return;
  const char *text = loaded().api.statusString(status);
  throw Failure(status, std::string(what) + " failed: " + (text ? text : "status " + std::to_string(status)));
}

void checkDriver(Result result, const char *what) {
  if (result == 0) return;
  const char *text = nullptr;
  loadedWithDriver().driver.errorString(result, &text);
  throw DriverFailure(kInternalError,
                      std::string(what) + " failed: " + (text ? text : "error " + std::to_string(result)));
}

}  // namespace gradline::cublas
