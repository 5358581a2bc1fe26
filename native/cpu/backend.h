// The CPU backend: ops run as kernels of the best instruction set of the machine on a team of threads. Whatever has no
// such kernel, and every program of class fp64, runs in ref.
#pragma once
#include "../abi.h"

namespace gradline::cpu {

extern const Backend backend;

}  // namespace gradline::cpu
