// Copies that land later: a running thread of the emulated card begins them, ends a group of them, and waits. What is
// copied is nobody's until the wait, so that a kernel which forgets it, or a barrier behind it, is found. Which memory
// that is says memory.h.
#pragma once
#include "memory.h"

namespace gradline::cuda::emulator {

// `from` goes to `to`, or zeros do.
void copyLater(const Stretch &to, const Stretch &from, bool zeros);
void commitCopies();
// Until at most so many groups of this thread are under way.
void waitCopies(int groups);
// A thread begins, whatever became of the one that had its number before.
void beginCopies(uint32_t fiber);
// It ends: nothing of it may be under way.
void endCopies();

}  // namespace gradline::cuda::emulator
