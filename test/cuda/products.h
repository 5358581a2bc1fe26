// A library for products that computes as the formula says, for the planner that decides what is asked of one; it takes
// the place of cuBLAS where only that decision is in question.
#pragma once
#include <memory>
#include <vector>

#include "../../native/cuda/launch.h"

namespace gradline::cuda::test {

class OfferedProducts : public Products {
 public:
  explicit OfferedProducts(uint32_t epilogues) : epilogues_(epilogues) {}
  const PlannedProduct *plan(const GlGemm &gemm, int32_t epilogue) override;
  bool takesAll() const override { return true; }
  void run(const ProductCall &call);
  int made = 0;

 private:
  uint32_t epilogues_;
  std::vector<std::unique_ptr<PlannedProduct>> plans_;
};

}  // namespace gradline::cuda::test
