// Many launches as one: a kernel that goes through a list of stages, each of them a launch of another kernel with its
// grid and argument, and makes their blocks by the blocks it has. Nothing is written twice: a stage calls the run() of
// its kernel, which cannot tell. Between stages the blocks of the sequence wait for each other, which is why all of
// them must be on the card at once. Sequences of one block stand side by side in one launch where several models ask
// for it (lanes.h). Only sequence.cu includes it: kernels mean something else by a block here.
#pragma once
#define GPU_STAGES
#include "constrain.cuh"
#include "elementwise.cuh"
#include "loss.cuh"
#include "matmul.cuh"
#include "move.cuh"
#include "norm.cuh"
#include "normGrad.cuh"
#include "pool.cuh"
#include "random.cuh"
#include "reduce.cuh"
#include "rules.cuh"
#include "schedule.cuh"
#include "softmax.cuh"
#include "step.cuh"
#include "update.cuh"
#include "whole.cuh"

namespace gradline::cuda {
namespace {

template <class... Kernel>
struct List {
  static constexpr int kCount = sizeof...(Kernel);
};
template <int place, class Kernels>
struct At;
template <class First, class... Rest>
struct At<0, List<First, Rest...>> {
  using Kernel = First;
};
template <int place, class First, class... Rest>
struct At<place, List<First, Rest...>> : At<place - 1, List<Rest...>> {};

// The kernels that can be stages; what is not here stays a launch of its own.
template <bool a, bool b>
using SmallTile = ProductTile<Matmul<a, b>, 32, 32, 4>;
template <bool a, bool b>
using Tile = ProductTile<Matmul<a, b>, 64, 64, 4>;
template <OpCode code>
using Joined = Broadcasting<Combine<code, float>>;

using Kernels =
    List<Advance, SampleRows, Gather<uint8_t, float>, Gather<float, float>, Gather<int32_t, int32_t>,  //
         Tile<false, false>, Tile<true, false>, Tile<false, true>, Tile<true, true>,                   //
         MergeSplits<Matmul<false, false>>, MergeSplits<Matmul<true, false>>, MergeSplits<Matmul<false, true>>,
         MergeSplits<Matmul<true, true>>,  //
         NarrowRows<false>, NarrowRows<true>, WholeTile<false, false>, WholeTile<true, false>, WholeTile<false, true>,
         WholeTile<true, true>,                                                                                    //
         SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad, OneHot, RequireFinite,                                      //
         ShortRows<AddUp>, LongRows<AddUp>, ColumnStretches<AddUp>, Scattered<AddUp>,                              //
         ShortRows<TakeLarger>, LongRows<TakeLarger>, ColumnStretches<TakeLarger>, Scattered<TakeLarger>, Argmax,  //
         Unary<OpCode::neg>, Unary<OpCode::abs>, Unary<OpCode::sign>, Unary<OpCode::exp>, Unary<OpCode::log>,
         Unary<OpCode::log1p>, Unary<OpCode::erf>, Unary<OpCode::sqrt>, Unary<OpCode::scale>, Unary<OpCode::relu>,
         Unary<OpCode::leakyRelu>, Unary<OpCode::elu>, Unary<OpCode::sigmoid>, Unary<OpCode::tanh>,  //
         Binary<OpCode::reluGrad>, Binary<OpCode::leakyReluGrad>, Binary<OpCode::eluGrad>, Binary<OpCode::sigmoidGrad>,
         Binary<OpCode::tanhGrad>, Binary<OpCode::add>, Binary<OpCode::sub>, Binary<OpCode::mul>, Binary<OpCode::div>,
         Binary<OpCode::maximum>, Binary<OpCode::minimum>, Binary<OpCode::weightedSum>, Binary<OpCode::greater>,
         Binary<OpCode::equal>,  //
         Joined<OpCode::add>, Joined<OpCode::sub>, Joined<OpCode::mul>, Joined<OpCode::div>, Joined<OpCode::maximum>,
         Joined<OpCode::minimum>, Joined<OpCode::weightedSum>, Joined<OpCode::greater>, Joined<OpCode::equal>,
         Broadcasting<Choose>, Broadcasting<Combine<OpCode::equal, int32_t>>,  //
         Fill<float>, Fill<int32_t>, Fill<uint32_t>, Strided<uint32_t>, SwapAxes<uint32_t>, Convert<float, float>,
         Convert<int32_t, float>, Convert<uint8_t, float>, GatherGrad,          //
         Softmax, SoftmaxGrad, Dropout, CropFlip, RandomUniform, RandomNormal,  //
         BatchNorm, ChunkStatistics, MergeStatistics, Normalize, BatchNormGrad, ChunkGradients, MergeGradients,
         InputGradient,                                                                       //
         MaxPool2d, MaxPool2dGrad, AvgPool2d, AvgPool2dGrad,                                  //
         ScheduleRate, StepValue, CountGroup, AccumulateGradient, SumSquares, PrepareUpdate,  //
         Update<Sgd>, Update<Momentum>, Update<Adagrad>, Update<Adadelta>, Update<Rmsprop>, Update<RmspropMomentum>,
         Update<Adam>, Update<Amsgrad>, Update<Adamax>, Update<Nadam>, Update<Radam>, Update<Lion>,  //
         MaxNorm, AverageWeights, EndOfStep>;

// Of stages and arguments in shared memory, in the card's words; a pointer of the emulator is three of them.
constexpr int kTableWords = static_cast<int>(12 * 1024 / 4 * (sizeof(Global<float>) / sizeof(float *)));
constexpr int kStageWords = sizeof(Stage) / 4;
// Blocks of rows that a product may be cut into; each of them reads all of the second operand.
constexpr int64_t kMostStretches = 128;
static_assert(sizeof(Stage) % 4 == 0 && offsetof(DeviceStatus, first) == 0 && offsetof(RunStatus, fault) == 0);

// What a launch makes: the stages of one program.
struct Program {
  Global<const uint32_t> content;
  int words, stages, blocks;
  uint32_t steps;
  Meeting *meeting;
  // Of one beside others, which the host learns from here.
  const DeviceStatus *status;
  Landing *landing;
};

struct Sequence {
  static constexpr int kThreads = kBlock;
  Program own;
  Global<const Program> others;  // null: all blocks make `own`; else each block makes its own of these

