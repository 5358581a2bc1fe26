// A stand-in for libcuda, libcublas and libcublasLt in one file: device memory is host memory, products are plain loops
// in double precision, and every call is counted, checked and can be made to fail. It declares all types and numbers by
// itself, from NVIDIA's documentation, so that a wrong number in the binding does not meet itself here. Attached to the
// emulated card it computes on that card's memory, in the order of its streams. Test only.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "../../../native/cuda/emulator/card.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace standin {

struct Desc {
  int compute, scale;
  int transA = 0, transB = 0;
  uint32_t epilogue = 1;
  void *bias = nullptr, *aux = nullptr;
  int64_t auxLd = 0;
};

struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t ld;
  int32_t batch = 1;
  int64_t stride = 0;
};

struct Preference {
  uint64_t workspace = 0;
  uint32_t reductions = 7, alignment[4] = {256, 256, 256, 256};
};

struct Blas {
  void *stream = nullptr, *workspace = nullptr;
  size_t workspaceBytes = 0;
};

struct Event {
  double time = -1;  // seconds of the virtual clock; -1: not recorded
  void *stream = nullptr;
};

// What a test may ask for besides failing.
struct Options {
  bool rude = false;         // offers an in-place reduction even where the preference excludes it
  bool onlyRight = false;    // offers no algorithm that fails or is wrong
  uint32_t unsupported = 0;  // an epilogue for which there is no algorithm
};

// Everything the libraries hold. What is in none of the sets is not theirs.
struct State {
  std::map<uintptr_t, size_t> memory;
  std::set<void *> streams;
  std::set<Blas *> handles;
  std::set<Desc *> descs;
  std::set<Layout *> layouts;
  std::set<Preference *> preferences;
  std::set<Event *> events;
  int contexts = 0, current = 0;
  bool initialised = false;
  double clock = 0;
  long calls = 0, failAt = 0;  // failAt: the number of the call that fails, 0 for none
  std::string failed;          // its name
  std::vector<std::string> violations;
  std::map<std::string, long> counts;
  Options options;
  const EmulatedCard *card =
      nullptr;  // null: memory and streams are those above, and work is done when it is asked for
  std::vector<std::unique_ptr<std::function<void()>>> work;  // of the card's streams and graphs, until the last handle
};
State &state();

// Notes a wrong use; gives false, so that it can stand in a condition.
bool violation(const std::string &text);

// True when this call is the one to fail.
bool fails(const char *name);

// Whether the stream lives; null is the default one.
bool isStream(void *stream);

// True, and noted, when the calling thread is capturing: for calls that a graph cannot hold or that the backend must
// not make there, since they allocate, wait or plan.
bool inCapture(const char *name);

// Does the work when the stream gets to it; not 0: a code of the card.
int onStream(void *stream, std::function<void()> work);

// Whether [at, at + bytes) lies in one piece of memory given out; notes it when not.
bool inside(const char *what, const void *at, size_t bytes);

struct Matrix {
  void *at;
  int type;
  int64_t rows, columns, ld;  // by column
};
size_t sizeOf(int type);
double get(const Matrix &, int64_t row, int64_t column);
void put(const Matrix &, int64_t row, int64_t column, double value);
bool checkMatrix(const char *what, const Matrix &, int64_t rows, int64_t columns);
// Of the card's memory: whether every element was written, and that they now are. Without a card all are.
bool isDefined(const Matrix &);
void define(const Matrix &);

}  // namespace standin

// For a program without Node: to be attached, to be looked into, to be told what to do.
EXPORT void standin_attach(const EmulatedCard *card);
EXPORT standin::State *standin_state();
