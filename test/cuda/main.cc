// Every CUDA kernel on the emulated card against the oracle. Prints a line per failure and one at the end.
#include <cstdio>
#include <cstring>

#include "tests.h"

using namespace gradline::cuda::test;

int main(int count, char **names) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const struct {
    const char *name;
    void (*run)();
  } families[] = {
      {"detector", testDetector}, {"table", testTable},   {"elementwise", testElementwise},
      {"reduce", testReduce},     {"matmul", testMatmul}, {"conv", testConv},
      {"sums", testSums},         {"pool", testPool},     {"norm", testNorm},
      {"move", testMove},         {"loss", testLoss},     {"update", testUpdate},
      {"program", testProgram},   {"host", testHost},     {"feed", testFeed},
      {"cublas", testCublas},     {"tensor", testTensor}, {"lanes", testLanes},
  };
  int ran = 0;
  for (const auto &family : families) {
    bool wanted = count < 2;
    for (int i = 1; i < count; i++) wanted |= std::strcmp(names[i], family.name) == 0;
    if (!wanted) continue;
    family.run();
    ran++;
  }
  std::printf("cuda emulation: %d cases, %d expectations, %d failures\n", cases(), expectations(), failures());
  return failures() || (count > 1 && ran != count - 1) ? 1 : 0;
}
