// NAdam's momentum (Dozat 2016), which prepareUpdate and the rule both need.
#pragma once
#include "../../portable.h"
#include "../gpu.h"

namespace gradline::cuda {

// Of update t: it grows from beta / 2 towards beta.
GPU_DEVICE double nadamMomentum(double beta, double decay, double t) {
  return beta * (1 - 0.5 * portable::pow(0.96, t * decay));
}

}  // namespace gradline::cuda
