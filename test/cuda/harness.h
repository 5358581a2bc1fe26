// One kernel against the oracle: a case describes an op with its operands; check() plans it, runs the launches in the
// emulator in three orders of threads, and compares with the oracle in float and double. It knows no op.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "../../native/abi.h"
#include "../../native/cuda/launch.h"

namespace gradline::cuda::test {

using Shape = std::vector<int64_t>;

// Numbers that look random and are the same everywhere.
double uniform(uint64_t seed, uint64_t i);  // [0, 1)
using Values = std::function<double(uint64_t i)>;
Values normal(uint64_t seed);                            // mean 0, deviation 1
Values between(double low, double high, uint64_t seed);  // uniform
Values integers(int low, int high, uint64_t seed);       // low..high
Values constant(double value);
Values wild(uint64_t seed);  // either sign, magnitudes from 1e-6 to 1e6, each as often

// How far a result may be from the double-precision oracle: c * u * (|result| + sum of the magnitudes), u = 2^-24.
// `exact` asks for the bits of the float oracle instead.
struct Tolerance {
  bool exact = false;
  double c = 8;          // factor on u * |result|
  double magnitude = 0;  // factor on u * (the same op on the absolute values of its inputs), for sums of products
  double absolute = 0;
};
constexpr Tolerance kExact = {true};
// Of a sum of so many products in a program of this class: each operand may be rounded, 2^-11 or 2^-8 of its size.
Tolerance ofProducts(Numerics numerics, int64_t length);

// A float matrix that lies nowhere: what a planner looks at.
Tensor matrix(int64_t rows, int64_t columns);

class Case {
 public:
  Case(std::string name, OpCode code);

  Case &attr(int index, double value);
  Case &in(DType dtype, Shape shape, const Values &values);
  Case &in(Shape shape, const Values &values) { return in(DType::f32, std::move(shape), values); }
  Case &step(const StepState &state);  // an operand of u8 [256]
  Case &out(DType dtype, Shape shape);
  Case &out(Shape shape) { return out(DType::f32, std::move(shape)); }
  Case &effect(int input);   // the next output is this input
  Case &inPlace(int input);  // the next output is float and lies on this input, whose oracle is kept apart
  Case &segments(std::vector<SegmentRecord> records);
  Case &epilogue(OpCode code, double attr = 0);
  Case &epilogue(OpCode code, Shape operand, const Values &values, double attr = 0);
  // The operand lies where the output does.
  Case &epilogueBelow(OpCode code, const Values &values, double attr = 0);
  // Products are made by a library that has plans for these epilogues: bits 1 << GL_EPILOGUE_*.
  Case &library(uint32_t epilogues);
  // Class of the program; fp32 unless said.
  Case &numerics(Numerics numerics);
  // Launches come from this function instead of the planner of the op.
  Case &plannedBy(PlanFn plan);
  // Outputs whose memory may stay as it was (update ops write what segments cover).
  Case &partial();

  void check(Tolerance tolerance = {});
  // What check() got for the first output, on the card.
  const std::vector<double> &result() const { return result_; }
  // The planner must refuse this form.
  void refused();

 private:
  struct Operand {
    Tensor tensor;
    std::vector<unsigned char> bytes;
    int aliasOf = -1;  // outputs: the input they are
    bool ontop = false;
  };
  std::vector<unsigned char> oracle(bool fp64, bool absolute, std::vector<std::vector<double>> &results,
                                    RunStatus &status) const;

  std::string name_;
  Op op_ = {};
  std::vector<Operand> in_, out_, epilogue_;
  std::vector<SegmentRecord> segments_;
  bool partial_ = false;
  uint32_t library_ = 0;
  PlanFn plan_;
  std::vector<double> result_;
  int below_ = -1;  // the epilogue whose operand lies where the output does
};

void failed(const std::string &name, const std::string &what);
void expect(const char *name, bool holds, const std::string &what);
int cases();
int expectations();
int failures();

}  // namespace gradline::cuda::test
