// The functions of cuBLAS and cuBLASLt that are used, with prototypes of our own, so that no CUDA header is needed.
// Only names whose meaning is the same in 12 and 13. Where a name has a `_v2` form it is the one to look up: the bare
// name exists too, but is the old interface without a handle. Enumerations are int, as in C.
#pragma once
#include <stddef.h>

namespace gradline::cublas {

using Status = int;
using Handle = struct cublasContext *;
using Stream = struct CUstream_st *;

constexpr int kOpN = 0, kOpT = 1;                          // cublasOperation_t
constexpr int kReal32F = 0;                                // cudaDataType, CUDA_R_32F
constexpr int kCompute32F = 68, kCompute32FFastTF32 = 77;  // cublasComputeType_t
constexpr int kGemmDefault = -1;                           // cublasGemmAlgo_t
constexpr Status kNotInitialized = 1, kInvalidValue = 7;   // cublasStatus_t

// name in Api, symbol, result, parameters
#define GL_CUBLAS_API(X)                                                                                               \
  X(create, cublasCreate_v2, Status, Handle *)                                                                         \
  X(destroy, cublasDestroy_v2, Status, Handle)                                                                         \
  X(setStream, cublasSetStream_v2, Status, Handle, Stream)                                                             \
  X(setWorkspace, cublasSetWorkspace_v2, Status, Handle, void *, size_t)                                               \
  X(getProperty, cublasGetProperty, Status, int, int *)                                                                \
  X(statusString, cublasGetStatusString, const char *, Status)                                                         \
  X(gemmEx, cublasGemmEx, Status, Handle, int, int, int, int, int, const void *, const void *, int, int, const void *, \
    int, int, const void *, void *, int, int, int, int)                                                                \
  X(gemmStridedBatchedEx, cublasGemmStridedBatchedEx, Status, Handle, int, int, int, int, int, const void *,           \
    const void *, int, int, long long, const void *, int, int, long long, const void *, void *, int, int, long long,   \
    int, int, int)

#define GL_CUBLASLT_API(X) X(ltVersion, cublasLtGetVersion, size_t)

struct Api {
#define GL_FIELD(field, symbol, result, ...) result (*field)(__VA_ARGS__);
  GL_CUBLAS_API(GL_FIELD)
  GL_CUBLASLT_API(GL_FIELD)
#undef GL_FIELD
};

}  // namespace gradline::cublas
