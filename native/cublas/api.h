// What is used of cuBLAS, cuBLASLt and the CUDA driver: prototypes, numbers and structs of our own, so that no CUDA
// header is needed. Only what means the same in 12 and 13. Where a function has a `_v2` form that is the one to look
// up: the bare name exists too, but is an older interface. Enumerations are int, as in C. Nothing here is tied to a way
// of loading.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace gradline::cublas {

// ---- Handles, which the libraries own.

using Status = int;  // cublasStatus_t
using Result = int;  // CUresult
using Handle = struct cublasContext *;
using Stream = struct CUstream_st *;
using Event = struct CUevent_st *;
using Context = struct CUctx_st *;
using Address = unsigned long long;  // CUdeviceptr
using Desc = struct GlLtDesc *;      // cublasLtMatmulDesc_t
using Layout = struct GlLtLayout *;  // cublasLtMatrixLayout_t
using Preference = struct GlLtPreference *;

// cublasLtMatmulAlgo_t: opaque, may be copied and stored, is valid for one version of the library only.
struct Algo {
  uint64_t data[8];
};

// cublasLtMatmulHeuristicResult_t
struct Heuristic {
  Algo algo;
  size_t workspaceBytes;
  Status state;  // of this result; only those with 0 can be used
  float waves;
  int reserved[4];
};
static_assert(sizeof(Algo) == 64 && sizeof(Heuristic) == 96);

// ---- Numbers.

constexpr Status kSuccess = 0, kNotInitialized = 1, kAllocFailed = 3, kInvalidValue = 7, kExecutionFailed = 13,
                 kInternalError = 14, kNotSupported = 15;  // cublasStatus_t

constexpr int kOpN = 0, kOpT = 1;                                        // cublasOperation_t
constexpr int kReal32F = 0, kReal64F = 1, kReal16F = 2, kReal16BF = 14;  // cudaDataType
constexpr int kCompute32F = 68, kCompute64F = 70;                        // cublasComputeType_t
constexpr int kCompute32FFast16BF = 75, kCompute32FFastTF32 = 77;        // cublasComputeType_t
constexpr int kGemmDefault = -1;                                         // cublasGemmAlgo_t

// cublasLtMatmulDescAttributes_t. Compute type (0), scale type (1) and pointer mode (2, host) are set by creation.
constexpr int kDescTransA = 3;           // int32: kOpN or kOpT
constexpr int kDescTransB = 4;           // int32
constexpr int kDescEpilogue = 7;         // uint32: kEpilogue*
constexpr int kDescBiasPointer = 8;      // device address: bias to add, or where a bias gradient goes
constexpr int kDescAuxPointer = 11;      // device address: mask of relu or input of gelu, written or read
constexpr int kDescAuxLd = 12;           // int64, elements; a mask has one bit per element
constexpr int kMaskLdMultiple = 128;     // bits: what kDescAuxLd of a relu mask must be a multiple of
constexpr int kGeluInputLdMultiple = 8;  // elements, for the input of gelu
constexpr int kAuxAlignment = 16;        // bytes, of kDescAuxPointer

// cublasLtMatrixLayoutAttribute_t. Type (0), order (1, by column), rows (2), columns (3), ld (4) are set by creation.
constexpr int kLayoutBatchCount = 5;   // int32
constexpr int kLayoutBatchStride = 6;  // int64, elements

// cublasLtMatmulPreferenceAttributes_t
constexpr int kPrefWorkspaceBytes = 1;  // uint64: the most an algorithm may ask for
constexpr int kPrefReductionMask = 3;   // uint32: which of kReduction* may be used; none is always allowed
constexpr int kPrefAlignmentA = 5;      // uint32, bytes; 256 unless set. B, C and D follow
constexpr int kPrefAlignmentB = 6, kPrefAlignmentC = 7, kPrefAlignmentD = 8;

