// The oracle's two tables, one entry per line of ops.def: an op without a kernel does not compile.
// Looking up and running kernels is the work of the backends.
#include "table.h"

#include "conv.h"
#include "elementwise.h"
#include "loss.h"
#include "matmul.h"
#include "move.h"
#include "norm.h"
#include "pool.h"
#include "random.h"
#include "reduce.h"
#include "schedule.h"
#include "update.h"

namespace gradline::ref {

#define GL_OP(name, ...) ref::name<float>,
const Kernel f32[kOpCount] = {
#include "../ops.def"
};
#undef GL_OP

#define GL_OP(name, ...) ref::name<double>,
const Kernel f64[kOpCount] = {
#include "../ops.def"
};
#undef GL_OP

}  // namespace gradline::ref
