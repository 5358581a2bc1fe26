// malloc and its kin with a counter. operator new calls malloc, so it counts as well.
#include "heap.h"

#include <stdlib.h>

#include <atomic>
#include <cerrno>

#if defined(__GLIBC__) && !defined(GRADLINE_SANITIZED)

namespace {
std::atomic<uint64_t> counted{0};
void count() { counted.fetch_add(1, std::memory_order_relaxed); }
}  // namespace

extern "C" {
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

__attribute__((visibility("default"))) void *malloc(size_t bytes) {
  count();
  return __libc_malloc(bytes);
}
__attribute__((visibility("default"))) void *calloc(size_t n, size_t bytes) {
  count();
  return __libc_calloc(n, bytes);
}
__attribute__((visibility("default"))) void *realloc(void *memory, size_t bytes) {
  count();
  return __libc_realloc(memory, bytes);
}
__attribute__((visibility("default"))) void *aligned_alloc(size_t alignment, size_t bytes) {
  count();
  return __libc_memalign(alignment, bytes);
}
__attribute__((visibility("default"))) int posix_memalign(void **memory, size_t alignment, size_t bytes) {
  count();
  *memory = __libc_memalign(alignment, bytes);
  return *memory ? 0 : ENOMEM;
}
}

namespace gradline::replay {
uint64_t allocations() { return counted.load(std::memory_order_relaxed); }
bool countsAllocations() { return true; }
}  // namespace gradline::replay

#else

namespace gradline::replay {
uint64_t allocations() { return 0; }
bool countsAllocations() { return false; }
}  // namespace gradline::replay

#endif
