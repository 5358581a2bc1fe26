// The oracle's table: one scalar kernel per op, in f32 and in f64. It is complete; a backend may fall back to it.
#pragma once
#include "../abi.h"

namespace gradline::ref {

using Kernel = void (*)(const Op &);

extern const Kernel f32[kOpCount];
extern const Kernel f64[kOpCount];

// The `ref` backend: every op once, on one thread, from the table above.
extern const Backend backend;

}  // namespace gradline::ref
