// The planners of the kernels in random.cuh: which of them an op takes, with what grid and workspace, from shapes
// alone. No kernel stands here.
#include "random.cuh"

namespace gradline::cuda {
namespace {

Grid gridFor(const Tensor &y) { return {ceilDiv(y.size, kBlock * kPerThread)}; }

}  // namespace

bool planDropout(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.out[0])) return false;
  if (op.out[0].size == 0) return true;
  const double rate = op.attr[attr::dropout::rate];
  const Dropout kernel = {global<const float>(op.in[0]),
                          global<const StepState>(op.in[1]),
                          global<float>(op.out[0]),
                          static_cast<int>(op.out[0].size),
                          static_cast<uint32_t>(op.attr[attr::dropout::stream]),
                          dropThreshold(rate),
                          static_cast<float>(1 / (1 - rate))};
  launch(launches, kernel, gridFor(op.out[0]));
  return true;
}

bool planCropFlip(const Op &op, Launches &launches) {
  namespace a = attr::cropFlip;
  if (!isCountable(op) || !isF32(op.out[0])) return false;
  if (op.out[0].size == 0) return true;
  const Tensor &x = op.in[0], &y = op.out[0];
  const bool back = op.attr[a::back] != 0;
  CropFlip kernel = {};
  kernel.x = global<const float>(x);
  kernel.step = global<const StepState>(op.in[1]);
  kernel.y = global<float>(y);
  kernel.n = static_cast<int>(y.size);
  kernel.channels = static_cast<int>(y.dims[3]);
  kernel.rows = {static_cast<int>(x.dims[1]), static_cast<int>(y.dims[1]), static_cast<int>(op.iattr(a::top))};
  kernel.columns = {static_cast<int>(x.dims[2]), static_cast<int>(y.dims[2]), static_cast<int>(op.iattr(a::left))};
  kernel.stream = static_cast<uint32_t>(op.attr[a::stream]);
  kernel.vertical = dropThreshold(op.attr[a::vertical]);
  kernel.horizontal = dropThreshold(op.attr[a::horizontal]);
  kernel.fill = back ? 0.0f : static_cast<float>(op.attr[a::fill]);
  kernel.back = back;
  launch(launches, kernel, {ceilDiv(y.size, kBlock)});
  return true;
}

bool planRandomUniform(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.out[0])) return false;
  if (op.out[0].size == 0) return true;
  const float low = static_cast<float>(op.attr[attr::randomUniform::low]);
  const float high = static_cast<float>(op.attr[attr::randomUniform::high]);
  const RandomUniform kernel = {global<const StepState>(op.in[0]),
                                global<float>(op.out[0]),
                                static_cast<int>(op.out[0].size),
                                static_cast<uint32_t>(op.attr[attr::randomUniform::stream]),
                                low,
                                high - low,
                                nextafterf(high, low)};
  launch(launches, kernel, gridFor(op.out[0]));
  return true;
}

bool planRandomNormal(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.out[0])) return false;
  if (op.out[0].size == 0) return true;
  const RandomNormal kernel = {
      global<const StepState>(op.in[0]), global<float>(op.out[0]),
      static_cast<int>(op.out[0].size),  static_cast<uint32_t>(op.attr[attr::randomNormal::stream]),
      op.attr[attr::randomNormal::mean], op.attr[attr::randomNormal::std]};
  launch(launches, kernel, gridFor(op.out[0]));
  return true;
}

bool planSampleRows(const Op &op, Launches &launches) {
  if (!isCountable(op)) return false;
  const int n = static_cast<int>(op.out[0].size);
  if (n == 0) return true;
  launch(launches,
         SampleRows{global<const StepState>(op.in[0]), global<int32_t>(op.out[0]), n,
                    static_cast<int>(op.attr[attr::sampleRows::shuffle]),
                    static_cast<uint64_t>(op.attr[attr::sampleRows::samples])},
         {ceilDiv(n, kBlock)});
  return true;
}

}  // namespace gradline::cuda
