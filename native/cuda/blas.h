/* What a matrix-product library must offer to the CUDA backend: a table of C functions, handed from one addon to
 * another. It is all that the two build systems share. Append only: fields are never moved, removed or given another
 * meaning; a user checks `abi`, then that `size` reaches the last field it needs. No C++ type and no exception crosses
 * it. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define GL_BLAS_ABI 1u

enum { GL_BLAS_FP32 = 0, GL_BLAS_TF32 = 1 };

/* For each of `batch` row-major float matrices in device memory: c = alpha * op(a) * op(b) + beta * c, with
 * op(a) [m, k], op(b) [k, n], c [m, n]; ld* is the distance between rows, stride* between matrices, in elements. */
typedef struct GlGemm {
  int32_t transposeA, transposeB, numerics, reserved;
  int64_t m, n, k, lda, ldb, ldc, strideA, strideB, strideC, batch;
  float alpha, beta;
  const void *a, *b;
  void *c;
} GlGemm;

/* Functions that return int32_t return 0 for success, else a code for `text`. */
typedef struct GlBlas {
  uint32_t abi, size; /* size: sizeof(GlBlas) where the table was built */
  const char *name;
  int32_t (*version)(void);       /* major * 10000 + minor * 100 + patch; 0 when there is no library */
  int32_t (*open)(void **handle); /* on the calling thread's current CUDA device */
  int32_t (*close)(void *handle);
  /* Work goes to `stream` (a cudaStream_t) and uses only `workspace`, so that it can be captured in a graph. */
  int32_t (*use)(void *handle, void *stream, void *workspace, size_t bytes);
  int32_t (*gemm)(void *handle, const GlGemm *);
  const char *(*text)(int32_t code);
} GlBlas;

/* The Node-API type tag of the External that carries a `const GlBlas *`: 128 random bits, fixed for ever. */
#define GL_BLAS_TAG {0x8c1f5b27d94e36a0ULL, 0x47e2a96d130fcb58ULL}

#ifdef __cplusplus
}
#endif
