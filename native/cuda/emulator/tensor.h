// The tensor cores of the emulated card: one product of small matrices by the lanes of a warp together. Where lanes
// hold which elements is said in ../gpu.h, and held to the words of the PTX ISA by test/cuda/tensor.test.cc.
#pragma once
#include <cstdint>

namespace gradline::cuda::emulator {

enum class Operands { tf32, bf16 };
void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Operands operands);

}  // namespace gradline::cuda::emulator
