// A call of cublasLtMatmul with everything it refers to by value, since it runs when its stream gets to it.
#pragma once
#include "standin.h"

namespace standin {

// How good an algorithm is: lazy leaves an element out, inPlace and unusable must not be run at all.
enum class Kind { right, wrong, failing, lazy, inPlace, unusable };
struct Offer {
  Kind kind;
  double seconds;
  size_t workspace;
};

struct Call {
  Desc desc;
  Layout layoutA, layoutB, layoutC, layoutD;
  double alpha, beta;
  const void *a, *b, *c;
  void *d;
  Offer offer;
  void *workspace;
  size_t workspaceBytes;
};

inline bool hasAux(const Desc &d) { return d.epilogue & 128; }
inline bool isMask(const Desc &d) { return hasAux(d) && d.epilogue & (2 | 8); }
inline bool hasVector(const Desc &d) { return d.epilogue & (4 | 16 | 256 | 512); }

// Whether all operands lie in memory that lives; notes it when not.
bool areInside(const Call &);
void perform(const Call &);

}  // namespace standin
