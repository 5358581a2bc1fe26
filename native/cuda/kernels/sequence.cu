// How launches become stages of the kernel in sequence.cuh, and the launches of that kernel. Which launches do, and
// where a barrier is needed, is decided by merge.cu and order.cu. No kernel stands here.
#include "sequence.cuh"

namespace gradline::cuda {
namespace {

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

// A kernel that is only ever a stage.
template <class Kernel>
Launch onlyStage(const int32_t *guard, const Kernel &kernel, int64_t blocks) {
  static_assert(sizeof(Argument<Kernel>) <= kMaxArgument);
  Launch record = {};
  record.name = &nameOfKernel<Kernel>;
  record.grid[0] = static_cast<uint32_t>(blocks);
  record.grid[1] = record.grid[2] = 1;
  const Argument<Kernel> argument = {guard, kernel};
  record.argumentBytes = sizeof argument;
  std::memcpy(record.argument, &argument, sizeof argument);
  return record;
}

// The product of these launches as a NarrowRows or WholeTile; a tile of 64 x 64 is what `first` has become.
template <bool a, bool b>
int wholeProduct(const Launch &first, const Launch *second, Launch &whole) {
  if (!isOf<Tile<a, b>>(first)) return 0;
  Argument<Tile<a, b>> argument;
  std::memcpy(&argument, first.argument, sizeof argument);
  const Tile<a, b> &tile = argument.kernel;
  const Matmul<a, b> &problem = tile.problem;
  const int splits = static_cast<int>(first.grid[1]);
  if (problem.k > WholeTile<a, b>::kLongest) return 0;
  if (splits > 1 && (second == nullptr || !isOf<MergeSplits<Matmul<a, b>>>(*second))) return 0;
  if constexpr (!a) {
    using Narrow = NarrowRows<b>;
    const int64_t blocks = ceilDiv(problem.m, Narrow::kRows);
    if (problem.n <= Narrow::kMostColumns && blocks <= kMostStretches && !problem.sums()) {
      whole = onlyStage(argument.guard, Narrow{problem, tile.perSplit, splits}, blocks);
      return splits > 1 ? 2 : 1;
    }
  }
  if (splits == 1) return 0;
  whole = onlyStage(argument.guard, WholeTile<a, b>{tile, splits}, first.grid[0]);
  return 2;
}

// Of kernels that make rows by themselves; perBlock divides kStretchRows.
template <class Kernel>
Rows rowsOf(const Kernel &) {
  return {0, 0};
}
Rows rowsOf(const SoftmaxCrossEntropy &kernel) { return {kernel.n, kRowsPerBlock}; }
Rows rowsOf(const SoftmaxCrossEntropyGrad &kernel) { return {kernel.n, kRowsPerBlock}; }
Rows rowsOf(const Softmax &kernel) { return {kernel.rows, kRowsPerBlock}; }
Rows rowsOf(const SoftmaxGrad &kernel) { return {kernel.rows, kRowsPerBlock}; }
template <bool b>
Rows rowsOf(const NarrowRows<b> &kernel) {
  return {kernel.problem.m, kernel.kRows};
}
template <bool b>
Rows rowsOf(const MergeSplits<Matmul<false, b>> &kernel) {
  const int n = kernel.problem.n, threads = MergeSplits<Matmul<false, b>>::kThreads;
  if (kernel.problem.sums() || threads % n != 0 || kStretchRows % (threads / n) != 0) return {0, 0};
  return {kernel.problem.m, threads / n};
}

template <class Kernel>
Rows rowsIn(const void *argument) {
  return rowsOf(static_cast<const Argument<Kernel> *>(argument)->kernel);
}
template <class... Kernel>
Rows rowsAt(int place, const void *argument, List<Kernel...>) {
  static constexpr Rows (*all[])(const void *) = {&rowsIn<Kernel>...};
  return all[place](argument);
}

Launch widened(const Launch &launch) {
  Launch at = launch;
  widen<false, false>(at) || widen<true, false>(at) || widen<false, true>(at) || widen<true, true>(at);
  return at;
}

}  // namespace

bool asStage(const Launch &launch, Stage &stage, std::vector<unsigned char> &argument) {
  if (launch.work != Work::kernel || launch.sharedBytes > 0) return false;
  const Launch at = widened(launch);
  stage.kernel = placeOf(at, Kernels());
  if (stage.kernel < 0) return false;
  std::memcpy(stage.grid, at.grid, sizeof stage.grid);
  stage.stretch = 1;
  argument.assign(at.argument, at.argument + at.argumentBytes);
  return true;
}

int asWholeProduct(const Launch &first, const Launch *second, Stage &stage, std::vector<unsigned char> &argument) {
  if (first.work != Work::kernel) return 0;
  const Launch tile = widened(first);
  Launch whole = {};
  int taken = wholeProduct<false, false>(tile, second, whole);
  if (taken == 0) taken = wholeProduct<true, false>(tile, second, whole);
  if (taken == 0) taken = wholeProduct<false, true>(tile, second, whole);
  if (taken == 0) taken = wholeProduct<true, true>(tile, second, whole);
  if (taken > 0) (void)asStage(whole, stage, argument);
  return taken;
}

Rows rowsOf(const Stage &stage, const std::vector<unsigned char> &argument) {
  return rowsAt(stage.kernel, argument.data(), Kernels());
}

size_t sequenceRoom() { return kTableWords * sizeof(uint32_t); }

void planSequence(Launches &launches, const void *table, size_t bytes, int stages, int blocks, Meeting *meeting) {
  launches.guard = Guard::finished;
  const Program program = {global(static_cast<const uint32_t *>(table), bytes),
                           static_cast<int>(bytes / sizeof(uint32_t)),
                           stages,
                           blocks,
                           1,
                           meeting,
                           nullptr,
                           nullptr};
  launch(launches, Sequence{program, nullptr}, {blocks});
  launches.list.back().together = blocks > 1;
}

void setSteps(Launch &sequence, uint32_t steps) {
  Argument<Sequence> argument;
  std::memcpy(&argument, sequence.argument, sizeof argument);
  argument.kernel.own.steps = steps;
  std::memcpy(sequence.argument, &argument, sizeof argument);
}

size_t programBytes() { return sizeof(Program); }

void writeProgram(void *programs, int place, const Launch &sequence, uint32_t steps, const DeviceStatus *status,
                  Landing *landing) {
  Argument<Sequence> argument;
  std::memcpy(&argument, sequence.argument, sizeof argument);
  Program program = argument.kernel.own;
  program.steps = steps;
  program.status = status;
  program.landing = landing;
  std::memcpy(static_cast<char *>(programs) + place * sizeof program, &program, sizeof program);
}

void planSideBySide(Launches &launches, const void *programs, int count) {
  const Global<const Program> all =
      global(static_cast<const Program *>(programs), static_cast<size_t>(count) * sizeof(Program));
  launch(launches, Sequence{{}, all}, {count});
}

}  // namespace gradline::cuda
