// Elementwise ops: one, two or three operands, equal in shape or broadcast. A thread makes four neighbours of the
// output, with 16-byte loads where operands lie side by side. Products take these ops as epilogues: see scalar.cuh.
#pragma once
#include "axes.cuh"
#include "scalar.cuh"

namespace gradline::cuda {

// y = f(x)
template <OpCode code>
struct Unary {
  static constexpr int kThreads = kBlock;
  Global<const float> x;
  Global<float> y;
  int n;
  float a, b;

  GPU_DEVICE void run() const {
    const int i = (block() * kThreads + thread()) * kPerThread;
    if (i + kPerThread <= n) {
      Float4 q = load4(x, i);
      GPU_UNROLL
      for (int k = 0; k < kPerThread; k++) q.v[k] = unary<code>(q.v[k], a, b);
      store4(y, i, q);
    } else {
      for (int k = i; k < n; k++) y[k] = unary<code>(x[k], a, b);
    }
  }
};

// y = f(a, b), shapes equal
template <OpCode code>
struct Binary {
  static constexpr int kThreads = kBlock;
  Global<const float> a, b;
  Global<float> y;
  int n;
  float attr, second;

  GPU_DEVICE void run() const {
    const int i = (block() * kThreads + thread()) * kPerThread;
    if (i + kPerThread <= n) {
      Float4 p = load4(a, i);
      const Float4 q = load4(b, i);
      GPU_UNROLL
      for (int k = 0; k < kPerThread; k++) p.v[k] = binary<code, float>(p.v[k], q.v[k], attr, second);
      store4(y, i, p);
    } else {
      for (int k = i; k < n; k++) y[k] = binary<code, float>(a[k], b[k], attr, second);
    }
  }
};

template <OpCode code, class T>
struct Combine {
  static constexpr int kOperands = 2;
  Global<const T> a, b;
  float attr, second;

  GPU_DEVICE float at(const int (&place)[2]) const { return binary<code, T>(a[place[0]], b[place[1]], attr, second); }
};

// A NaN condition is not 0 and so chooses a.
struct Choose {
  static constexpr int kOperands = 3;
  Global<const float> c, a, b;

  GPU_DEVICE float at(const int (&place)[3]) const {
    const float condition = c[place[0]];
    return condition != 0 ? a[place[1]] : b[place[2]];
  }
};

// y = F of operands that broadcast. y may lie on an operand of its own size: an element is read by the thread that
// writes it, and by no other.
template <class F>
struct Broadcasting {
  static constexpr int kThreads = kBlock;
  F f;
  Global<float> y;
  int n;
  Axes axes;

  GPU_DEVICE void run() const {
    // Threads side by side take elements side by side, so that operands that repeat are read together.
    for (int k = 0; k < kPerThread; k++) {
      const int i = (block() * kPerThread + k) * kThreads + thread();
      if (i >= n) return;
      int place[F::kOperands];
      placesOf(axes, i, place);
      y[i] = f.at(place);
    }
  }
};

}  // namespace gradline::cuda
