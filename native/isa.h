// Which of the instruction sets that kernels are compiled for this x86-64 processor has and the operating system keeps
// across thread switches. By CPUID and XGETBV directly: the compilers' own __builtin_cpu_supports needs a run-time
// library that not every one of them brings. Included by plain C++ files only, never by kernels.
#pragma once
#include <stdint.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace gradline {

struct InstructionSets {
  bool avx2 = false;    // with FMA and F16C
  bool avx512 = false;  // F, BW, DQ and VL, and all of avx2
};

inline InstructionSets instructionSets() {
  InstructionSets found;
#if defined(__x86_64__)
  // Bit numbers: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CPUID.
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  const auto has = [](uint32_t word, int bit) { return (word >> bit & 1) != 0; };
  const bool fma = has(c, 12), xgetbv = has(c, 27), avx = has(c, 28), f16c = has(c, 29);
  if (!fma || !xgetbv || !avx || !f16c || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr uint32_t kYmm = 0x06, kZmm = 0xe6;  // XCR0: what the system saves
  found.avx2 = (low & kYmm) == kYmm && has(b, 5);
  found.avx512 = found.avx2 && (low & kZmm) == kZmm && has(b, 16) && has(b, 17) && has(b, 30) && has(b, 31);
#endif
  return found;
}

}  // namespace gradline
