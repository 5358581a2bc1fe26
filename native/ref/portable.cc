// native/portable.h compiled for CPUs: once, without contraction, whatever the flags of the files that call it.
#include "portable.h"

#include "../portable.h"

namespace gradline::ref::portable {

double pow(double x, double y) { return gradline::portable::pow(x, y); }
double log(double x) { return gradline::portable::log(x); }
double log1p(double x) { return gradline::portable::log1p(x); }
double cos(double x) { return gradline::portable::cos(x); }

}  // namespace gradline::ref::portable
