// The dialect in which kernels are written, for nvcc (C++17, the card) and for g++ (emulator/, the CPU). A kernel is a
// struct: its members are the operands, `kThreads` the size of its blocks, `run()` what one thread does.
//
//   struct Copy {
//     static constexpr int kThreads = 256;
//     Global<const float> x;
//     Global<float> y;
//     int n;
//     GPU_DEVICE void run() const {
//       const int i = block() * kThreads + thread();
//       if (i < n) y[i] = x[i];
//     }
//   };
//   launch(launches, Copy{...}, {blocks});
//
// Memory is reached only through Global<T> and Shared<T>: plain pointers on the card, checked ones in the emulator. All
// 32 lanes of a warp take part in a shuffle, all threads of a block in a barrier; blocks of one launch never talk, but
// for those of a sequence (kernels/sequence.cuh) at its barriers.
// There are no float atomics here, and that is on purpose: they would make bits depend on timing.
#pragma once
#include <math.h>

#include "launch.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>

#define GPU_DEVICE __device__ __forceinline__
#define GPU_UNROLL _Pragma("unroll")
#define GPU_SHARED(type, name, count) __shared__ __align__(16) type name[count]

namespace gradline::cuda {

template <class T>
using Global = T *;
template <class T>
using Shared = T *;

template <class T>
Global<T> global(const Tensor &tensor) {
  return static_cast<T *>(tensor.data);
}
template <class T>
Global<T> global(T *memory, size_t) {
  return memory;
}

GPU_DEVICE int thread() { return static_cast<int>(threadIdx.x); }
GPU_DEVICE int lane() { return static_cast<int>(threadIdx.x % 32); }
GPU_DEVICE int warp() { return static_cast<int>(threadIdx.x / 32); }
GPU_DEVICE void barrier() { __syncthreads(); }

#if defined(GPU_STAGES)  // sequence.cuh, where a block of the card makes block after block of other kernels
inline namespace stages {
__shared__ int placeInStage[4];  // x, y, z, and a word that all threads of the block are to see alike
GPU_DEVICE int block() { return placeInStage[0]; }
GPU_DEVICE int blockY() { return placeInStage[1]; }
GPU_DEVICE int blockZ() { return placeInStage[2]; }
// All threads of the block go on as this one, after they have done what stands before. Gives all of them what one of
// them is answered.
template <class Ask>
GPU_DEVICE bool becomeBlock(int x, int y, int z, Ask ask) {
  __syncthreads();
  if (threadIdx.x == 0) {
    placeInStage[0] = x;
    placeInStage[1] = y;
    placeInStage[2] = z;
    placeInStage[3] = ask();
  }
  __syncthreads();
  return placeInStage[3] != 0;
}
GPU_DEVICE int blockOfCard() { return static_cast<int>(blockIdx.x); }

// A barrier of all blocks of a launch, which must be on the card at once, in two halves: between them all but the one
// who came last wait. What a block wrote before it, the last one reads in between, and all read after it.
struct Arrival {
  uint32_t generation;
  bool isLast;
};
GPU_DEVICE Arrival gridArrive(Meeting *meeting, int blocks) {
  __syncthreads();
  uint32_t before = 0;
  if (threadIdx.x == 0) {
    before = *static_cast<volatile uint32_t *>(&meeting->generation);  // cannot pass before this block arrives
    __threadfence();
    placeInStage[3] = atomicAdd(&meeting->arrived, 1u) == static_cast<uint32_t>(blocks) - 1;
    __threadfence();
  }
  __syncthreads();
  return {before, placeInStage[3] != 0};
}
GPU_DEVICE void gridLeave(Meeting *meeting, const Arrival &arrival) {
  __syncthreads();
  if (threadIdx.x == 0) {
    if (arrival.isLast) {
      meeting->arrived = 0;
      __threadfence();
      atomicAdd(&meeting->generation, 1u);
    } else {
      while (*static_cast<volatile uint32_t *>(&meeting->generation) == arrival.generation) {
      }
    }
    __threadfence();
  }
  __syncthreads();
}
GPU_DEVICE void gridBarrier(Meeting *meeting, int blocks) { gridLeave(meeting, gridArrive(meeting, blocks)); }
}  // namespace stages
#else
GPU_DEVICE int block() { return static_cast<int>(blockIdx.x); }
GPU_DEVICE int blockY() { return static_cast<int>(blockIdx.y); }
GPU_DEVICE int blockZ() { return static_cast<int>(blockIdx.z); }
#endif

// A record that lies in shared memory, `word` words behind its begin.
template <class T>
GPU_DEVICE const T &recordAt(Shared<uint32_t> words, uint32_t word) {
  return *reinterpret_cast<const T *>(words + word);
}
template <class T>
GPU_DEVICE T shuffleXor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
template <class T>
GPU_DEVICE T shuffleFrom(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}
GPU_DEVICE bool anyInWarp(bool value) { return __any_sync(0xffffffffu, value) != 0; }

// Four neighbours at once; p + i must be a multiple of 16 bytes.
struct Float4 {
  float v[4];
};
GPU_DEVICE Float4 load4(const float *p, int i) {
  const float4 q = *reinterpret_cast<const float4 *>(p + i);
  return {{q.x, q.y, q.z, q.w}};
}
GPU_DEVICE void store4(float *p, int i, const Float4 &q) {
  *reinterpret_cast<float4 *>(p + i) = make_float4(q.v[0], q.v[1], q.v[2], q.v[3]);
}

// Copies from global to shared memory that go on while the thread does: all that a thread began before commitCopies()
// are one group, and only after waitCopies<n>() have all groups but its last n landed, for itself; others of the block
// see them across a barrier. `at` < 0: zeros instead. Four floats at once begin at multiples of 16 bytes on both sides.
GPU_DEVICE void copyLater(float *to, int i, const float *from, int at) {
  const uint32_t place = static_cast<uint32_t>(__cvta_generic_to_shared(to + i));
  const float *const source = from + (at < 0 ? 0 : at);
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(place), "l"(source), "r"(at < 0 ? 0 : 4)
               : "memory");
}
GPU_DEVICE void copyLater4(float *to, int i, const float *from, int at) {
  const uint32_t place = static_cast<uint32_t>(__cvta_generic_to_shared(to + i));
  const float *const source = from + (at < 0 ? 0 : at);
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(source), "r"(at < 0 ? 0 : 16)
               : "memory");
}
GPU_DEVICE void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int groups>
GPU_DEVICE void waitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
}

