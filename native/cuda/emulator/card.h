// What a stand-in for a library on the emulated card may ask of it: memory, streams and captures, as the functions of
// runtime.h see them. C only, since the stand-in is a library of its own. Numbers returned are those of cudaError_t.
#pragma once
#include <stddef.h>

struct EmulatedCard {
  int (*alloc)(void **memory, size_t bytes);
  int (*release)(void *memory);
  bool (*holds)(const void *at, size_t bytes);  // inside of one piece of the card's memory
  bool (*isDefined)(const void *at, size_t bytes);
  void (*define)(const void *at, size_t bytes);
  bool (*isStream)(const void *stream);
  bool (*isCapturing)();  // this thread, on any stream
  // Runs work(data) in its place in the stream, and again whenever a graph is launched that was captured with it.
  int (*enqueue)(void *stream, void (*work)(void *), void *data);
  int (*wait)(void *stream);  // null: for all of the card
};

extern "C" __attribute__((visibility("default"))) const EmulatedCard *gradline_emulated_card();
