// See merge.h. A barrier of all blocks is not free either, so none stands where none is needed: between stages that
// share no memory, and between stages of one block.
#include <algorithm>

#include "merge.h"

namespace gradline::cuda {
namespace {

constexpr uint64_t kMostBlocks = 512;   // of a stage: more of them keep a card busy by themselves
constexpr uint64_t kNarrowBlocks = 16;  // a step of no larger stages is left to one block, so that a card runs many

struct Member {
  const Placed *from;
  Stage stage;
  std::vector<unsigned char> argument;
};

uint64_t blocksOf(const Stage &stage) { return uint64_t{stage.grid[0]} * stage.grid[1] * stage.grid[2]; }
size_t padded(size_t bytes) { return (bytes + kStageAlignment - 1) / kStageAlignment * kStageAlignment; }

uint64_t bytesOf(const Tensor &t) {
  return static_cast<uint64_t>(t.size) * (t.dtype == DType::u8 ? 1 : t.dtype == DType::f64 ? 8 : 4);
}
bool overlap(const Tensor &a, const Tensor &b) {
  return a.region == b.region && a.offset < b.offset + bytesOf(b) && b.offset < a.offset + bytesOf(a);
}
bool writesInto(const Op &writer, const Op &other) {
  for (int i = 0; i < writer.outputs; i++) {
    const Tensor &out = writer.out[i];
    for (int k = 0; k < other.inputs; k++)
      if (overlap(out, other.in[k])) return true;
    for (int k = 0; k < other.outputs; k++)
      if (overlap(out, other.out[k])) return true;
    for (int k = 0; k < other.epilogues; k++)
      if (other.epilogue[k].hasOperand && overlap(out, other.epilogue[k].operand)) return true;
  }
  return false;
}

// Whether the later of two stages must not begin before the earlier has ended.
bool ordered(const Member &earlier, const Member &later) {
  if (earlier.stage.lone && later.stage.lone) return false;  // the same block makes them, one after the other
  const Op *a = earlier.from->op, *b = later.from->op;
  if (a == b) return true;
  // What may find a fault, or ends the step, decides whether what follows does anything: all threads must see the same.
  if (earlier.from->launch.guard == Guard::finished || later.from->launch.guard == Guard::finished) return true;
  if (earlier.from->usesWorkspace && later.from->usesWorkspace) return true;
  return writesInto(*a, *b) || writesInto(*b, *a);
}

// Sets where the grid has to wait. The steps come round again, so the first follow the last.
void placeBarriers(std::vector<Member> &members) {
  std::vector<const Member *> since;  // the last barrier
  for (int round = 0; round < 2; round++) {
    for (Member &member : members) {
      const bool waits =
          std::any_of(since.begin(), since.end(), [&](const Member *earlier) { return ordered(*earlier, member); });
      member.stage.waits |= waits;
      if (member.stage.waits) since.clear();
      since.push_back(&member);
    }
  }
}

// Appends the sequence of these members, its table behind what the others have.
void append(Merged &merged, std::vector<Member> &members, char *memory, int multiprocessors, bool isWhole) {
  uint64_t most = 1;
  for (const Member &member : members) most = std::max(most, blocksOf(member.stage));
  const bool narrow = isWhole && most <= kNarrowBlocks;
  const int blocks = narrow ? 1 : static_cast<int>(std::min<uint64_t>(most, static_cast<uint64_t>(multiprocessors)));
  placeBarriers(members);
  const size_t begin = merged.table.size(), header = padded(members.size() * sizeof(Stage));
  merged.table.resize(begin + header);
  for (size_t i = 0; i < members.size(); i++) {
    Member &member = members[i];
    const size_t at = merged.table.size() - begin;
    member.stage.argument = static_cast<uint32_t>(at / sizeof(uint32_t));
    std::memcpy(merged.table.data() + begin + i * sizeof(Stage), &member.stage, sizeof(Stage));
    merged.table.resize(begin + at + padded(member.argument.size()));
    std::memcpy(merged.table.data() + begin + at, member.argument.data(), member.argument.size());
  }
  Launches launches;
  planSequence(launches, memory ? memory + begin : nullptr, merged.table.size() - begin,
               static_cast<int>(members.size()), blocks, reinterpret_cast<Meeting *>(memory));
  merged.nodes.push_back(launches.list[0]);
}

bool asSmallStage(const Launch &launch, Stage &stage, std::vector<unsigned char> &argument) {
  return asStage(launch, stage, argument) && blocksOf(stage) <= kMostBlocks;
}

}  // namespace

bool isMergeable(const Launch &launch) {
  Stage stage = {};
  std::vector<unsigned char> argument;
  return asSmallStage(launch, stage, argument);
}

Merged merge(const std::vector<Placed> &launches, char *memory, int multiprocessors) {
  Merged merged = {};
  merged.nodeOf.resize(launches.size());
  merged.table.resize(kAlignment);  // the Meeting of all sequences
  std::vector<Member> run;
  size_t bytes = 0;
  const auto end = [&] {
    for (const Member &member : run)
      merged.nodeOf[static_cast<size_t>(member.from - launches.data())] = merged.nodes.size();
    if (run.size() == 1) merged.nodes.push_back(run[0].from->launch);
    if (run.size() > 1) append(merged, run, memory, multiprocessors, merged.isWhole = run.size() == launches.size());
    run.clear();
    bytes = 0;
  };
  for (const Placed &placed : launches) {
    Member member = {&placed, {}, {}};
    const bool fits = asSmallStage(placed.launch, member.stage, member.argument);
    const size_t more = sizeof(Stage) + padded(member.argument.size());
    if (!fits || bytes + more + kStageAlignment > sequenceRoom()) end();
    if (!fits) {
      merged.nodeOf[static_cast<size_t>(&placed - launches.data())] = merged.nodes.size();
      merged.nodes.push_back(placed.launch);
      continue;
    }
    member.stage.lone = blocksOf(member.stage) == 1;
    bytes += more;
    run.push_back(std::move(member));
  }
  end();
  return merged;
}

}  // namespace gradline::cuda
