// Ops that move elements to other places or repeat, convert or pick them. Shapes say where; nothing is computed beyond
// conversion of dtype and the factor and offset of gather. All but gatherGrad work for every dtype.
#pragma once
#include <limits>
#include <type_traits>

#include "walk.h"

namespace gradline::ref {

// x as To: integers truncate toward zero and saturate, NaN gives 0. Doubles hold every i32 and u8, so the comparison is
// exact for all sources.
template <class To, class From>
To convert(From x) {
  if constexpr (std::is_floating_point_v<To>) {
    return static_cast<To>(x);
  } else {
    using Limits = std::numeric_limits<To>;
    const double value = static_cast<double>(x);
    if (value != value) return 0;
    if (value <= static_cast<double>(Limits::min())) return Limits::min();
    if (value >= static_cast<double>(Limits::max())) return Limits::max();
    return static_cast<To>(value);
  }
}

// x [...] -> y [...], same number of elements in the same order, as the dtype of y.
template <class T>
void copy(const Op &op) {
  withDType(op.in[0].dtype, [&](auto from) {
    withDType(op.out[0].dtype, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      const From *x = op.in[0].as<From>();
      To *y = op.out[0].as<To>();
      for (int64_t i = 0; i < op.out[0].size; i++) y[i] = convert<To>(x[i]);
    });
  });
}

// -> y [...] = value
template <class T>
void fill(const Op &op) {
  withDType(op.out[0].dtype, [&](auto zero) {
    using Element = decltype(zero);
    const Element value = convert<Element>(op.attr[attr::fill::value]);
    Element *y = op.out[0].as<Element>();
    for (int64_t i = 0; i < op.out[0].size; i++) y[i] = value;
  });
}

// y [i] = x [start + strides . index of i], for every element i of y in storage order.
inline void pick(const Tensor &x, const Tensor &y, int64_t start, const Strides &strides) {
  withDType(y.dtype, [&](auto zero) {
    using Element = decltype(zero);
    const Element *from = x.as<Element>() + start;
    Element *to = y.as<Element>();
    forEachElement(y, {strides}, [=](int64_t i, const int64_t *at) { to[i] = from[at[0]]; });
  });
}

// y [start + strides . index of i] = x [i], for every element i of x in storage order.
inline void place(const Tensor &x, const Tensor &y, int64_t start, const Strides &strides) {
  withDType(y.dtype, [&](auto zero) {
    using Element = decltype(zero);
    const Element *from = x.as<Element>();
    Element *to = y.as<Element>() + start;
    forEachElement(x, {strides}, [=](int64_t i, const int64_t *at) { to[at[0]] = from[i]; });
  });
}

// Offset in the tensor with these strides of the index that the attributes b0 .. give.
inline int64_t blockStart(const Op &op, const Tensor &tensor) {
  const Strides strides = stridesOf(tensor);
  int64_t start = 0;
  for (int axis = 0; axis < tensor.rank; axis++) start += op.iattr(attr::slice::b0 + axis) * strides.axis[axis];
  return start;
}

// x [...] -> y [...], x aligned with y from the right and repeated where its length is 1 or an axis is missing.
template <class T>
void broadcast(const Op &op) {
  pick(op.in[0], op.out[0], 0, broadcastStrides(op.in[0], op.out[0]));
}

// x [...] -> y [...]: axis i of y is axis p_i of x.
template <class T>
void transpose(const Op &op) {
  const Strides own = stridesOf(op.in[0]);
  Strides strides;
  for (int axis = 0; axis < op.out[0].rank; axis++) strides.axis[axis] = own.axis[op.iattr(attr::transpose::p0 + axis)];
  pick(op.in[0], op.out[0], 0, strides);
}

// x_0, x_1, ... [.., length_j, ..] -> y [.., sum of lengths, ..]
template <class T>
void concat(const Op &op) {
  const int64_t axis = op.iattr(attr::concat::axis);
  const Strides strides = stridesOf(op.out[0]);
  int64_t begin = 0;
  for (int j = 0; j < op.inputs; j++) {
    place(op.in[j], op.out[0], begin * strides.axis[axis], strides);
    begin += op.in[j].dims[axis];
  }
}

// x [...] -> y [...]: the block of x that begins at b and has the shape of y.
template <class T>
void slice(const Op &op) {
  pick(op.in[0], op.out[0], blockStart(op, op.in[0]), stridesOf(op.in[0]));
}

// x [...] -> y [...]: zeros, and x in the block that begins at b.
template <class T>
void pad(const Op &op) {
  withDType(op.out[0].dtype, [&](auto zero) {
    auto *y = op.out[0].as<decltype(zero)>();
    for (int64_t i = 0; i < op.out[0].size; i++) y[i] = zero;
  });
  place(op.in[0], op.out[0], blockStart(op, op.out[0]), stridesOf(op.out[0]));
}

// indices i32 [n] into r rows: true when all lie in [0, r), else reports the first that does not.
inline bool indicesInRange(const Op &op, const Tensor &indices, int64_t rows) {
  const int32_t *index = indices.as<int32_t>();
  for (int64_t i = 0; i < indices.size; i++)
    if (index[i] < 0 || index[i] >= rows) {
      report(op, Fault::indexOutOfRange, i, index[i], rows);
      return false;
    }
  return true;
}

// table [r, ...] float, u8 or i32, indices i32 [n] -> y [n, ...]: factor * row + offset as float; an i32 table gives
// its rows as they are, as i32.
template <class T>
void gather(const Op &op) {
  const Tensor &table = op.in[0], &indices = op.in[1];
  if (!indicesInRange(op, indices, table.dims[0])) return;
  const T factor = static_cast<T>(op.attr[attr::gather::factor]),
          offset = static_cast<T>(op.attr[attr::gather::offset]);
  const int64_t n = indices.size, inner = n ? op.out[0].size / n : 0;
  withDType(table.dtype, [&](auto zero) {
    using Element = decltype(zero);
    constexpr bool asIs = std::is_same_v<Element, int32_t>;
    using To = std::conditional_t<asIs, int32_t, T>;
    To *y = op.out[0].as<To>();
    for (int64_t i = 0; i < n; i++) {
      const Element *row = table.as<Element>() + indices.as<int32_t>()[i] * inner;
      for (int64_t j = 0; j < inner; j++) {
        if constexpr (asIs)
          y[i * inner + j] = row[j];
        else
          y[i * inner + j] = factor * static_cast<T>(row[j]) + offset;
      }
    }
  });
}

// dy [n, ...], indices i32 [n] -> dtable [r, ...]: factor * dy added at each index, in order of n; rows that no index
// names are 0.
template <class T>
void gatherGrad(const Op &op) {
  const Tensor &indices = op.in[1];
  if (!indicesInRange(op, indices, op.out[0].dims[0])) return;
  const T factor = static_cast<T>(op.attr[attr::gatherGrad::factor]);
  const int64_t n = indices.size, inner = n ? op.in[0].size / n : 0;
  const T *dy = op.in[0].as<T>();
  T *dtable = op.out[0].as<T>();
  for (int64_t i = 0; i < op.out[0].size; i++) dtable[i] = 0;
  for (int64_t i = 0; i < n; i++) {
    T *row = dtable + indices.as<int32_t>()[i] * inner;
    for (int64_t j = 0; j < inner; j++) row[j] += factor * dy[i * inner + j];
  }
}

}  // namespace gradline::ref
