// Elementwise ops: one, two or three operands, equal in shape or broadcast. A thread makes four neighbours of the
// output, with 16-byte loads where operands lie side by side. Products take these ops as epilogues: see scalar.cuh.
#include "axes.cuh"
#include "scalar.cuh"

namespace gradline::cuda {
namespace {

constexpr int kBlock = 256, kPerThread = 4, kPerBlock = kBlock * kPerThread;

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

Grid gridFor(const Op &op) { return {ceilDiv(op.out[0].size, kPerBlock)}; }
int elementsOf(const Op &op) { return static_cast<int>(op.out[0].size); }

template <class F>
bool planBroadcasting(const Op &op, Launches &launches, const F &f) {
  int steps[kMaxWalked][kMaxRank] = {};
  for (int k = 0; k < op.inputs; k++) broadcastSteps(op.in[k], op.out[0], steps[k]);
  const Axes axes = joined(op.out[0], steps, op.inputs);
  launch(launches, Broadcasting<F>{f, global<float>(op.out[0]), elementsOf(op), axes}, gridFor(op));
  return true;
}

template <OpCode code>
bool planUnaryOf(const Op &op, Launches &launches) {
  const float a = static_cast<float>(op.attr[0]), b = static_cast<float>(op.attr[1]);
  const Unary<code> kernel = {global<const float>(op.in[0]), global<float>(op.out[0]), elementsOf(op), a, b};
  launch(launches, kernel, gridFor(op));
  return true;
}

template <OpCode code>
bool planBinaryOf(const Op &op, Launches &launches) {
  const Global<const float> a = global<const float>(op.in[0]), b = global<const float>(op.in[1]);
  const float attr = static_cast<float>(op.attr[0]), second = static_cast<float>(op.attr[1]);
  if (op.in[0].size != op.out[0].size || op.in[1].size != op.out[0].size)
    return planBroadcasting(op, launches, Combine<code, float>{a, b, attr, second});
  launch(launches, Binary<code>{a, b, global<float>(op.out[0]), elementsOf(op), attr, second}, gridFor(op));
  return true;
}

}  // namespace

bool planUnary(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  switch (op.code) {
#define GL_CASE(name) \
  case OpCode::name:  \
    return planUnaryOf<OpCode::name>(op, launches);
    GL_CASE(neg)
    GL_CASE(abs)
    GL_CASE(sign)
    GL_CASE(exp)
    GL_CASE(log)
    GL_CASE(log1p)
    GL_CASE(erf)
    GL_CASE(sqrt)
    GL_CASE(scale)
    GL_CASE(relu)
    GL_CASE(leakyRelu)
    GL_CASE(elu)
    GL_CASE(sigmoid)
    GL_CASE(tanh)
#undef GL_CASE
    default:
      return false;
  }
}

bool planBinary(const Op &op, Launches &launches) {
  if (op.code == OpCode::equal && op.in[0].dtype == DType::i32) {
    if (!isCountable(op)) return false;
    if (op.out[0].size == 0) return true;
    const Combine<OpCode::equal, int32_t> f = {global<const int32_t>(op.in[0]), global<const int32_t>(op.in[1]), 0, 0};
    return planBroadcasting(op, launches, f);
  }
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  switch (op.code) {
#define GL_CASE(name) \
  case OpCode::name:  \
    return planBinaryOf<OpCode::name>(op, launches);
    GL_CASE(reluGrad)
    GL_CASE(leakyReluGrad)
    GL_CASE(eluGrad)
    GL_CASE(sigmoidGrad)
    GL_CASE(tanhGrad)
    GL_CASE(add)
    GL_CASE(sub)
    GL_CASE(mul)
    GL_CASE(div)
    GL_CASE(maximum)
    GL_CASE(minimum)
    GL_CASE(weightedSum)
    GL_CASE(greater)
    GL_CASE(equal)
#undef GL_CASE
    default:
      return false;
  }
}

bool planSelect(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  const Choose f = {global<const float>(op.in[0]), global<const float>(op.in[1]), global<const float>(op.in[2])};
  return planBroadcasting(op, launches, f);
}

}  // namespace gradline::cuda