  // Everything is compiled into it once: there is one place from which stages are made.
  GPU_DEVICE void run() const {
    const bool isBeside = !(others == nullptr);
    Program program = own;
    if (isBeside) program = others[blockOfCard()];
    const uint64_t began = isBeside ? nanoseconds() : 0;
    if (isBeside && program.status->finished != 0) program.steps = 0;
    make(program, isBeside ? 0 : blockOfCard());
    if (!isBeside) return;
    barrier();  // what its threads reported is there
    if (thread() == 0) {
      program.landing->status = *program.status;
      program.landing->nanoseconds = nanoseconds() - began;
    }
  }

  // All steps of a program, as its block number `first`.
  GPU_DEVICE void make(const Program &program, int first) const {
    GPU_SHARED(uint32_t, table, kTableWords);
    for (int i = thread(); i < program.words; i += kThreads) table[i] = program.content[i];
    barrier();
    Arrival arrival = {};
    bool inGap = false;  // of a barrier: only who came last goes on
    for (uint32_t step = 0; step < program.steps; step++) {
      for (int i = 0; i < program.stages; i++) {
        const Stage &stage = recordAt<Stage>(table, static_cast<uint32_t>(i * kStageWords));
        if (stage.inGap) {
          if (!inGap) arrival = gridArrive(program.meeting, program.blocks);
        } else if (inGap) {
          gridLeave(program.meeting, arrival);
        } else if (stage.waits && step + static_cast<uint32_t>(i) > 0) {
          gridBarrier(program.meeting, program.blocks);
        }
        inGap = stage.inGap;
        if (inGap && !arrival.isLast) continue;
        makeStage<0, Kernels::kCount>(stage, table, inGap ? 0 : first, inGap ? 1 : program.blocks);
      }
    }
    if (inGap) gridLeave(program.meeting, arrival);
  }

  // The kernel of the stage lies in [begin, end) of the list: found by halves, which is a few comparisons.
  template <int begin, int end>
  GPU_DEVICE static void makeStage(const Stage &stage, Shared<uint32_t> table, int first, int blocks) {
    if constexpr (end - begin == 1) {
      using Kernel = typename At<begin, Kernels>::Kernel;
      makeBlocks(stage, recordAt<Argument<Kernel>>(table, stage.argument), first, blocks);
    } else {
      constexpr int middle = (begin + end) / 2;
      if (stage.kernel < middle)
        makeStage<begin, middle>(stage, table, first, blocks);
      else
        makeStage<middle, end>(stage, table, first, blocks);
    }
  }

  // Stages of an interval are not in the order of the program: a fault of a later op must not stop what an earlier one
  // needs to find its own.
  GPU_DEVICE static bool stopped(const Stage &stage, const int32_t *guard) {
    if (guard == nullptr) return false;
    if (!stage.byOp) return *static_cast<const volatile int32_t *>(guard) != 0;
    const auto *status = reinterpret_cast<const volatile DeviceStatus *>(guard);  // which begins with this word
    const uint64_t first = loadWhole(guard);
    return status->finished != 0 || (static_cast<uint32_t>(first) != 0 && first >> 32 < stage.op);
  }

  // The blocks of the stage that fall to this one. Its threads stay together until all are made.
  template <class Kernel>
  GPU_DEVICE static void makeBlocks(const Stage &stage, const Argument<Kernel> &argument, int first, int blocks) {
    static_assert(Kernel::kThreads == kThreads || Kernel::kThreads == 32, "it would need barriers of its own");
    const int x = static_cast<int>(stage.grid[0]), y = static_cast<int>(stage.grid[1]);
    const int all = x * y * static_cast<int>(stage.grid[2]), stretch = static_cast<int>(stage.stretch);
    int begin = blocks > 1 ? first - static_cast<int>(stage.shift) : 0;
    if (begin < 0) begin += blocks;
    for (int from = begin * stretch; from < all; from += blocks * stretch) {
      for (int number = from; number < smaller(from + stretch, all); number++) {
        const auto isStopped = [&] { return stopped(stage, argument.guard); };
        if (becomeBlock(number % x, number / x % y, number / x / y, isStopped)) continue;
        if (thread() < Kernel::kThreads) argument.kernel.run();
      }
    }
  }
};

}  // namespace
}  // namespace gradline::cuda
