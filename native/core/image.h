// The image of a program: what its encoded bytes say, resolved into ops over tensors, before any memory exists.
// decode() reads untrusted bytes; verify() proves that running the image cannot touch foreign memory or read what was
// never written. After both, nothing is checked again.
#pragma once
#include <string>
#include <vector>

#include "../abi.h"
#include "error.h"
#include "optable.h"

namespace gradline {

struct Image {
  Image() = default;
  Image(Image &&) = default;  // not copied: ops point into `segments`

  Numerics numerics = Numerics::fp32;
  std::vector<RegionRecord> regions;
  std::vector<Tensor> values;
  std::vector<Op> ops;  // their tensors are copies of `values`
  std::vector<SegmentRecord> segments;
  std::vector<uint32_t> inputs, outputs;  // value ids
  std::vector<uint32_t> siteOfOp;
  std::vector<std::string> sites;
  int64_t metricRegion = -1;  // index of the one region of kind metric, -1: none

  RegionKind kindOf(const Tensor &t) const { return static_cast<RegionKind>(regions[t.region].kind); }
  DType floatType() const { return numerics == Numerics::fp64 ? DType::f64 : DType::f32; }
  const std::string &site(uint32_t op) const;

  // "op 3 (matmul) at dense1 mnist.ts:12: <what>"
  Error errorAt(const Op &op, ErrorCode code, const std::string &what) const;
  [[noreturn]] void fail(const Op &op, const std::string &what) const;
};

// Throws Error (program) when the bytes are not a program of this version, or name what does not exist.
Image decode(const uint8_t *bytes, size_t size);

// Throws Error (program) at the first op that breaks a rule. Sets the segment tables of the ops.
void verify(Image &image);

// The shape, dtype and attribute rules of one op: after it no kernel of this op can leave its operands.
void checkShapes(const Image &image, const Op &op);

const char *nameOf(RegionKind kind);
std::string describe(const Tensor &t);             // "f32 [32,256]"
std::string place(const Op &op, const Tensor &t);  // "input 1", "output 0" or "operand of epilogue 0"; t is one of op's

}  // namespace gradline
