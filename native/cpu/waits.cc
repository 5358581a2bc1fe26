// Which bytes shares meet, cuts through the same rows, and the search for cuts that need no wait.
#include "waits.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace gradline::cpu {

namespace {

constexpr uint64_t kWorkspace = ~uint64_t{0};  // in place of a region

struct Range {
  uint64_t begin, end;
  bool meets(const Range &other) const { return begin < other.end && other.begin < end; }
  void include(const Range &other) {
    if (other.begin >= other.end) return;
    *this = begin >= end ? other : Range{std::min(begin, other.begin), std::max(end, other.end)};
  }
};

uint64_t elementBytes(DType dtype) { return dtype == DType::u8 ? 1 : dtype == DType::f64 ? 8 : 4; }

int64_t rowAt(const Phase &phase, int64_t unit) {
  return phase.rowsPerUnit > 0 ? std::min(unit * phase.rowsPerUnit, phase.rows) : unit * phase.rows / phase.units;
}

Range rangeOf(const Task &task, const Access &access, size_t share) {
  const int64_t begin = task.cuts[share], end = task.cuts[share + 1];
  if (begin >= end) return {0, 0};
  if (!access.byRow) return {access.begin, access.end};
  const uint64_t row = (access.end - access.begin) / static_cast<uint64_t>(task.phase.rows);
  return {access.begin + row * static_cast<uint64_t>(rowAt(task.phase, begin)),
          access.begin + row * static_cast<uint64_t>(rowAt(task.phase, end))};
}

// Whether any share of `a` meets bytes that another share of `b` meets. The shares before and behind one are looked at
// together: they lie side by side.
bool sharesMeet(const Task &a, const Access &inA, const Task &b, const Access &inB) {
  const size_t shares = a.cuts.size() - 1;
  std::vector<Range> behind(shares + 1);
  for (size_t s = shares; s-- > 0;) {
    behind[s] = behind[s + 1];
    behind[s].include(rangeOf(b, inB, s));
  }
  Range before{};
  for (size_t s = 0; s < shares; s++) {
    const Range own = rangeOf(a, inA, s);
    if (own.begin < own.end && (own.meets(before) || own.meets(behind[s + 1]))) return true;
    before.include(rangeOf(b, inB, s));
  }
  return false;
}

bool onFirstShare(const Task &task) { return task.cuts[1] == task.phase.units; }

bool conflict(const Task &a, const Task &b) {
  // Another share of `a` may still find a fault, and then nothing that outlives the step may change.
  if (b.op->lasting && !a.op->lasting && !(onFirstShare(a) && onFirstShare(b))) return true;
  for (const Access &inA : a.accesses)
    for (const Access &inB : b.accesses)
      if (inA.place == inB.place && (inA.write || inB.write) && inA.begin < inB.end && inB.begin < inA.end &&
          sharesMeet(a, inA, b, inB))
        return true;
  return false;
}

// The most units of a share.
int64_t longest(const Cuts &cuts) {
  int64_t most = 0;
  for (size_t s = 0; s + 1 < cuts.size(); s++) most = std::max(most, cuts[s + 1] - cuts[s]);
  return most;
}

// Cuts of `task` through the same rows as those of `other`, or none: when units do not begin there, or when the longest
// share would cost more than the wait that is saved.
Cuts alignedCuts(const Task &task, const Task &other) {
  const Phase &to = task.phase, &from = other.phase;
  if (to.rows == 0 || from.rows == 0) return {};
  Cuts cuts;
  for (const int64_t cut : other.cuts) {
    const __int128 scaled = static_cast<__int128>(rowAt(from, cut)) * to.rows;
    if (scaled % from.rows != 0) return {};
    const auto row = static_cast<int64_t>(scaled / from.rows);
    int64_t low = 0, high = to.units;  // the first unit that begins at the row or behind it
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (rowAt(to, middle) < row)
        low = middle + 1;
      else
        high = middle;
    }
    if (rowAt(to, low) != row) return {};
    cuts.push_back(row == to.rows ? to.units : low);
  }
  const auto unit = to.nanoseconds / static_cast<double>(to.units);
  const int64_t even = (to.units + task.threads - 1) / task.threads;
  if (static_cast<double>(longest(cuts) - even) * unit > kWait) return {};
  return cuts;
}

}  // namespace

std::vector<Access> accessesOf(const Op &op, const Phase &phase, size_t workspace) {
  std::vector<Access> list;
  const auto add = [&](const Tensor &t, int bit, bool write) {
    const uint64_t bytes = static_cast<uint64_t>(t.size) * elementBytes(t.dtype);
    const bool byRow = phase.rows > 0 && (phase.byRow >> bit & 1) && t.size % phase.rows == 0;
    list.push_back({t.region, t.offset, t.offset + bytes, byRow, write});
  };
  for (int i = 0; i < op.inputs; i++) add(op.in[i], i, false);
  for (int i = 0; i < op.outputs; i++) add(op.out[i], kMaxInputs + i, true);
  for (int i = 0; i < op.epilogues; i++) {
    if (!op.epilogue[i].hasOperand) continue;
    // An operand as large as the result is met where the result is written; others are one row for all.
    const bool whole = op.epilogue[i].operand.size != op.out[0].size;
    add(op.epilogue[i].operand, whole ? 31 : kMaxInputs, false);
  }
  if (workspace > 0) list.push_back({kWorkspace, 0, workspace, false, true});
  return list;
}

bool join(std::vector<Task> &tasks, size_t first) {
  Task &task = tasks.back();
  const size_t last = tasks.size() - 1;
  const auto fits = [&](const Task &one) {
    for (size_t i = first; i < last; i++)
      if (conflict(tasks[i], one)) return false;
    return true;
  };
  for (size_t i = last; i-- > first;) {
    if (tasks[i].threads == 1) continue;
    Cuts cuts = alignedCuts(task, tasks[i]);
    if (cuts.empty()) continue;
    std::swap(cuts, task.cuts);
    if (fits(task)) return true;
    std::swap(cuts, task.cuts);
    break;
  }
  if (fits(task)) return true;
  if (task.threads == 1 || task.phase.rows == 0) return false;
  // Work that is cut finely can follow work that comes in large units.
  std::vector<Cuts> before;
  for (size_t i = first; i < last; i++) before.push_back(tasks[i].cuts);
  bool fine = true;
  for (size_t i = first; i < last && fine; i++) {
    if (onFirstShare(tasks[i])) continue;
    Cuts cuts = alignedCuts(tasks[i], task);
    fine = !cuts.empty();
    if (fine) tasks[i].cuts = std::move(cuts);
  }
  for (size_t b = first + 1; b <= last && fine; b++)
    for (size_t a = first; a < b && fine; a++) fine = !conflict(tasks[a], tasks[b]);
  if (!fine)
    for (size_t i = first; i < last; i++) tasks[i].cuts = before[i - first];
  return fine;
}

}  // namespace gradline::cpu
