// What the C++ library of this machine's GCC asks of its glibc (2.32 and 2.36), for linking that library against an older glibc or
// against musl. Linked into the binary, hidden; no source of gradline calls it.
#include <stdlib.h>
#include <sys/random.h>

// True allows locks to be left out; other threads may be there at any time.
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;

// Behind std::random_device.
__attribute__((visibility("hidden"))) unsigned arc4random(void) {
  unsigned bits;
  if (getrandom(&bits, sizeof bits, 0) != sizeof bits) abort();
  return bits;
}
