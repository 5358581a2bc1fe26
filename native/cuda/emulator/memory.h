// Memory of the emulated card and the detector over it. Every 4-byte word has a shadow cell that remembers who wrote
// and who read it last, and between which barriers; from that follow data races, reads of what nobody wrote and
// accesses outside of an operand. It schedules nothing: fibers.h says who is running.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gradline::cuda::emulator {

// Who makes an access: `when` counts the barriers of the block, so two threads of a block are ordered when theirs
// differ.
struct Actor {
  uint32_t launch, block, thread, when;
};

struct Cell {
  uint32_t writeLaunch, writeBlock, writeWhen;  // `when` and thread packed, see memory.cc
  uint32_t readLaunch, readBlock, readWhen;
  uint8_t defined, written;  // bits of the bytes of the word: ever written, written by the last writer
};

// A stretch of memory with its cells: a device buffer, or the shared memory of a block.
struct Buffer {
  std::string name;
  char *begin, *end;
  std::vector<Cell> cells;  // made when the first of them is needed: large buffers are often hardly touched
  bool defined = true;      // all of it, as long as there are no cells
};

// Memory of the card: `bytes` zeroed bytes aligned to 256, defined. Null when it cannot be had.
void *allocate(size_t bytes, const char *name);
void release(void *memory);  // from allocate, or null
size_t allocatedBuffers();
// The buffer that holds this address, or null.
Buffer *find(const void *address);
// Content is from now on nobody's: filled with NaN, a read before a write is a finding. Inside of one buffer.
void undefine(void *memory, size_t bytes);
void define(const void *memory, size_t bytes);  // as a copy from the host does
bool isDefined(const void *memory, size_t bytes);

// What the detector found, one line per kind, kernel and buffer; at most 100.
std::vector<std::string> &findings();

// Bytes of a buffer within the bounds of an operand.
struct Stretch {
  Buffer *buffer;
  char *at;
  size_t bytes;
  const char *begin, *end;
};
// These bytes of a buffer are from now on nobody's: NaN, and a read before the next write is a finding.
void undefine(Buffer &buffer, char *at, size_t bytes);

// One access of the running thread. False: it lies outside of [begin, end) and must not be made.
bool access(Buffer &buffer, const void *address, size_t bytes, bool write, const char *begin, const char *end);

void report(const std::string &kind, const std::string &where, const std::string &detail);

}  // namespace gradline::cuda::emulator
