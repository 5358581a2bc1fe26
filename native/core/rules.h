// The small checks that shape rules are written with; each throws with the op, the operand and what was expected.
// Which op obeys which rule is shapes.cc.
#pragma once
#include <cmath>
#include <initializer_list>

#include "image.h"

namespace gradline {

constexpr double kMaxInteger = 0x1p53;

struct Shape {
  int rank = 0;
  int64_t dims[kMaxRank] = {};

  Shape(std::initializer_list<int64_t> list) {
    for (int64_t d : list) dims[rank++] = d;
  }
  explicit Shape(const Tensor &t) : rank(t.rank) {
    for (int i = 0; i < rank; i++) dims[i] = t.dims[i];
  }
};

class Checks {
 protected:
  Checks(const Image &image, const Op &op) : image_(image), op_(op), floats_(image.floatType()) {}

  [[noreturn]] void fail(const std::string &what) const { image_.fail(op_, what); }
  const Tensor &in(int i) const { return op_.in[i]; }
  const Tensor &out(int i = 0) const { return op_.out[i]; }

  void isType(const Tensor &t, DType dtype) const {
    if (t.dtype == dtype) return;
    Tensor wanted = t;
    wanted.dtype = dtype;
    fail(place(op_, t) + " is " + describe(t) + ", expected " + describe(wanted));
  }
  void isFloat(const Tensor &t) const { isType(t, floats_); }
  void allFloat() const {
    for (int i = 0; i < op_.inputs; i++) isFloat(in(i));
    for (int i = 0; i < op_.outputs; i++) isFloat(out(i));
  }
  void hasRank(const Tensor &t, int rank) const {
    if (t.rank != rank) fail(place(op_, t) + " is " + describe(t) + ", expected rank " + std::to_string(rank));
  }
  void hasShape(const Tensor &t, const Shape &shape) const {
    bool same = t.rank == shape.rank;
    for (int i = 0; same && i < t.rank; i++) same = t.dims[i] == shape.dims[i];
    if (same) return;
    Tensor wanted = t;
    wanted.rank = shape.rank;
    for (int i = 0; i < shape.rank; i++) wanted.dims[i] = shape.dims[i];
    fail(place(op_, t) + " is " + describe(t) + ", expected " + describe(wanted));
  }
  void sameShape(const Tensor &t, const Tensor &like) const { hasShape(t, Shape(like)); }
  void require(bool ok, const char *rule) const {
    if (ok) return;
    std::string text = std::string("breaks the rule: ") + rule + " (";
    for (int i = 0; i < op_.inputs; i++) text += (i ? ", " : "") + describe(in(i));
    text += " ->";
    for (int i = 0; i < op_.outputs; i++) text += (i ? ", " : " ") + describe(out(i));
    fail(text + ")");
  }

  std::string attributeName(int i) const { return attributeNames(infoOf(op_.code))[static_cast<size_t>(i)]; }
  // Attribute i as an integer in lowest..highest.
  int64_t integer(int i, int64_t lowest, double highest) const {
    const double value = op_.attr[i];
    if (value >= static_cast<double>(lowest) && value <= highest && value == std::floor(value)) {
      return static_cast<int64_t>(value);
    }
    fail("attribute " + attributeName(i) + " is " + toText(value) + ", expected an integer in " +
         std::to_string(lowest) + ".." + std::to_string(static_cast<int64_t>(highest)));
  }
  void flag(int i) const { integer(i, 0, 1); }
  void notNegative(int i) const {
    if (!(op_.attr[i] >= 0))
      fail("attribute " + attributeName(i) + " is " + toText(op_.attr[i]) + ", expected at least 0");
  }

  // The 256 bytes of a StepState: a region of its own, or an input when nothing changes it.
  void isStep(const Tensor &t) const {
    isType(t, DType::u8);
    hasShape(t, {static_cast<int64_t>(sizeof(StepState))});
    const RegionKind kind = image_.kindOf(t);
    if (kind != RegionKind::step && kind != RegionKind::input)
      fail(place(op_, t) + " does not lie in a region of kind step or input");
  }

  const Image &image_;
  const Op &op_;
  const DType floats_;
};

}  // namespace gradline
