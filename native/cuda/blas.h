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

/* How float operands are multiplied: as they are, or rounded to that type first. Sums are fp32 in all. */
enum { GL_BLAS_FP32 = 0, GL_BLAS_TF32 = 1, GL_BLAS_BF16 = 2 };

/* For each of `batch` row-major float matrices in device memory: c = alpha * op(a) * op(b) + beta * c, with
 * op(a) [m, k], op(b) [k, n], c [m, n]; ld* is the distance between rows, stride* between matrices, in elements. */
typedef struct GlGemm {
  int32_t transposeA, transposeB, numerics, reserved;
  int64_t m, n, k, lda, ldb, ldc, strideA, strideB, strideC, batch;
  float alpha, beta;
  const void *a, *b;
  void *c;
} GlGemm;

/* What a plan does to x = alpha * op(a) * op(b) before it is stored. `vector` and `aux` are those of GlOperands;
 * numbers are for ever. A mask holds one bit per element, a gelu input one float; both are written by a forward form
 * and read by its gradient. Relu here turns NaN into 0, gelu is the tanh form. */
enum {
  GL_EPILOGUE_NONE = 0,
  GL_EPILOGUE_BIAS = 1,          /* x + vector [n] */
  GL_EPILOGUE_RELU = 2,          /* max(x, 0) */
  GL_EPILOGUE_RELU_BIAS = 3,     /* max(x + vector [n], 0) */
  GL_EPILOGUE_RELU_AUX = 4,      /* relu, aux = mask of x > 0 */
  GL_EPILOGUE_RELU_AUX_BIAS = 5, /* the same of x + vector [n] */
  GL_EPILOGUE_GELU = 6,
  GL_EPILOGUE_GELU_BIAS = 7,
  GL_EPILOGUE_GELU_AUX = 8, /* gelu, aux = what went into it */
  GL_EPILOGUE_GELU_AUX_BIAS = 9,
  GL_EPILOGUE_DRELU = 10,       /* x where the mask has a 1, else 0 */
  GL_EPILOGUE_DRELU_BGRAD = 11, /* the same, vector [n] = sums of c over m */
  GL_EPILOGUE_DGELU = 12,       /* x * gelu'(aux) */
  GL_EPILOGUE_DGELU_BGRAD = 13, /* the same, vector [n] = sums of c over m */
  GL_EPILOGUE_BGRAD_A = 14,     /* x, vector [m] = sums of op(a) over k */
  GL_EPILOGUE_BGRAD_B = 15      /* x, vector [n] = sums of op(b) over k */
};

/* Device addresses of one run of a plan. What the epilogue does not name is null. */
typedef struct GlOperands {
  const void *a, *b;
  void *c, *vector, *aux;
} GlOperands;

/* How a plan is chosen. */
typedef struct GlPlanOptions {
  int32_t epilogue;  /* GL_EPILOGUE_*; anything but none asks for batch == 1 */
  int32_t algorithm; /* 0, 1, ... in the order of the library's guess; -1: the measured one of the cache file, else 0 */
  int64_t auxStride; /* elements between rows of aux: bits, a multiple of 128, or floats, a multiple of 8 */
  size_t workspaceLimit; /* bytes a plan may use of the workspace that is set by `use` when it runs */
} GlPlanOptions;

typedef struct GlPlanInfo {
  size_t workspaceBytes;
  int32_t measured;   /* 1: the algorithm was chosen by `tune`, now or by an earlier process */
  int32_t candidates; /* algorithms that the library offers for it, at most 16 */
} GlPlanInfo;

/* `c` and `vector` of the fallback for the same operands, in device memory, laid out as GlGemm says; an algorithm whose
 * results differ by more than tolerance * the largest magnitude of the fallback is never chosen. `expectedVector` may
 * be null. */
typedef struct GlTune {
  const void *expectedC, *expectedVector;
  float tolerance;
  int32_t candidates, repetitions; /* 0: 16 and 10 */
} GlTune;

/* Functions that return int32_t return 0 for success, else a code for `text`, which on the thread of the failure says
 * more than the code. One code has a meaning here: `plan` and `tune` give it when the library has no algorithm for a
 * product, or measuring found none that is right, so that another way of computing takes its place. */
enum { GL_BLAS_NOT_SUPPORTED = 15 };
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
  /* A plan holds everything of a product but addresses, so that a run creates nothing. a, b, c of the GlGemm may be
   * null: a run then takes whatever is aligned to 16 bytes. It belongs to the handle and is released before it. */
  int32_t (*plan)(void *handle, const GlGemm *, const GlPlanOptions *, void **plan);
  int32_t (*describe)(void *plan, GlPlanInfo *);
  int32_t (*run)(void *plan, const GlOperands *);
  int32_t (*release)(void *plan);
  /* Measures the candidates on these operands and makes the plan of the fastest that is right. `c` and `vector` keep
   * what they hold unless it is input. Waits for the device: not for use while a graph is captured. */
  int32_t (*tune)(void *handle, const GlGemm *, const GlPlanOptions *, const GlOperands *, const GlTune *, void **plan);
  /* The file that measured algorithms are read from and kept in, for all handles of the process; null for none. */
  int32_t (*cache)(const char *path);
} GlBlas;

/* The Node-API type tag of the External that carries a `const GlBlas *`: 128 random bits, fixed for ever. */
#define GL_BLAS_TAG {0x8c1f5b27d94e36a0ULL, 0x47e2a96d130fcb58ULL}

#ifdef __cplusplus
}
#endif
