// The bodies: a call, and nothing.
#include "marks.h"

void gradline_replay_step(void (*run)(const void *), const void *arguments) {
  run(arguments);
  asm volatile("");  // else the call would be a jump, after which this function counts as left
}

void gradline_replay_case_done() { asm volatile(""); }
