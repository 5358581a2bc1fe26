// Random numbers and batch sampling. Every number is a function of (seed, step, stream, purpose, element), see
// philox.h: nothing is stored between ops, and the derivative of dropout draws the same mask again.
#pragma once
#include <algorithm>
#include <cmath>

#include "../philox.h"

namespace gradline::ref {

// The 32 random bits of element i: lane i % 4 of block i / 4.
inline uint32_t bitsOf(const StepState &step, uint32_t stream, Purpose purpose, uint64_t i) {
  return randomBlock(step.seed, step.step, stream, purpose, i / 4).v[i % 4];
}

// x [...], step -> y [...] = x / (1 - rate) where kept, else 0. y may lie on x.
template <class T>
void dropout(const Op &op) {
  const double rate = op.attr[attr::dropout::rate];
  const uint32_t stream = static_cast<uint32_t>(op.attr[attr::dropout::stream]);
  const uint32_t threshold = dropThreshold(rate);
  const T factor = static_cast<T>(1 / (1 - rate));  // infinite at rate 1, where no element is kept
  const StepState &step = *op.in[1].as<StepState>();
  const T *x = op.in[0].as<T>();
  T *y = op.out[0].as<T>();
  for (int64_t i = 0; i < op.out[0].size; i++) {
    const bool kept = bitsOf(step, stream, Purpose::dropout, static_cast<uint64_t>(i)) >> 8 >= threshold;
    y[i] = kept ? x[i] * factor : T(0);
  }
}

// step -> y [...] in [low, high). low + (high - low) * u may round up to high, which is then taken back one unit.
template <class T>
void randomUniform(const Op &op) {
  const T low = static_cast<T>(op.attr[attr::randomUniform::low]);
  const T high = static_cast<T>(op.attr[attr::randomUniform::high]);
  const uint32_t stream = static_cast<uint32_t>(op.attr[attr::randomUniform::stream]);
  const StepState &step = *op.in[0].as<StepState>();
  T *y = op.out[0].as<T>();
  for (int64_t i = 0; i < op.out[0].size; i++) {
    const T u = uniform24(bitsOf(step, stream, Purpose::uniform, static_cast<uint64_t>(i)));
    y[i] = std::min(low + (high - low) * u, std::nextafter(high, low));
  }
}

// step -> y [...], normal. Box-Muller (1958): each pair of uniform numbers of a block gives a pair of elements. In
// double, and from 1 - u in (0, 1], so that the logarithm is finite.
template <class T>
void randomNormal(const Op &op) {
  const double mean = op.attr[attr::randomNormal::mean], deviation = op.attr[attr::randomNormal::std];
  const uint32_t stream = static_cast<uint32_t>(op.attr[attr::randomNormal::stream]);
  const StepState &step = *op.in[0].as<StepState>();
  const double fullTurn = 6.283185307179586476925;
  T *y = op.out[0].as<T>();
  for (int64_t i = 0; i < op.out[0].size; i++) {
    const uint64_t pair = static_cast<uint64_t>(i) & ~uint64_t{1};
    const double u = 1 - static_cast<double>(uniform24(bitsOf(step, stream, Purpose::normal, pair)));
    const double angle = fullTurn * static_cast<double>(uniform24(bitsOf(step, stream, Purpose::normal, pair + 1)));
    const double radius = std::sqrt(-2 * std::log(u));
    y[i] = static_cast<T>(mean + deviation * (radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle))));
  }
}

// Along an axis element i of a window is element begin + step * i of the image. `place` is 32 random bits.
struct WindowAxis {
  int64_t begin, step;

  WindowAxis(int64_t image, int64_t window, int64_t beyond, uint32_t place, bool mirrored) {
    const uint64_t places = static_cast<uint64_t>(image + 2 * beyond - window + 1);
    const int64_t first = static_cast<int64_t>((place * places) >> 32) - beyond;  // Lemire 2019, without the rejection
    begin = mirrored ? first + window - 1 : first;
    step = mirrored ? -1 : 1;
  }
  int64_t ofImage(int64_t i) const { return begin + step * i; }
  int64_t ofWindow(int64_t i) const { return step * (i - begin); }
};

// x [n, h, w, c], step -> y [n, h', w', c]: the window of each image, mirrored or not, and `fill` beyond the image.
// Back: the gradient of the window at the place of each pixel, 0 outside of it. One block of four numbers for each
// image.
template <class T>
void cropFlip(const Op &op) {
  namespace a = attr::cropFlip;
  const Tensor &x = op.in[0], &y = op.out[0];
  const bool back = op.attr[a::back] != 0;
  const Tensor &image = back ? y : x, &window = back ? x : y;
  const StepState &step = *op.in[1].as<StepState>();
  const T fill = back ? T(0) : static_cast<T>(op.attr[a::fill]);
  T *to = y.as<T>();
  for (int64_t n = 0; n < y.dims[0]; n++) {
    const Philox4 bits = randomBlock(step.seed, step.step, static_cast<uint32_t>(op.attr[a::stream]), Purpose::window,
                                     static_cast<uint64_t>(n));
    const WindowAxis rows(image.dims[1], window.dims[1], op.iattr(a::top), bits.v[0],
                          bits.v[2] >> 8 < dropThreshold(op.attr[a::vertical]));
    const WindowAxis columns(image.dims[2], window.dims[2], op.iattr(a::left), bits.v[1],
                             bits.v[3] >> 8 < dropThreshold(op.attr[a::horizontal]));
    for (int64_t i = 0; i < y.dims[1]; i++) {
      for (int64_t j = 0; j < y.dims[2]; j++) {
        const int64_t row = back ? rows.ofWindow(i) : rows.ofImage(i);
        const int64_t column = back ? columns.ofWindow(j) : columns.ofImage(j);
        const bool inside = row >= 0 && row < x.dims[1] && column >= 0 && column < x.dims[2];
        const T *from = inside ? x.as<T>() + ((n * x.dims[1] + row) * x.dims[2] + column) * x.dims[3] : nullptr;
        for (int64_t k = 0; k < y.dims[3]; k++) *to++ = inside ? from[k] : fill;
      }
    }
  }
}

// step -> rows i32 [batch], each in [0, samples). Position first + i of the epoch wraps, so that a batch that does not
// divide samples still names rows that exist.
template <class T>
void sampleRows(const Op &op) {
  const uint64_t samples = static_cast<uint64_t>(op.attr[attr::sampleRows::samples]);
  const int64_t shuffle = op.iattr(attr::sampleRows::shuffle);
  const StepState &step = *op.in[0].as<StepState>();
  int32_t *rows = op.out[0].as<int32_t>();
  for (int64_t i = 0; i < op.out[0].size; i++) {
    const uint64_t element = static_cast<uint64_t>(i), position = (step.first + element) % samples;
    uint64_t row = position;
    if (shuffle == 1) row = permuteIndex(position, samples, step.seed, step.epoch);
    // A 32-bit number maps to [0, samples) by the upper half of their product (Lemire 2019, without the rejection).
    if (shuffle == 2) row = (bitsOf(step, 0, Purpose::choice, element) * samples) >> 32;
    rows[i] = static_cast<int32_t>(row);
  }
}

}  // namespace gradline::ref
