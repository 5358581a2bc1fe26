// Reductions: sum and max over a set of axes, argmax over the last. Axes that lie together make x [outer, r, inner]; it
// is folded in launches that each take stretches of r of a fixed length, so the tree follows from the shape alone.
// Other sets of axes are walked element by element.
#pragma once
#include "axes.cuh"
#include "fold.cuh"

namespace gradline::cuda {

constexpr int kShortRow = 512;      // up to here a warp folds a row
constexpr int kRowStretch = 8192;   // elements of a row that one block folds
constexpr int kColumnStretch = 32;  // elements of a column that one thread folds

// x [rows, r] -> y [rows]: a warp each.
template <class F>
struct ShortRows {
  static constexpr int kThreads = kBlock;
  Global<const float> x;
  Global<float> y;
  int rows, r;

  GPU_DEVICE void run() const {
    const int row = block() * (kThreads / 32) + warp();
    if (row >= rows) return;
    const F f;
    float value = f.start();
    for (int i = lane(); i < r; i += 32) value = f(value, static_cast<float>(x[row * r + i]));
    value = foldWarp(value, f);
    if (lane() == 0) y[row] = value;
  }
};

// x [rows, r] -> y [rows, stretches]: a block for each stretch.
template <class F>
struct LongRows {
  static constexpr int kThreads = kBlock;
  Global<const float> x;
  Global<float> y;
  int r, stretches;

  GPU_DEVICE void run() const {
    const int row = block() / stretches, begin = block() % stretches * kRowStretch;
    const int end = static_cast<int>(smaller(begin + kRowStretch, r));
    const F f;
    float value = f.start();
    for (int i = begin + thread(); i < end; i += kThreads) value = f(value, static_cast<float>(x[row * r + i]));
    value = foldBlock<kThreads>(value, f);
    if (thread() == 0) y[block()] = value;
  }
};

// x [outer, r, inner] -> y [outer, stretches, inner]: a block for `width` columns of one stretch.
template <class F>
struct ColumnStretches {
  static constexpr int kThreads = kBlock;
  Global<const float> x;
  Global<float> y;
  int r, inner, width, stretch, stretches, tiles;

  GPU_DEVICE void run() const {
    const int tile = block() % tiles, part = block() / tiles % stretches, outer = block() / tiles / stretches;
    const int column = tile * width + thread() % width, lanes = kThreads / width;
    const int end = static_cast<int>(smaller((part + 1) * stretch, r));
    const F f;
    float value = f.start();
    if (column < inner) {
      for (int i = part * stretch + thread() / width; i < end; i += lanes)
        value = f(value, static_cast<float>(x[(outer * r + i) * inner + column]));
    }
    value = foldColumn<kThreads>(value, width, f);
    if (thread() < width && column < inner) y[(outer * stretches + part) * inner + column] = value;
  }
};

// Any axes: a warp for each element of y. `kept` leads from elements of y to places in x, `gone` from the elements that
// are folded to offsets from there.
template <class F>
struct Scattered {
  static constexpr int kThreads = kBlock;
  Global<const float> x;
  Global<float> y;
  int n, r;
  Axes kept, gone;

  GPU_DEVICE void run() const {
    const int i = block() * (kThreads / 32) + warp();
    if (i >= n) return;
    int base[1];
    placesOf(kept, i, base);
    const F f;
    float value = f.start();
    for (int j = lane(); j < r; j += 32) {
      int offset[1];
      placesOf(gone, j, offset);
      value = f(value, static_cast<float>(x[base[0] + offset[0]]));
    }
    value = foldWarp(value, f);
    if (lane() == 0) y[i] = value;
  }
};

// The first largest of a row; the first NaN counts as the largest. A warp for each row.
struct Argmax {
  static constexpr int kThreads = kBlock;
  Global<const float> x;
  Global<int32_t> y;
  int rows, channels;

  GPU_DEVICE static bool isBetter(float a, int atA, float b, int atB) {
    const bool nanA = a != a, nanB = b != b;
    if (nanA || nanB) return nanA && (!nanB || atA < atB);
    return a > b || (a == b && atA < atB);
  }
  GPU_DEVICE void run() const {
    const int row = block() * (kThreads / 32) + warp();
    if (row >= rows) return;
    float best = -INFINITY;
    int at = 0x7fffffff;
    for (int c = lane(); c < channels; c += 32) {
      const float value = x[row * channels + c];
      if (isBetter(value, c, best, at)) {
        best = value;
        at = c;
      }
    }
    for (int mask = 16; mask > 0; mask /= 2) {
      const float other = shuffleXor(best, mask);
      const int atOther = shuffleXor(at, mask);
      if (isBetter(other, atOther, best, at)) {
        best = other;
        at = atOther;
      }
    }
    if (lane() == 0) y[row] = at;
  }
};

}  // namespace gradline::cuda
