// Finds and opens cuBLAS, cuBLASLt and the driver once per process, and turns their codes into text. It creates nothing
// in them: handles, plans and memory belong to gemm.h and device.h.
#pragma once
#include <stdexcept>
#include <string>

#include "cublas/api.h"

namespace gradline::cublas {

struct Library {
  Api api;
  Driver driver;  // all null where there is no driver
  bool hasDriver;
  int version[3];
  size_t ltVersion;
  std::string path;
  std::string driverError;  // why there is no driver
  int versionNumber() const { return version[0] * 10000 + version[1] * 100 + version[2]; }
};

// What every function below the tables throws: a code for C, a text for people.
struct Failure : std::runtime_error {
  Status code;
  Failure(Status status, const std::string &text) : std::runtime_error(text), code(status) {}
};

// Of the driver rather than of a library: whatever was queued may not have happened.
struct DriverFailure : Failure {
  using Failure::Failure;
};

// The first search that succeeds is kept for the life of the process. Null: `error` lists what was looked for.
// `folder` (may be empty) is looked at before the loader's own places.
const Library *load(const std::string &folder, std::string &error);

// The library, which must have been loaded.
const Library &loaded();
// The same with a driver; throws where there is none.
const Library &loadedWithDriver();

void check(Status status, const char *what);        // of cuBLAS
void checkDriver(Result result, const char *what);  // of the driver

}  // namespace gradline::cublas