// Operands of the tensor cores. tf32: to the nearest, ties away from zero. bf16: two numbers, ties to even, the first
// in the lower half.
GPU_DEVICE uint32_t roundedToTf32(float x) {
  uint32_t word;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(x));
  return word;
}
GPU_DEVICE uint32_t roundedToBf16(float first, float second) {
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  return word;
}

// c [16, 8] += a [16, k] b [k, 8] by a warp, all lanes together; k = 8 of tf32, 16 of bf16. Which elements a lane holds
// say sections 9.7.14.5.7 and 9.7.14.5.8 of the PTX ISA, version 9.2. With g = lane / 4 and t = lane % 4:
//   c: (row g, columns 2t and 2t + 1), the same of row g + 8
//   a: row g, row g + 8, row g, row g + 8, and of b: column g, column g; of these
//   tf32: a[0], a[1], b[0] at k = t; a[2], a[3], b[1] at k = t + 4
//   bf16: a[0], a[1], b[0] at k = 2t and 2t + 1; a[2], a[3], b[1] at k = 2t + 8 and 2t + 9
GPU_DEVICE void multiplyTf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
GPU_DEVICE void multiplyBf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Of u turns. cos and sin of double keep a table for huge angles in local memory; these do not.
GPU_DEVICE double cosOfTurns(double u) { return cospi(2 * u); }
GPU_DEVICE double sinOfTurns(double u) { return sinpi(2 * u); }

// Of a clock that runs evenly; for durations.
GPU_DEVICE uint64_t nanoseconds() {
  uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

// Eight bytes that other blocks may be writing: whole, and never from a cache.
GPU_DEVICE uint64_t loadWhole(const void *p) { return *static_cast<const volatile uint64_t *>(p); }
GPU_DEVICE void storeWhole(void *p, uint64_t value) { *static_cast<volatile uint64_t *>(p) = value; }

// Runs body while no other thread of the device runs it; for reports, which are rare.
template <class Body>
GPU_DEVICE void exclusive(uint32_t *lock, Body body) {
  for (bool done = false;
       !done;) {  // taking and leaving the lock in one round: lanes of a warp cannot block each other
    if (atomicCAS(lock, 0u, 1u) != 0) continue;
    __threadfence();
    body();
    __threadfence();
    atomicExch(lock, 0u);
    done = true;
  }
}

template <class Kernel>
struct Argument {
  const int32_t *guard;
  Kernel kernel;
};

// One block per multiprocessor is all that is asked for: left to itself the compiler aims at more and spills.
template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, 1) entry(const __grid_constant__ Argument<Kernel> argument) {
  if (argument.guard != nullptr && *argument.guard != 0) return;
  argument.kernel.run();
}

}  // namespace gradline::cuda

#else
#include "emulator/dialect.h"
#endif

namespace gradline::cuda {

struct Grid {
  int64_t x = 1, y = 1, z = 1;
};

template <class Kernel>
const char *nameOfKernel() {
  return __PRETTY_FUNCTION__;
}

template <class Kernel>
void launch(Launches &launches, const Kernel &kernel, Grid grid, size_t sharedBytes = 0) {
  static_assert(sizeof(Argument<Kernel>) <= kMaxArgument, "more operands than a launch holds");
  static_assert(Kernel::kThreads % 32 == 0 && Kernel::kThreads <= kMaxThreads, "blocks are whole warps");
  Launch record = {};
#if defined(__CUDACC__)
  record.function = reinterpret_cast<const void *>(&entry<Kernel>);
#else
  static const emulator::Kernel kernelOfType = {&entry<Kernel>, &nameOfKernel<Kernel>, sizeof(Argument<Kernel>)};
  record.function = &kernelOfType;
#endif
  record.name = &nameOfKernel<Kernel>;
  record.grid[0] = static_cast<uint32_t>(grid.x);
  record.grid[1] = static_cast<uint32_t>(grid.y);
  record.grid[2] = static_cast<uint32_t>(grid.z);
  record.threads = Kernel::kThreads;
  record.sharedBytes = static_cast<uint32_t>(sharedBytes);
  record.guard = launches.guard;
  const Argument<Kernel> argument = {launches.guardWord(), kernel};
  record.argumentBytes = sizeof argument;
  std::memcpy(record.argument, &argument, sizeof argument);
  launches.list.push_back(record);
}

// Room for `count` elements in the workspace of the op, for all its launches.
template <class T>
Global<T> scratch(const Op &op, Launches &launches, int64_t count) {
  const size_t bytes = static_cast<size_t>(count) * sizeof(T), at = launches.take(bytes);
  char *base = static_cast<char *>(op.workspace);
  return global(reinterpret_cast<T *>(base ? base + at : nullptr), bytes);
}

}  // namespace gradline::cuda
