// Reductions: sum and max over a set of axes, argmax over the last. Axes that lie together make x [outer, r, inner]; it
// is folded in launches that each take stretches of r of a fixed length, so the tree follows from the shape alone.
// Other sets of axes are walked element by element.
#include "axes.cuh"
#include "fold.cuh"

namespace gradline::cuda {
namespace {

constexpr int kBlock = 256;
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

// x [outer, r, inner] -> y [outer, inner] in as many launches as r takes.
template <class F>
void planLayers(const Op &op, Launches &launches, int64_t outer, int64_t r, int64_t inner) {
  Global<const float> x = global<const float>(op.in[0]);
  const Global<float> y = global<float>(op.out[0]);
  while (true) {
    const int width = columnsPerBlock(inner);
    const int64_t stretch = inner == 1 ? kRowStretch : kColumnStretch * (kBlock / width);
    const int64_t stretches = larger(1, ceilDiv(r, stretch)), tiles = ceilDiv(inner, width);
    const Global<float> to = stretches == 1 ? y : scratch<float>(op, launches, outer * stretches * inner);
    if (inner == 1 && r <= kShortRow) {
      launch(launches, ShortRows<F>{x, to, static_cast<int>(outer), static_cast<int>(r)},
             {ceilDiv(outer, kBlock / 32)});
    } else if (inner == 1) {
      launch(launches, LongRows<F>{x, to, static_cast<int>(r), static_cast<int>(stretches)}, {outer * stretches});
    } else {
      const ColumnStretches<F> kernel = {x,
                                         to,
                                         static_cast<int>(r),
                                         static_cast<int>(inner),
                                         width,
                                         static_cast<int>(stretch),
                                         static_cast<int>(stretches),
                                         static_cast<int>(tiles)};
      launch(launches, kernel, {outer * stretches * tiles});
    }
    if (stretches == 1) return;
    x = to;
    r = stretches;
  }
}

template <class F>
bool planReduce(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  const Tensor &x = op.in[0], &y = op.out[0];
  if (y.size == 0) return true;
  // Lengths of runs of axes, reduced or kept in turn; axes of length 1 belong to any run.
  int64_t length[kMaxRank + 1] = {};
  bool reduced[kMaxRank + 1] = {};
  int runs = 0;
  for (int axis = 0; axis < x.rank; axis++) {
    if (x.dims[axis] == 1) continue;
    const bool gone = (op.iattr(0) >> axis & 1) != 0;
    if (runs == 0 || reduced[runs - 1] != gone) {
      length[runs] = 1;
      reduced[runs++] = gone;
    }
    length[runs - 1] *= x.dims[axis];
  }
  const int first = runs > 0 && !reduced[0] ? 1 : 0;  // of the reduced runs
  const int64_t outer = first ? length[0] : 1, inner = first + 1 < runs ? length[first + 1] : 1;
  if (first + 2 >= runs) {
    planLayers<F>(op, launches, outer, first < runs ? length[first] : 1, inner);
    return true;
  }
  Tensor kept = x, gone = x;
  int steps[kMaxWalked][kMaxRank] = {};
  broadcastSteps(x, x, steps[0]);
  for (int axis = 0; axis < x.rank; axis++) ((op.iattr(0) >> axis & 1) != 0 ? kept : gone).dims[axis] = 1;
  const int64_t r = x.size / y.size;
  launch(launches,
         Scattered<F>{global<const float>(x), global<float>(y), static_cast<int>(y.size), static_cast<int>(r),
                      joined(kept, steps, 1), joined(gone, steps, 1)},
         {ceilDiv(y.size, kBlock / 32)});
  return true;
}

}  // namespace

bool planSum(const Op &op, Launches &launches) { return planReduce<AddUp>(op, launches); }
bool planMax(const Op &op, Launches &launches) { return planReduce<TakeLarger>(op, launches); }

bool planArgmax(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.in[0])) return false;
  const int rows = static_cast<int>(op.out[0].size), channels = static_cast<int>(op.in[0].channels());
  if (rows == 0) return true;
  if (channels == 0) return false;
  launch(launches, Argmax{global<const float>(op.in[0]), global<int32_t>(op.out[0]), rows, channels},
         {ceilDiv(rows, kBlock / 32)});
  return true;
}

}  // namespace gradline::cuda
