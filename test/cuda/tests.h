// The test files of this folder, one function each; main.cc calls them.
#pragma once
#include "harness.h"

namespace gradline::cuda::test {

void testDetector();
void testTable();
void testProgram();
void testElementwise();
void testReduce();
void testMatmul();
void testMove();
void testNorm();
void testConv();
void testPool();
void testLoss();
void testUpdate();
void testSums();
void testTensor();
void testHost();
void testFeed();
void testLanes();
void testCublas();

}  // namespace gradline::cuda::test
