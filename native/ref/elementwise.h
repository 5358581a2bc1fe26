// Elementwise ops: namespace `scalar` says what each does to one element; the kernels below apply it to whole tensors.
// The same scalar functions serve as epilogues (epilogue.h), so a fused op cannot mean anything else.
// Comparisons are written so that NaN goes the way ops.def says: a comparison with NaN is false.
#pragma once
#include <cmath>

#include "walk.h"

namespace gradline::ref {

namespace scalar {

template <class T>
T neg(T x) {
  return -x;
}
template <class T>
T abs(T x) {
  return std::abs(x);
}
template <class T>
T sign(T x) {
  return x > 0 ? T(1) : x < 0 ? T(-1) : x;  // x itself is 0 or NaN here
}
template <class T>
T exp(T x) {
  return std::exp(x);
}
template <class T>
T log(T x) {
  return std::log(x);
}
template <class T>
T log1p(T x) {
  return std::log1p(x);
}
template <class T>
T erf(T x) {
  return std::erf(x);
}
template <class T>
T sqrt(T x) {
  return std::sqrt(x);
}
template <class T>
T scale(T x, T factor, T offset) {
  return factor * x + offset;
}
template <class T>
T relu(T x) {
  return x <= 0 ? T(0) : x;
}
template <class T>
T leakyRelu(T x, T slope) {
  return x > 0 ? x : slope * x;
}
template <class T>
T elu(T x, T alpha) {
  return x > 0 ? x : alpha * std::expm1(x);
}
template <class T>
T sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}
template <class T>
T tanh(T x) {
  return std::tanh(x);
}

template <class T>
T reluGrad(T dy, T y) {
  return y > 0 ? dy : T(0);
}
template <class T>
T leakyReluGrad(T dy, T y, T slope) {
  return y > 0 ? dy : slope * dy;
}
template <class T>
T eluGrad(T dy, T y, T alpha) {
  return y > 0 ? dy : dy * (y + alpha);  // alpha e^x = y + alpha where x <= 0
}
template <class T>
T sigmoidGrad(T dy, T y) {
  return dy * y * (T(1) - y);
}
template <class T>
T tanhGrad(T dy, T y) {
  return dy * (T(1) - y * y);
}

template <class T>
T add(T a, T b) {
  return a + b;
}
template <class T>
T sub(T a, T b) {
  return a - b;
}
template <class T>
T mul(T a, T b) {
  return a * b;
}
template <class T>
T div(T a, T b) {
  return a / b;
}
template <class T>
T maximum(T a, T b) {
  return a > b || a != a ? a : b;  // b is returned when it is NaN, since a > NaN is false
}
template <class T>
T minimum(T a, T b) {
  return a < b || a != a ? a : b;
}
template <class T>
T weightedSum(T a, T b, T weightA, T weightB) {
  return weightA * a + weightB * b;
}

}  // namespace scalar

// y[i] = f(x[i]), shapes equal. y may lie on x.
template <class T, class F>
void mapUnary(const Op &op, F f) {
  const T *x = op.in[0].as<T>();
  T *y = op.out[0].as<T>();
  for (int64_t i = 0; i < op.out[0].size; i++) y[i] = f(x[i]);
}

// y[i] = f(a[..], b[..]), a and b broadcast to the shape of y. y may lie on an operand of its own size, since an
// element is read before it is written and never again.
template <class A, class Y, class F>
void mapBinary(const Op &op, F f) {
  const A *a = op.in[0].as<A>(), *b = op.in[1].as<A>();
  Y *y = op.out[0].as<Y>();
  const Strides operands[] = {broadcastStrides(op.in[0], op.out[0]), broadcastStrides(op.in[1], op.out[0])};
  forEachElement(op.out[0], operands, [&](int64_t i, const int64_t *at) { y[i] = f(a[at[0]], b[at[1]]); });
}

// ---- One operand: x [...] -> y [...]