// cublasLtReductionScheme_t: how partial sums of a product split along k meet.
constexpr uint32_t kReductionInPlace = 1;      // in the output, by counters: excluded, as its order is not ours to know
constexpr uint32_t kReductionComputeType = 2;  // in the workspace, by a second kernel in a fixed order

constexpr int kConfigReductionScheme = 3;  // cublasLtMatmulAlgoConfigAttributes_t; uint32

// cublasLtEpilogue_t, in cuBLAS's terms: D has the matrices by column, a bias one element for each row of D.
constexpr uint32_t kEpilogueDefault = 1;
constexpr uint32_t kEpilogueRelu = 2;           // max(x, 0); NaN becomes 0, unlike in this library's relu
constexpr uint32_t kEpilogueBias = 4;           // x + bias
constexpr uint32_t kEpilogueReluBias = 6;       // max(x + bias, 0)
constexpr uint32_t kEpilogueGelu = 32;          // gelu by tanh
constexpr uint32_t kEpilogueGeluBias = 36;      // gelu(x + bias)
constexpr uint32_t kEpilogueReluAux = 130;      // relu; aux = a bit per element, 1 where x > 0
constexpr uint32_t kEpilogueReluAuxBias = 134;  // the same of x + bias
constexpr uint32_t kEpilogueDRelu = 136;        // x where the bit of aux is 1, else 0
constexpr uint32_t kEpilogueDReluBgrad = 152;   // the same; bias = its sums along the rows of D
constexpr uint32_t kEpilogueGeluAux = 160;      // gelu; aux = what went into it
constexpr uint32_t kEpilogueGeluAuxBias = 164;  // the same of x + bias
constexpr uint32_t kEpilogueDGelu = 192;        // x * gelu'(aux)
constexpr uint32_t kEpilogueDGeluBgrad = 208;   // the same; bias = its sums along the rows of D
constexpr uint32_t kEpilogueBgradA = 256;       // D is the product; bias = sum of op(A) over k, one for each row of D
constexpr uint32_t kEpilogueBgradB = 512;       // bias = sum of op(B) over k, one for each column of D

constexpr int kAttributeMajor = 75, kAttributeMinor = 76;  // CUdevice_attribute: compute capability

// ---- Functions: name in Api, symbol, result, parameters.

#define GL_CUBLAS_API(X)                                                                                               \
  X(create, cublasCreate_v2, Status, Handle *)                                                                         \
  X(destroy, cublasDestroy_v2, Status, Handle)                                                                         \
  X(setStream, cublasSetStream_v2, Status, Handle, Stream)                                                             \
  X(setWorkspace, cublasSetWorkspace_v2, Status, Handle, void *, size_t)                                               \
  X(getProperty, cublasGetProperty, Status, int, int *)                                                                \
  X(statusString, cublasGetStatusString, const char *, Status)                                                         \
  X(sgemm, cublasSgemm_v2, Status, Handle, int, int, int, int, int, const float *, const float *, int, const float *,  \
    int, const float *, float *, int)                                                                                  \
  X(gemmEx, cublasGemmEx, Status, Handle, int, int, int, int, int, const void *, const void *, int, int, const void *, \
    int, int, const void *, void *, int, int, int, int)                                                                \
  X(gemmStridedBatchedEx, cublasGemmStridedBatchedEx, Status, Handle, int, int, int, int, int, const void *,           \
    const void *, int, int, long long, const void *, int, int, long long, const void *, void *, int, int, long long,   \
    int, int, int)

