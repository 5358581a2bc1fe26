// The classic interface of the stand-in, by column as BLAS is: Sgemm, GemmEx, GemmStridedBatchedEx, and the elements of
// matrices of every type. GRADLINE_STANDIN_VERSION=12 makes it the version before.
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "standin.h"

namespace standin {

size_t sizeOf(int type) { return type == 1 ? 8 : type == 0 ? 4 : type == 2 || type == 14 ? 2 : 0; }

namespace {

float bits(uint32_t word) {
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

double half(uint16_t word) {
  const int exponent = word >> 10 & 31, fraction = word & 1023;
  const double value = exponent == 31 ? (fraction ? NAN : INFINITY)
                       : exponent     ? std::ldexp(1024 + fraction, exponent - 25)
                                      : std::ldexp(fraction, -24);
  return word & 0x8000 ? -value : value;
}

// Rounds to the nearest of `fraction` bits behind the leading one, ties to even.
double rounded(double value, int fraction, int least) {
  if (value == 0 || !std::isfinite(value)) return value;
  const int exponent = std::max(std::ilogb(value), least) - fraction;
  return std::ldexp(std::nearbyint(std::ldexp(value, -exponent)), exponent);
}

uint16_t toHalf(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return 0x7e00;
  const double size = rounded(std::fabs(value), 10, -14);
  if (size >= 65536) return sign | 0x7c00;
  if (size < std::ldexp(1, -14)) return sign | static_cast<uint16_t>(std::ldexp(size, 24));
  const int exponent = std::ilogb(size);
  return sign |
         static_cast<uint16_t>((exponent + 15) << 10 | (static_cast<int>(std::ldexp(size, 10 - exponent)) - 1024));
}

uint16_t toBrain(double value) {
  const auto near = static_cast<float>(rounded(value, 7, -126));
  uint32_t word;
  std::memcpy(&word, &near, sizeof word);
  return static_cast<uint16_t>(word >> 16 | (std::isnan(value) ? 0x40 : 0));
}

}  // namespace

double get(const Matrix &m, int64_t row, int64_t column) {
  const int64_t i = column * m.ld + row;
  if (m.type == 1) return static_cast<const double *>(m.at)[i];
  if (m.type == 0) return static_cast<const float *>(m.at)[i];
  const uint16_t word = static_cast<const uint16_t *>(m.at)[i];
  return m.type == 2 ? half(word) : bits(static_cast<uint32_t>(word) << 16);
}

void put(const Matrix &m, int64_t row, int64_t column, double value) {
  const int64_t i = column * m.ld + row;
  if (m.type == 1)
    static_cast<double *>(m.at)[i] = value;
  else if (m.type == 0)
    static_cast<float *>(m.at)[i] = static_cast<float>(value);
  else
    static_cast<uint16_t *>(m.at)[i] = m.type == 2 ? toHalf(value) : toBrain(value);
}

bool checkMatrix(const char *what, const Matrix &m, int64_t rows, int64_t columns) {
  const std::string name = what;
  if (sizeOf(m.type) == 0) return violation(name + " has an unknown type");
  if (m.rows != rows || m.columns != columns) return violation(name + " has the wrong shape");
  if (m.ld < rows) return violation(name + " has a leading dimension below its rows");
  if (reinterpret_cast<uintptr_t>(m.at) % sizeOf(m.type)) return violation(name + " is not aligned to its elements");
  if (rows == 0 || columns == 0) return true;
  return inside(what, m.at, sizeOf(m.type) * static_cast<size_t>((columns - 1) * m.ld + rows));
}

}  // namespace standin

using namespace standin;

namespace {

constexpr int kNotInitialized = 1, kInvalid = 7, kFailed = 13, kNotSupported = 15;

int version() {
  const char *asked = std::getenv("GRADLINE_STANDIN_VERSION");
  return asked ? std::atoi(asked) : 13;
}

int begin(const char *name, Blas *handle) {
  if (fails(name)) return kFailed;
  if (state().handles.count(handle)) return 0;
  violation(std::string(name) + " without a handle");
  return kNotInitialized;
}

int product(const char *name, Blas *handle, int opA, int opB, int m, int n, int k, const void *alpha, const void *a,
            int typeA, int lda, const void *b, int typeB, int ldb, const void *beta, void *c, int typeC, int ldc,
            int compute) {
  if (!isStream(handle->stream)) return violation("a stream that is gone"), kInvalid;
  if (handle->workspace && !inside("the workspace", handle->workspace, handle->workspaceBytes)) return kInvalid;
  if (opA < 0 || opA > 1 || opB < 0 || opB > 1 || m < 0 || n < 0 || k < 0 || !alpha || !beta) return kInvalid;
  const bool wide = compute == 70;
  const bool rounds = compute == 75 || compute == 77;
  if (compute != 68 && !rounds && !wide) return violation(std::string(name) + ": compute type"), kInvalid;
  if (typeA != typeB || wide != (typeA == 1) || (rounds && typeA != 0) || (typeC != typeA && typeC != 0)) {
    return kNotSupported;
  }
  const auto scalar = [&](const void *at) {
    return wide ? *static_cast<const double *>(at) : *static_cast<const float *>(at);
  };
  const Matrix A = {const_cast<void *>(a), typeA, opA ? k : m, opA ? m : k, lda};
  const Matrix B = {const_cast<void *>(b), typeB, opB ? n : k, opB ? k : n, ldb};
  const Matrix C = {c, typeC, m, n, ldc};
  if (!checkMatrix("A", A, A.rows, A.columns) || !checkMatrix("B", B, B.rows, B.columns) ||
      !checkMatrix("C", C, m, n)) {
    return kInvalid;
  }
  if (state().card) return violation(std::string(name) + " on the emulated card, which asks for plans"), kInvalid;
  for (int j = 0; j < n; j++) {
    for (int i = 0; i < m; i++) {
      double sum = 0;
      for (int p = 0; p < k; p++) sum += (opA ? get(A, p, i) : get(A, i, p)) * (opB ? get(B, j, p) : get(B, p, j));
      // beta == 0: C is not read
      put(C, i, j, scalar(alpha) * sum + (scalar(beta) != 0 ? scalar(beta) * get(C, i, j) : 0));
    }
  }
  return 0;
}

}  // namespace

EXPORT int cublasCreate_v2(Blas **handle) {
  if (fails("cublasCreate") || inCapture("cublasCreate")) return 3;
  if (!state().card && state().current <= 0) return violation("cublasCreate without a context"), kNotInitialized;
  state().handles.insert(*handle = new Blas);
  return 0;
}
EXPORT int cublasDestroy_v2(Blas *handle) {
  const bool failed = fails("cublasDestroy");
  if (!state().handles.erase(handle)) return violation("a handle destroyed that is none"), kNotInitialized;
  delete handle;
  inCapture("cublasDestroy");
  if (state().card && state().handles.empty()) {
    (void)state().card->wait(nullptr);  // as the library does
    state().work.clear();
  }
  return failed ? kFailed : 0;
}
EXPORT int cublasSetStream_v2(Blas *handle, void *stream) {
  if (const int error = begin("cublasSetStream", handle)) return error;
  if (!isStream(stream)) return violation("cublasSetStream of a stream that is gone"), kInvalid;
  *handle = {stream, nullptr, 0};  // back to the workspace of the library's own
  return 0;
}
EXPORT int cublasSetWorkspace_v2(Blas *handle, void *workspace, size_t bytes) {
  if (const int error = begin("cublasSetWorkspace", handle)) return error;
  if (reinterpret_cast<uintptr_t>(workspace) % 256) return kInvalid;
  if (workspace && !inside("the workspace", workspace, bytes)) return kInvalid;
  handle->workspace = workspace, handle->workspaceBytes = bytes;
  return 0;
}
EXPORT int cublasGetProperty(int which, int *value) {
  const int values[3] = {version(), 1, 2};
  return which < 0 || which > 2 ? kInvalid : (*value = values[which], 0);
}
EXPORT const char *cublasGetStatusString(int status) {
  switch (status) {
    case 0:
      return "CUBLAS_STATUS_SUCCESS";
    case 1:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case 3:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case 7:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case 13:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case 15:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "CUBLAS_STATUS_UNKNOWN";
  }
}
EXPORT size_t cublasLtGetVersion() { return static_cast<size_t>(version() * 10000 + 102); }

EXPORT int cublasSgemm_v2(Blas *handle, int opA, int opB, int m, int n, int k, const float *alpha, const float *a,
                          int lda, const float *b, int ldb, const float *beta, float *c, int ldc) {
  if (const int error = begin("cublasSgemm", handle)) return error;
  return product("cublasSgemm", handle, opA, opB, m, n, k, alpha, a, 0, lda, b, 0, ldb, beta, c, 0, ldc, 68);
}
EXPORT int cublasGemmEx(Blas *handle, int opA, int opB, int m, int n, int k, const void *alpha, const void *a,
                        int typeA, int lda, const void *b, int typeB, int ldb, const void *beta, void *c, int typeC,
                        int ldc, int compute, int algorithm) {
  if (const int error = begin("cublasGemmEx", handle)) return error;
  if (algorithm != -1) return violation("cublasGemmEx: the algorithm is not the default"), kInvalid;
  return product("cublasGemmEx", handle, opA, opB, m, n, k, alpha, a, typeA, lda, b, typeB, ldb, beta, c, typeC, ldc,
                 compute);
}
EXPORT int cublasGemmStridedBatchedEx(Blas *handle, int opA, int opB, int m, int n, int k, const void *alpha,
                                      const void *a, int typeA, int lda, long long strideA, const void *b, int typeB,
                                      int ldb, long long strideB, const void *beta, void *c, int typeC, int ldc,
                                      long long strideC, int batch, int compute, int algorithm) {
  if (const int error = begin("cublasGemmStridedBatchedEx", handle)) return error;
  if (algorithm != -1 || batch < 0) return kInvalid;
  const auto at = [](const void *base, long long elements, int type) {
    return static_cast<char *>(const_cast<void *>(base)) + elements * static_cast<long long>(sizeOf(type));
  };
  for (int i = 0; i < batch; i++) {
    if (const int error =
            product("cublasGemmStridedBatchedEx", handle, opA, opB, m, n, k, alpha, at(a, i * strideA, typeA), typeA,
                    lda, at(b, i * strideB, typeB), typeB, ldb, beta, at(c, i * strideC, typeC), typeC, ldc, compute)) {
      return error;
    }
  }
  return 0;
}
