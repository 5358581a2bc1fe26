// What batch norm and its derivative both compute: the derivative of an activation must see the very number that the
// activation saw. No kernel stands here.
#pragma once
#include "columns.cuh"
#include "fold.cuh"

namespace gradline::cuda {

GPU_DEVICE float normalFactor(float gamma, float variance, float eps) { return gamma / sqrtf(variance + eps); }

// The difference first, so that a mean far larger than the deviation costs no digits.
GPU_DEVICE float normalized(float x, float mean, float factor, float beta) { return (x - mean) * factor + beta; }

}  // namespace gradline::cuda