// A cublasHandle_t serves wherever cuBLASLt takes its own handle.
#define GL_CUBLASLT_API(X)                                                                                            \
  X(ltVersion, cublasLtGetVersion, size_t)                                                                            \
  X(descCreate, cublasLtMatmulDescCreate, Status, Desc *, int, int)                                                   \
  X(descDestroy, cublasLtMatmulDescDestroy, Status, Desc)                                                             \
  X(descSet, cublasLtMatmulDescSetAttribute, Status, Desc, int, const void *, size_t)                                 \
  X(layoutCreate, cublasLtMatrixLayoutCreate, Status, Layout *, int, uint64_t, uint64_t, int64_t)                     \
  X(layoutDestroy, cublasLtMatrixLayoutDestroy, Status, Layout)                                                       \
  X(layoutSet, cublasLtMatrixLayoutSetAttribute, Status, Layout, int, const void *, size_t)                           \
  X(prefCreate, cublasLtMatmulPreferenceCreate, Status, Preference *)                                                 \
  X(prefDestroy, cublasLtMatmulPreferenceDestroy, Status, Preference)                                                 \
  X(prefSet, cublasLtMatmulPreferenceSetAttribute, Status, Preference, int, const void *, size_t)                     \
  X(heuristic, cublasLtMatmulAlgoGetHeuristic, Status, Handle, Desc, Layout, Layout, Layout, Layout, Preference, int, \
    Heuristic *, int *)                                                                                               \
  X(algoCheck, cublasLtMatmulAlgoCheck, Status, Handle, Desc, Layout, Layout, Layout, Layout, const Algo *,           \
    Heuristic *)                                                                                                      \
  X(algoConfig, cublasLtMatmulAlgoConfigGetAttribute, Status, const Algo *, int, void *, size_t, size_t *)            \
  X(matmul, cublasLtMatmul, Status, Handle, Desc, const void *, const void *, Layout, const void *, Layout,           \
    const void *, const void *, Layout, void *, Layout, const Algo *, void *, size_t, Stream)

#define GL_DRIVER_API(X)                                              \
  X(init, cuInit, Result, unsigned)                                   \
  X(driverVersion, cuDriverGetVersion, Result, int *)                 \
  X(errorString, cuGetErrorString, Result, Result, const char **)     \
  X(deviceCount, cuDeviceGetCount, Result, int *)                     \
  X(deviceGet, cuDeviceGet, Result, int *, int)                       \
  X(deviceName, cuDeviceGetName, Result, char *, int, int)            \
  X(deviceAttribute, cuDeviceGetAttribute, Result, int *, int, int)   \
  X(contextRetain, cuDevicePrimaryCtxRetain, Result, Context *, int)  \
  X(contextRelease, cuDevicePrimaryCtxRelease_v2, Result, int)        \
  X(contextSet, cuCtxSetCurrent, Result, Context)                     \
  X(contextDevice, cuCtxGetDevice, Result, int *)                     \
  X(memAlloc, cuMemAlloc_v2, Result, Address *, size_t)               \
  X(memFree, cuMemFree_v2, Result, Address)                           \
  X(toDevice, cuMemcpyHtoD_v2, Result, Address, const void *, size_t) \
  X(toHost, cuMemcpyDtoH_v2, Result, void *, Address, size_t)         \
  X(fill, cuMemsetD8_v2, Result, Address, unsigned char, size_t)      \
  X(streamCreate, cuStreamCreate, Result, Stream *, unsigned)         \
  X(streamDestroy, cuStreamDestroy_v2, Result, Stream)                \
  X(streamWait, cuStreamSynchronize, Result, Stream)                  \
  X(eventCreate, cuEventCreate, Result, Event *, unsigned)            \
  X(eventDestroy, cuEventDestroy_v2, Result, Event)                   \
  X(eventRecord, cuEventRecord, Result, Event, Stream)                \
  X(eventWait, cuEventSynchronize, Result, Event)                     \
  X(eventElapsed, cuEventElapsedTime, Result, float *, Event, Event)

#define GL_FIELD(field, symbol, result, ...) result (*field)(__VA_ARGS__);
struct Api {
  GL_CUBLAS_API(GL_FIELD)
  GL_CUBLASLT_API(GL_FIELD)
};
struct Driver {
  GL_DRIVER_API(GL_FIELD)
};
#undef GL_FIELD

}  // namespace gradline::cublas