template <class T>
void neg(const Op &op) {
  mapUnary<T>(op, scalar::neg<T>);
}
template <class T>
void abs(const Op &op) {
  mapUnary<T>(op, scalar::abs<T>);
}
template <class T>
void sign(const Op &op) {
  mapUnary<T>(op, scalar::sign<T>);
}
template <class T>
void exp(const Op &op) {
  mapUnary<T>(op, scalar::exp<T>);
}
template <class T>
void log(const Op &op) {
  mapUnary<T>(op, scalar::log<T>);
}
template <class T>
void log1p(const Op &op) {
  mapUnary<T>(op, scalar::log1p<T>);
}
template <class T>
void erf(const Op &op) {
  mapUnary<T>(op, scalar::erf<T>);
}
template <class T>
void sqrt(const Op &op) {
  mapUnary<T>(op, scalar::sqrt<T>);
}
template <class T>
void scale(const Op &op) {
  const T factor = static_cast<T>(op.attr[attr::scale::factor]), offset = static_cast<T>(op.attr[attr::scale::offset]);
  mapUnary<T>(op, [=](T x) { return scalar::scale(x, factor, offset); });
}
template <class T>
void relu(const Op &op) {
  mapUnary<T>(op, scalar::relu<T>);
}
template <class T>
void leakyRelu(const Op &op) {
  const T slope = static_cast<T>(op.attr[attr::leakyRelu::slope]);
  mapUnary<T>(op, [=](T x) { return scalar::leakyRelu(x, slope); });
}
template <class T>
void elu(const Op &op) {
  const T alpha = static_cast<T>(op.attr[attr::elu::alpha]);
  mapUnary<T>(op, [=](T x) { return scalar::elu(x, alpha); });
}
template <class T>
void sigmoid(const Op &op) {
  mapUnary<T>(op, scalar::sigmoid<T>);
}
template <class T>
void tanh(const Op &op) {
  mapUnary<T>(op, scalar::tanh<T>);
}

// ---- Derivatives of activations: dy [...], y [...] -> dx [...]

template <class T>
void reluGrad(const Op &op) {
  mapBinary<T, T>(op, scalar::reluGrad<T>);
}
template <class T>
void leakyReluGrad(const Op &op) {
  const T slope = static_cast<T>(op.attr[attr::leakyReluGrad::slope]);
  mapBinary<T, T>(op, [=](T dy, T y) { return scalar::leakyReluGrad(dy, y, slope); });
}
template <class T>
void eluGrad(const Op &op) {
  const T alpha = static_cast<T>(op.attr[attr::eluGrad::alpha]);
  mapBinary<T, T>(op, [=](T dy, T y) { return scalar::eluGrad(dy, y, alpha); });
}
template <class T>
void sigmoidGrad(const Op &op) {
  mapBinary<T, T>(op, scalar::sigmoidGrad<T>);
}
template <class T>
void tanhGrad(const Op &op) {
  mapBinary<T, T>(op, scalar::tanhGrad<T>);
}

// ---- Two or three operands, broadcast: a [...], b [...] -> y [joint shape]

template <class T>
void add(const Op &op) {
  mapBinary<T, T>(op, scalar::add<T>);
}
template <class T>
void sub(const Op &op) {
  mapBinary<T, T>(op, scalar::sub<T>);
}
template <class T>
void mul(const Op &op) {
  mapBinary<T, T>(op, scalar::mul<T>);
}
template <class T>
void div(const Op &op) {
  mapBinary<T, T>(op, scalar::div<T>);
}
template <class T>
void maximum(const Op &op) {
  mapBinary<T, T>(op, scalar::maximum<T>);
}
template <class T>
void minimum(const Op &op) {
  mapBinary<T, T>(op, scalar::minimum<T>);
}
template <class T>
void weightedSum(const Op &op) {
  const T a = static_cast<T>(op.attr[attr::weightedSum::weightA]),
          b = static_cast<T>(op.attr[attr::weightedSum::weightB]);
  mapBinary<T, T>(op, [=](T x, T y) { return scalar::weightedSum(x, y, a, b); });
}
template <class T>
void greater(const Op &op) {
  mapBinary<T, T>(op, [](T a, T b) { return a > b ? T(1) : T(0); });
}
// a, b both float or both i32; y float.
template <class T>
void equal(const Op &op) {
  const auto test = [](auto a, auto b) { return a == b ? T(1) : T(0); };
  if (op.in[0].dtype == DType::i32)
    mapBinary<int32_t, T>(op, test);
  else
    mapBinary<T, T>(op, test);
}
// c, a, b [...] -> y [joint shape]. A NaN condition is not 0 and so chooses a.
template <class T>
void select(const Op &op) {
  const T *c = op.in[0].as<T>(), *a = op.in[1].as<T>(), *b = op.in[2].as<T>();
  T *y = op.out[0].as<T>();
  const Strides operands[] = {broadcastStrides(op.in[0], op.out[0]), broadcastStrides(op.in[1], op.out[0]),
                              broadcastStrides(op.in[2], op.out[0])};
  forEachElement(op.out[0], operands,
                 [&](int64_t i, const int64_t *at) { y[i] = c[at[0]] != 0 ? a[at[1]] : b[at[2]]; });
}

}  // namespace gradline::ref
