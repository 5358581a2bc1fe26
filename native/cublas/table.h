// The binding as the table of cuda/blas.h, for the CUDA backend and for programs without Node.
#pragma once
#include "cuda/blas.h"

namespace gradline::cublas {

const GlBlas &table();

}  // namespace gradline::cublas
