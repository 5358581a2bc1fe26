// Many launches as one: a kernel that goes through a list of stages, each of them a launch of another kernel with its
// grid and argument, and makes their blocks by the blocks it has. Nothing is written twice: a stage calls the run() of
// its kernel, which cannot tell. Between stages the blocks of the sequence wait for each other, which is why all of
// them must be on the card at once. What may be merged, and where a barrier is needed, is decided by merge.cu.
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
         MergeSplits<Matmul<true, true>>,                                                                          //
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
static_assert(sizeof(Stage) % 4 == 0);

struct Sequence {
  static constexpr int kThreads = kBlock;
  Global<const uint32_t> content;
  int words, stages, blocks;
  uint32_t steps;
  Meeting *meeting;

  GPU_DEVICE void run() const {
    GPU_SHARED(uint32_t, table, kTableWords);
    for (int i = thread(); i < words; i += kThreads) table[i] = content[i];
    barrier();
    for (uint32_t step = 0; step < steps; step++) {
      for (int i = 0; i < stages; i++) {
        const Stage &stage = recordAt<Stage>(table, static_cast<uint32_t>(i * kStageWords));
        if (stage.waits && blocks > 1) gridBarrier(meeting, blocks);
        make<0, Kernels::kCount>(stage, table);
      }
    }
  }

  // The kernel of the stage lies in [begin, end) of the list: found by halves, which is a few comparisons.
  template <int begin, int end>
  GPU_DEVICE void make(const Stage &stage, Shared<uint32_t> table) const {
    if constexpr (end - begin == 1) {
      using Kernel = typename At<begin, Kernels>::Kernel;
      makeBlocks(stage, recordAt<Argument<Kernel>>(table, stage.argument));
    } else {
      constexpr int middle = (begin + end) / 2;
      if (stage.kernel < middle)
        make<begin, middle>(stage, table);
      else
        make<middle, end>(stage, table);
    }
  }

  // The blocks of the stage that fall to this one. Its threads stay together until all are made.
  template <class Kernel>
  GPU_DEVICE void makeBlocks(const Stage &stage, const Argument<Kernel> &argument) const {
    static_assert(Kernel::kThreads == kThreads || Kernel::kThreads == 32, "it would need barriers of its own");
    const int x = static_cast<int>(stage.grid[0]), y = static_cast<int>(stage.grid[1]);
    const int all = x * y * static_cast<int>(stage.grid[2]);
    for (int number = blockOfCard(); number < all; number += blocks) {
      becomeBlock(number % x, number / x % y, number / x / y);
      if (argument.guard != nullptr && *argument.guard != 0) continue;
      if (thread() < Kernel::kThreads) argument.kernel.run();
    }
  }
};

template <class Kernel>
bool isOf(const Launch &launch) {
  return launch.name == &nameOfKernel<Kernel>;
}

// A product in small tiles takes few threads; as a stage it is the same product in larger ones, with the same splits
// and so the same bits.
template <bool a, bool b>
bool widen(Launch &launch) {
  if (!isOf<SmallTile<a, b>>(launch)) return false;
  Argument<SmallTile<a, b>> small;
  std::memcpy(&small, launch.argument, sizeof small);
  const Matmul<a, b> &problem = small.kernel.problem;
  const int64_t across = ceilDiv(problem.n, Tile<a, b>::kColumns);
  const Argument<Tile<a, b>> wide = {small.guard,
                                     {problem, small.kernel.partial, static_cast<int>(across), small.kernel.perSplit}};
  static_assert(sizeof wide == sizeof small);
  std::memcpy(launch.argument, &wide, sizeof wide);
  launch.name = &nameOfKernel<Tile<a, b>>;
  launch.grid[0] = static_cast<uint32_t>(ceilDiv(problem.m, Tile<a, b>::kRows) * across);
  return true;
}

template <class... Kernel>
int placeOf(const Launch &launch, List<Kernel...>) {
  const bool is[] = {isOf<Kernel>(launch)...};
  for (size_t i = 0; i < sizeof...(Kernel); i++)
    if (is[i]) return static_cast<int>(i);
  return -1;
}

}  // namespace

bool asStage(const Launch &launch, Stage &stage, std::vector<unsigned char> &argument) {
  if (launch.work != Work::kernel || launch.sharedBytes > 0) return false;
  Launch at = launch;
  widen<false, false>(at) || widen<true, false>(at) || widen<false, true>(at) || widen<true, true>(at);
  stage.kernel = placeOf(at, Kernels());
  if (stage.kernel < 0) return false;
  std::memcpy(stage.grid, at.grid, sizeof stage.grid);
  argument.assign(at.argument, at.argument + at.argumentBytes);
  return true;
}

size_t sequenceRoom() { return kTableWords * sizeof(uint32_t); }

void planSequence(Launches &launches, const void *table, size_t bytes, int stages, int blocks, Meeting *meeting) {
  launches.guard = Guard::finished;
  const Sequence kernel = {global(static_cast<const uint32_t *>(table), bytes),
                           static_cast<int>(bytes / sizeof(uint32_t)),
                           stages,
                           blocks,
                           1,
                           meeting};
  launch(launches, kernel, {blocks});
  launches.list.back().together = blocks > 1;
}

void setSteps(Launch &sequence, uint32_t steps) {
  Argument<Sequence> argument;
  std::memcpy(&argument, sequence.argument, sizeof argument);
  argument.kernel.steps = steps;
  std::memcpy(sequence.argument, &argument, sizeof argument);
}

}  // namespace gradline::cuda
