// See order.h. Each stage goes into the earliest interval that what it depends on allows (list scheduling by levels):
// - Behind a stage of many blocks that it depends on lies a barrier, unless both work by rows and share nothing but
//   these: then one block of the card makes the same stretch of rows of both, and a barrier of its threads is enough.
// - A stage of one block on which others of its interval depend is made in the barrier before them, by the block that
//   comes last, while the others wait anyway. Any other stage of one block is made beside the rest of its interval.
// Nothing of this shows in bits: each stage is what it is as a launch.
#include <algorithm>

#include "order.h"

namespace gradline::cuda {
namespace {

// A stretch of memory that a stage reads or writes.
struct Touch {
  const Tensor *tensor;
  bool isWritten, isByRow;
};

bool overlap(const Tensor &a, const Tensor &b) {
  return a.region == b.region && a.offset < b.offset + bytesOf(b) && b.offset < a.offset + bytesOf(a);
}
bool isSame(const Tensor &a, const Tensor &b) { return a.offset == b.offset && bytesOf(a) == bytesOf(b); }

struct Node {
  const Member *member;
  std::vector<Touch> touches;
  bool isLone, reports, lasts;  // one block; may find a fault; writes what outlives the step
  int level = 0;
  bool inGap = false;

  explicit Node(const Member &of)
      : member(&of), isLone(blocksOf(of.stage) == 1), reports(of.from->launch.guard == Guard::finished), lasts(false) {
    const Op *op = of.from->op;
    if (op == nullptr) return;
    lasts = cuda::lasts(*op);
    const bool isProduct = op->code == OpCode::matmul;
    const auto byRow = [&](const Tensor &t) { return of.rows.all > 0 && t.size % of.rows.all == 0; };
    for (int i = 0; i < op->inputs; i++)
      touches.push_back({&op->in[i], false, byRow(op->in[i]) && !(isProduct && i == 1)});
    for (int i = 0; i < op->outputs; i++)
      touches.push_back({&op->out[i], true, byRow(op->out[i]) && !(isProduct && i == 1)});
    for (int i = 0; i < op->epilogues; i++) {
      const Epilogue &e = op->epilogue[i];
      if (e.hasOperand) touches.push_back({&e.operand, false, byRow(e.operand) && e.operand.size == op->out[0].size});
    }
  }
};

enum class Tie { none, rows, whole };  // what has to be done of the earlier one: nothing, the same rows, everything

Tie tieOf(const Node &a, const Node &b) {
  const Placed &earlier = *a.member->from, &later = *b.member->from;
  if (earlier.op == later.op || earlier.op == nullptr || later.op == nullptr) return Tie::whole;
  // What outlives the step is written by all blocks or, behind a fault, by none.
  if ((a.reports && b.lasts) || (a.lasts && b.reports)) return Tie::whole;
  if (earlier.workspaceAt < later.workspaceAt + later.workspaceBytes &&
      later.workspaceAt < earlier.workspaceAt + earlier.workspaceBytes)
    return Tie::whole;
  Tie tie = Tie::none;
  const Rows &rowsA = a.member->rows, &rowsB = b.member->rows;
  for (const Touch &x : a.touches) {
    for (const Touch &y : b.touches) {
      if (!(x.isWritten || y.isWritten) || !overlap(*x.tensor, *y.tensor)) continue;
      const bool byRow = x.isByRow && y.isByRow && rowsA.all == rowsB.all && isSame(*x.tensor, *y.tensor);
      if (!byRow || a.isLone || b.isLone) return Tie::whole;
      tie = Tie::rows;
    }
  }
  return tie;
}

// Levels, and who stands in a gap.
void place(std::vector<Node> &nodes) {
  const size_t count = nodes.size();
  std::vector<Tie> ties(count * count, Tie::none);  // of the later to the earlier
  int levels = 0;
  for (size_t i = 0; i < count; i++) {
    for (size_t j = 0; j < i; j++) {
      const Tie tie = ties[i * count + j] = tieOf(nodes[j], nodes[i]);
      if (tie == Tie::none) continue;
      const bool isBehind = !nodes[j].isLone && tie == Tie::whole;
      nodes[i].level = std::max(nodes[i].level, nodes[j].level + (isBehind ? 1 : 0));
    }
    levels = std::max(levels, nodes[i].level + 1);
  }
  std::vector<bool> isWide(static_cast<size_t>(levels), false);
  for (const Node &node : nodes)
    if (!node.isLone) isWide[static_cast<size_t>(node.level)] = true;
  for (size_t j = count; j-- > 0;) {
    Node &node = nodes[j];
    if (!node.isLone) continue;
    node.inGap = !isWide[static_cast<size_t>(node.level)];
    for (size_t i = j + 1; i < count; i++)
      node.inGap |=
          ties[i * count + j] != Tie::none && nodes[i].level == node.level && (!nodes[i].isLone || nodes[i].inGap);
  }
}

}  // namespace

int order(std::vector<Member> &members, int blocks) {
  std::vector<Node> nodes(members.begin(), members.end());
  place(nodes);
  // Of an interval first what stands in the gap before it, then what many blocks make, then the rest.
  const auto rank = [](const Node &node) { return 3 * node.level + (node.inGap ? 0 : node.isLone ? 2 : 1); };
  std::stable_sort(nodes.begin(), nodes.end(), [&](const Node &a, const Node &b) { return rank(a) < rank(b); });

  std::vector<Member> sorted;
  struct Rowed {
    int64_t rows;
    uint32_t shift;
  };
  std::vector<Rowed> stretches;  // of this interval: stages of the same rows begin at the same block
  uint64_t taken = 0;            // blocks of the card that have something to do in it
  int interval = 0, last = -1;
  bool wasGap = false;
  for (const Node &node : nodes) {
    Member member = *node.member;
    Stage &stage = member.stage;
    stage.inGap = node.inGap;
    stage.waits = false;
    if (node.level != last) {
      last = node.level;
      interval++;
      stretches.clear();
      taken = 0;
      stage.waits = true;
    }
    const Rows &rows = member.rows;
    const bool isRowed = !node.isLone && rows.all > 0;
    stage.stretch = isRowed ? static_cast<uint32_t>(kStretchRows / rows.perBlock) : 1;
    const auto same =
        std::find_if(stretches.begin(), stretches.end(), [&](const Rowed &r) { return r.rows == rows.all; });
    stage.shift = static_cast<uint32_t>(taken % static_cast<uint64_t>(blocks));
    if (isRowed && same != stretches.end()) {
      stage.shift = same->shift;
    } else if (!stage.inGap && !node.isLone) {
      if (isRowed) stretches.push_back({rows.all, stage.shift});
      taken += (blocksOf(stage) + stage.stretch - 1) / stage.stretch;
    }
    member.interval = interval;
    wasGap = stage.inGap;
    sorted.push_back(std::move(member));
  }
  members = std::move(sorted);
  if (!wasGap || !members.front().stage.inGap || interval == 1) return interval;
  // The gap that ends a step is the one that begins the next.
  for (Member &member : members)
    if (member.interval == interval) member.interval = 1;
  return interval - 1;
}

}  // namespace gradline::cuda
