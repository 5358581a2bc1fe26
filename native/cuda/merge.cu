// See merge.h. A barrier of all blocks is not free either: which stages are made between two of them is order.cu.
#include <algorithm>

#include "order.h"

namespace gradline::cuda {
namespace {

constexpr uint64_t kMostBlocks = 512;   // of a stage: more of them keep a card busy by themselves
constexpr uint64_t kNarrowBlocks = 16;  // a step of no larger stages is left to one block, so that a card runs many

size_t padded(size_t bytes) { return (bytes + kStageAlignment - 1) / kStageAlignment * kStageAlignment; }

// Products that need no barrier within, in the place of those that do.
std::vector<Member> withWholeProducts(const std::vector<Member> &members) {
  std::vector<Member> all;
  for (size_t i = 0; i < members.size(); i++) {
    Member member = members[i];
    const Launch *second = i + 1 < members.size() ? &members[i + 1].from->launch : nullptr;
    const int taken = asWholeProduct(member.from->launch, second, member.stage, member.argument);
    if (taken > 0) member.launches = taken;
    if (taken > 1) i++;
    member.rows = rowsOf(member.stage, member.argument);
    all.push_back(std::move(member));
  }
  return all;
}

// Appends the sequence of these members, its table behind what the others have. `base`: the first of all launches.
void append(Merged &merged, std::vector<Member> &members, const Placed *base, char *memory, int multiprocessors,
            bool isWhole) {
  uint64_t most = 1;
  for (const Member &member : members) most = std::max(most, blocksOf(member.stage));
  const bool narrow = isWhole && most <= kNarrowBlocks;
  const int blocks = narrow ? 1 : static_cast<int>(std::min<uint64_t>(most, static_cast<uint64_t>(multiprocessors)));
  int barriers = 0;
  if (blocks > 1) {
    members = withWholeProducts(members);
    barriers = order(members, blocks);
  }
  for (const Member &member : members)
    for (int i = 0; i < member.launches; i++)
      merged.intervalOf[static_cast<size_t>(member.from - base + i)] = member.interval;
  const size_t begin = merged.table.size(), header = padded(members.size() * sizeof(Stage));
  merged.table.resize(begin + header);
  for (size_t i = 0; i < members.size(); i++) {
    Member &member = members[i];
    const size_t at = merged.table.size() - begin;
    member.stage.argument = static_cast<uint32_t>(at / sizeof(uint32_t));
    member.stage.byOp = member.from->op && member.from->launch.guard == Guard::fault;
    if (member.stage.byOp) member.stage.op = member.from->op->index;
    std::memcpy(merged.table.data() + begin + i * sizeof(Stage), &member.stage, sizeof(Stage));
    merged.table.resize(begin + at + padded(member.argument.size()));
    std::memcpy(merged.table.data() + begin + at, member.argument.data(), member.argument.size());
  }
  Launches launches;
  planSequence(launches, memory ? memory + begin : nullptr, merged.table.size() - begin,
               static_cast<int>(members.size()), blocks, reinterpret_cast<Meeting *>(memory));
  merged.nodes.push_back(launches.list[0]);
  merged.barriers.push_back(barriers);
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
  merged.intervalOf.resize(launches.size());
  merged.table.resize(kAlignment);  // the Meeting of all sequences
  std::vector<Member> run;
  size_t bytes = 0;
  const auto alone = [&](const Launch &launch) {
    merged.nodes.push_back(launch);
    merged.barriers.push_back(0);
  };
  const auto end = [&] {
    for (const Member &member : run)
      merged.nodeOf[static_cast<size_t>(member.from - launches.data())] = merged.nodes.size();
    if (run.size() == 1) alone(run[0].from->launch);
    merged.isWhole = run.size() > 1 && run.size() == launches.size();
    if (run.size() > 1) append(merged, run, launches.data(), memory, multiprocessors, merged.isWhole);
    run.clear();
    bytes = 0;
  };
  for (const Placed &placed : launches) {
    Member member = {&placed, 1, {}, {}, {}, 0};
    const bool fits = asSmallStage(placed.launch, member.stage, member.argument);
    const size_t more = sizeof(Stage) + padded(member.argument.size());
    if (!fits || bytes + more + kStageAlignment > sequenceRoom()) end();
    if (!fits) {
      merged.nodeOf[static_cast<size_t>(&placed - launches.data())] = merged.nodes.size();
      alone(placed.launch);
      continue;
    }
    bytes += more;
    run.push_back(std::move(member));
  }
  end();
  return merged;
}

}  // namespace gradline::cuda
