// Convolutions 3x3 of stride 1 with 2.25 times fewer multiplications, for programs of class fast: F(2x2, 3x3) of
// Winograd
// ("Arithmetic Complexity of Computations", 1980; for images Lavin and Gray, 2016) for outputs and the gradient of the
// image (winograd.cc), F(3x3, 2x2) for the gradient of the filter (winogradFilterGrad.cc).
//
// Errors: integers stay exact, and most data come out closer than from the plain product, since sums are shorter. What
// is bounded is c u sqrt(K) times the products of the largest |x| of a channel in the 4x4 inputs of a tile and the
// largest tap of the channel, not of each x and its own tap: neighbours that differ by orders of magnitude under taps
// near 0 exceed the bound by element, as they must for any algorithm with fewer multiplications (Miller,
// "Computational complexity and numerical stability", 1975). By the norms of the transforms, |A'|^2 |B'|^2 |G|^2 in the
// maximum norm, 81 beside the 9 products of a channel, c could grow by 9 at the worst (Barabasz, Anderson, Soodhalter
// and Gregg, "Error Analysis and Improving the Accuracy of Winograd Convolution", 2020). An infinite input may give NaN
// where the plain product gives an infinity.
#pragma once
#include "kernels.h"

namespace gradline::cpu::GL_ISA {

// False for every other convolution, and for those where the plain product is as fast. The op's tensors are float and
// not empty; `op` of the first is conv2d or conv2dInputGrad.
bool planWinograd(const Op &op, KernelPlan &plan);
bool planWinogradFilterGrad(const Op &op, KernelPlan &plan);

}  // namespace gradline::cpu::GL_ISA
