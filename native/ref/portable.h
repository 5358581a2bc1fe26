// pow, log, log1p and cos in double out of additions, products, divisions and bits alone. IEEE 754 fixes each of those,
// so schedules and update rules have the same bits on every machine, whatever its C library and its compiler. Not for
// tensors: a call costs some 100 ns, once per op and thread. portable.cc must be compiled without contraction.
#pragma once

namespace gradline::ref::portable {

double pow(double x, double y);  // 1 ulp while |y log x| < 10, 40 ulp at the ends of the range; NaN for x < 0
double log(double x);            // 1 ulp; NaN for x < 0
double log1p(double x);          // 2 ulp
double cos(double x);            // 1 ulp of 1 for 0 <= x <= pi, which is all that schedules ask for

}  // namespace gradline::ref::portable
