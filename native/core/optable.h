// The table of ops.def as data: name, family, arity, flags and attribute names by opcode, and sizes of dtypes. It says
// nothing about shapes.
#pragma once
#include <cstdio>
#include <string>
#include <vector>

#include "../abi.h"

namespace gradline {

struct OpInfo {
  const char *name, *family;
  int fewestInputs, mostInputs, outputs;
  uint32_t flags;
  const char *attributes;  // "strideH, strideW", "" for none

  constexpr int fewestOutputs() const { return outputs - (flags & kLastOptional ? 1 : 0); }
};

constexpr OpInfo kOpTable[kOpCount] = {
#define GL_OP(name, family, fewest, most, outputs, flags, ...) \
  {#name, #family, fewest, most, outputs, static_cast<uint32_t>(flags), #__VA_ARGS__},
#include "../ops.def"
#undef GL_OP
};

constexpr const OpInfo &infoOf(OpCode code) { return kOpTable[static_cast<uint32_t>(code)]; }

constexpr size_t bytesOf(DType dtype) { return dtype == DType::f64 ? 8 : dtype == DType::u8 ? 1 : 4; }
constexpr uint64_t bytesOf(const Tensor &t) { return static_cast<uint64_t>(t.size) * bytesOf(t.dtype); }

// A number as people write it: 3, 0.5, nan.
inline std::string toText(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.15g", number);
  return text;
}

inline std::vector<std::string> attributeNames(const OpInfo &info) {
  std::vector<std::string> names;
  for (const char *c = info.attributes; *c; c++) {
    if (c == info.attributes) names.emplace_back();
    if (*c == ',') {
      names.emplace_back();
    } else if (*c != ' ') {
      names.back() += *c;
    }
  }
  return names;
}

}  // namespace gradline
