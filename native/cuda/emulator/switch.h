// Switching between stacks, for fibers.cc alone: saves the registers that a function must keep and goes on elsewhere.
// By hand, since ucontext makes a system call each time.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
// gradline_switch(save, load): pushes what the caller expects to find again, keeps its stack pointer in *save, and goes
// on where the other stack pointer was kept.
asm(R"(
.text
.p2align 4
.type gradline_switch, @function
gradline_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gradline_switch, .-gradline_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.p2align 4
.type gradline_switch, %function
gradline_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x2, sp
  str x2, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size gradline_switch, .-gradline_switch
)");
#else
#error "the emulator has a fiber switch for x86-64 and aarch64 only"
#endif
extern "C" void gradline_switch(void **save, void *load);

namespace gradline::cuda::emulator {

// The stack pointer at which gradline_switch begins `enter` on an empty stack.
inline void *freshStack(char *stack, size_t bytes, void (*enter)()) {
  uintptr_t *top = reinterpret_cast<uintptr_t *>((reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t{15});
#if defined(__x86_64__)
  *--top = 0;  // as after a call: the stack pointer is 8 off a multiple of 16 when a function begins
  *--top = reinterpret_cast<uintptr_t>(enter);
  for (int i = 0; i < 6; i++) *--top = 0;
#else
  top -= 20;
  for (int i = 0; i < 20; i++) top[i] = 0;
  top[11] = reinterpret_cast<uintptr_t>(enter);  // x30
#endif
  return top;
}

}  // namespace gradline::cuda::emulator
