// Shadow memory: see memory.h. Two accesses of one launch are ordered when the same thread makes both, or when both
// come from one block with a barrier between them; unordered accesses to one byte, at least one of them a write, are a
// race.
#include "memory.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>

#include "fibers.h"

namespace gradline::cuda::emulator {
namespace {

constexpr size_t kWord = 4, kAlign = 256, kMaxFindings = 100;
constexpr uint32_t kThreadBits = 11, kThreadMask = (1u << kThreadBits) - 1;
constexpr uint32_t kSeveral = kThreadMask;  // threads, in `when`
constexpr uint32_t kSeveralBlocks = 0xffffffff;

std::map<const char *, std::unique_ptr<Buffer>> &buffers() {  // by begin
  static std::map<const char *, std::unique_ptr<Buffer>> all;
  return all;
}
Buffer *lastFound = nullptr;

uint32_t pack(const Actor &actor) { return actor.when << kThreadBits | actor.thread; }
uint32_t threadOf(uint32_t when) { return when & kThreadMask; }

std::string threadName(uint32_t when) {
  return threadOf(when) == kSeveral ? "several threads" : "thread " + std::to_string(threadOf(when));
}

// Is an earlier access (launch, block, when) unordered with one of this actor?
bool unordered(uint32_t launch, uint32_t block, uint32_t when, const Actor &actor) {
  if (launch != actor.launch) return false;
  if (block != actor.block) return true;
  return when >> kThreadBits == actor.when && threadOf(when) != actor.thread;
}

void race(const Buffer &buffer, const char *address, const char *what, uint32_t block, uint32_t when) {
  const std::string other = block == kSeveralBlocks ? std::string("several blocks")
                                                    : "block " + std::to_string(block) + " " + threadName(when);
  report(std::string("race (") + what + ")", buffer.name,
         buffer.name + "+" + std::to_string(address - buffer.begin) + ", other: " + other);
}

void readWord(const Buffer &buffer, Cell &cell, const char *address, uint8_t bytes, const Actor &actor) {
  if ((cell.defined & bytes) != bytes)
    report("read of undefined memory", buffer.name, buffer.name + "+" + std::to_string(address - buffer.begin));
  if ((cell.written & bytes) && unordered(cell.writeLaunch, cell.writeBlock, cell.writeWhen, actor))
    race(buffer, address, "read after write", cell.writeBlock, cell.writeWhen);
  const uint32_t when = pack(actor);
  if (cell.readLaunch != actor.launch) {
    cell.readLaunch = actor.launch;
    cell.readBlock = actor.block;
    cell.readWhen = when;
  } else if (cell.readBlock != actor.block) {
    cell.readBlock = kSeveralBlocks;
  } else if (cell.readWhen >> kThreadBits != actor.when) {
    cell.readWhen = when;
  } else if (cell.readWhen != when) {
    cell.readWhen = actor.when << kThreadBits | kSeveral;
  }
}

void writeWord(const Buffer &buffer, Cell &cell, const char *address, uint8_t bytes, const Actor &actor) {
  // The last reads are not kept by byte: a neighbouring byte of the word may raise a false alarm. No kernel reads and
  // writes bytes of one buffer.
  if (unordered(cell.readLaunch, cell.readBlock, cell.readWhen, actor))
    race(buffer, address, "write after read", cell.readBlock, cell.readWhen);
  const bool together = unordered(cell.writeLaunch, cell.writeBlock, cell.writeWhen, actor);
  if (together && (cell.written & bytes)) race(buffer, address, "two writes", cell.writeBlock, cell.writeWhen);
  const uint8_t before = together ? cell.written : 0;  // bytes of others that are still unordered
  cell.writeLaunch = actor.launch;
  cell.writeBlock = actor.block;
  cell.writeWhen = before ? actor.when << kThreadBits | kSeveral : pack(actor);
  cell.written = static_cast<uint8_t>(before | bytes);
  cell.defined |= bytes;
}

template <class Visit>
void eachWord(Buffer &buffer, const char *address, size_t bytes, Visit visit) {
  if (buffer.cells.empty()) {
    Cell cell = {};
    cell.defined = buffer.defined ? 0xf : 0;
    buffer.cells.assign(static_cast<size_t>(buffer.end - buffer.begin) / kWord + 1, cell);
  }
  size_t at = static_cast<size_t>(address - buffer.begin);
  const size_t end = at + bytes;
  while (at < end) {
    const size_t word = at / kWord, next = (word + 1) * kWord, stop = next < end ? next : end;
    uint8_t mask = 0;
    for (size_t byte = at; byte < stop; byte++) mask = static_cast<uint8_t>(mask | 1u << (byte % kWord));
    visit(buffer.cells[word], buffer.begin + at, mask);
    at = stop;
  }
}

// All of a buffer without cells, which then needs none.
bool isWhole(const Buffer &buffer, const void *memory, size_t bytes) {
  return buffer.cells.empty() && memory == buffer.begin && buffer.begin + bytes == buffer.end;
}

}  // namespace

std::vector<std::string> &findings() {
  static std::vector<std::string> all;
  return all;
}

void report(const std::string &kind, const std::string &where, const std::string &detail) {
  static std::set<std::string> seen;
  std::vector<std::string> &all = findings();
  if (all.empty()) seen.clear();
  const std::string kernel = runningKernel();
  if (all.size() < kMaxFindings && seen.insert(kind + kernel + where).second)
    all.push_back(kind + " in " + kernel + ", " + runningThread() + ": " + detail);
}

void *allocate(size_t bytes, const char *name) {
  const size_t rounded = (bytes + kAlign - 1) / kAlign * kAlign;
  void *memory = std::aligned_alloc(kAlign, rounded ? rounded : kAlign);
  if (!memory) return nullptr;
  std::memset(memory, 0, rounded);
  auto buffer = std::make_unique<Buffer>();
  buffer->name = name;
  buffer->begin = static_cast<char *>(memory);
  buffer->end = buffer->begin + bytes;
  buffers()[buffer->begin] = std::move(buffer);
  return memory;
}

void release(void *memory) {
  if (!memory) return;
  lastFound = nullptr;
  if (buffers().erase(static_cast<char *>(memory)) == 0)
    return report("release of foreign memory", "host", "not from allocate");
  std::free(memory);
}

size_t allocatedBuffers() { return buffers().size(); }

Buffer *find(const void *address) {
  const char *p = static_cast<const char *>(address);
  if (lastFound && p >= lastFound->begin && p < lastFound->end) return lastFound;
  auto after = buffers().upper_bound(p);
  if (after == buffers().begin()) return nullptr;
  Buffer *buffer = std::prev(after)->second.get();
  if (p >= buffer->end) return nullptr;
  return lastFound = buffer;
}

void undefine(void *memory, size_t bytes) {
  Buffer *buffer = bytes ? find(memory) : nullptr;
  if (!buffer) return;
  std::memset(memory, 0xff, bytes);
  if (isWhole(*buffer, memory, bytes)) {
    buffer->defined = false;
    return;
  }
  undefine(*buffer, static_cast<char *>(memory), bytes);
}
void undefine(Buffer &buffer, char *at, size_t bytes) {
  std::memset(at, 0xff, bytes);
  eachWord(buffer, at, bytes,
           [](Cell &cell, const char *, uint8_t mask) { cell.defined = static_cast<uint8_t>(cell.defined & ~mask); });
}

void define(const void *memory, size_t bytes) {
  Buffer *buffer = bytes ? find(memory) : nullptr;
  if (!buffer) return;
  if (isWhole(*buffer, memory, bytes)) {
    buffer->defined = true;
    return;
  }
  eachWord(*buffer, static_cast<const char *>(memory), bytes,
           [](Cell &cell, const char *, uint8_t mask) { cell.defined |= mask; });
}

bool isDefined(const void *memory, size_t bytes) {
  Buffer *buffer = bytes ? find(memory) : nullptr;
  if (buffer && buffer->cells.empty()) return buffer->defined;
  bool all = true;
  if (buffer) {
    eachWord(*buffer, static_cast<const char *>(memory), bytes,
             [&](Cell &cell, const char *, uint8_t mask) { all &= (cell.defined & mask) == mask; });
  }
  return all;
}

bool access(Buffer &buffer, const void *address, size_t bytes, bool write, const char *begin, const char *end) {
  const char *p = static_cast<const char *>(address);
  if (p < begin || p + bytes > end) {
    report(write ? "write out of bounds" : "read out of bounds", buffer.name,
           buffer.name + (p < begin ? " begin-" : " begin+") + std::to_string(p < begin ? begin - p : p - begin) +
               " of " + std::to_string(end - begin) + " bytes");
    return false;
  }
  const Actor actor = runningActor();
  eachWord(buffer, p, bytes, [&](Cell &cell, const char *at, uint8_t mask) {
    write ? writeWord(buffer, cell, at, mask, actor) : readWord(buffer, cell, at, mask, actor);
  });
  return true;
}

}  // namespace gradline::cuda::emulator
