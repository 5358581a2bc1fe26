// cropFlip: of each image a window at a random place, turned by chance. Exact copies of pixels, by the integers of
// philox.h; the other random ops are random.cc.
#include "../../philox.h"
#include "../simd.h"
#include "kernels.h"

namespace gradline::cpu::GL_ISA {
namespace {

constexpr int64_t kCropFloats = 4096;  // about so many a unit

int64_t cropRows(const Op &op) {
  const int64_t row = op.out[0].dims[2] * op.out[0].dims[3];
  return row < kCropFloats ? kCropFloats / (row > 0 ? row : 1) : 1;
}

// Where the elements of an axis of the output come from: begin + step * i.
struct Axis {
  int64_t begin, step;
};
GL_SIMD Axis axisOf(int64_t image, int64_t window, int64_t beyond, uint32_t place, bool mirrored, bool back) {
  const uint64_t places = static_cast<uint64_t>(image + 2 * beyond - window + 1);
  const int64_t first = static_cast<int64_t>((place * places) >> 32) - beyond;
  if (mirrored) return {first + window - 1, -1};  // its own inverse
  return {back ? -first : first, 1};
}

void runCropFlip(const Op &op, int64_t begin, int64_t end, void *) {
  namespace a = attr::cropFlip;
  const Tensor &x = op.in[0], &y = op.out[0];
  const bool back = op.attr[a::back] != 0;
  const Tensor &image = back ? y : x, &window = back ? x : y;
  const StepState &step = *op.in[1].as<StepState>();
  const uint32_t stream = static_cast<uint32_t>(op.attr[a::stream]);
  const uint32_t vertical = dropThreshold(op.attr[a::vertical]), horizontal = dropThreshold(op.attr[a::horizontal]);
  const float fill = back ? 0.0f : static_cast<float>(op.attr[a::fill]);
  const int64_t height = y.dims[1], width = y.dims[2], channels = y.dims[3], rows = cropRows(op);
  int64_t drawn = -1;
  Axis down = {}, across = {};
  for (int64_t row = begin * rows; row < smaller(end * rows, y.dims[0] * height); row++) {
    const int64_t n = row / height, i = row % height;
    if (n != drawn) {
      const Philox4 bits = randomBlock(step.seed, step.step, stream, Purpose::window, static_cast<uint64_t>(n));
      down = axisOf(image.dims[1], window.dims[1], op.iattr(a::top), bits.v[0], bits.v[2] >> 8 < vertical, back);
      across = axisOf(image.dims[2], window.dims[2], op.iattr(a::left), bits.v[1], bits.v[3] >> 8 < horizontal, back);
      drawn = n;
    }
    float *to = y.as<float>() + row * width * channels;
    const int64_t source = down.begin + down.step * i;
    const bool hasRow = source >= 0 && source < x.dims[1];
    const float *from = x.as<float>() + (n * x.dims[1] + (hasRow ? source : 0)) * x.dims[2] * channels;
    for (int64_t j = 0; j < width; j++) {
      const int64_t column = across.begin + across.step * j;
      const bool inside = hasRow && column >= 0 && column < x.dims[2];
      for (int64_t k = 0; k < channels; k++) *to++ = inside ? from[column * channels + k] : fill;
    }
  }
}

}  // namespace

bool planCropFlip(const Op &op, KernelPlan &plan) {
  if (op.fp64 || !isF32(op.out[0])) return false;
  const int64_t rows = op.out[0].dims[0] * op.out[0].dims[1];
  onePhase(plan, "philox", runCropFlip, ceilDiv(rows, cropRows(op)),
           streamTime(8 * static_cast<double>(op.out[0].size)) + 0.5 * static_cast<double>(op.out[0].size));
  byRows(plan, rows, cropRows(op), outputBit(0));
  return true;
}

}  // namespace gradline::cpu::GL_ISA
