// Switching between stacks: a few instructions on x86-64, the C library's contexts elsewhere.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulator {

constexpr size_t STACK = 64 * 1024;

class Fibre {
 public:
  Fibre() : stack(static_cast<unsigned char*>(std::malloc(STACK))) {}
  ~Fibre() { std::free(stack); }
  Fibre(const Fibre&) = delete;

#if defined(__x86_64__)
  // Ready to run `body` at the first switch; the body never returns but switches away for good.
  void prepare(void (*body)()) {
    uint64_t* top = reinterpret_cast<uint64_t*>((reinterpret_cast<uintptr_t>(stack) + STACK) & ~uintptr_t(15));
    *--top = 0;  // where a return address would be: the stack is aligned as after a call
    *--top = reinterpret_cast<uint64_t>(body);
    for (int i = 0; i < 6; i++) *--top = 0;  // the six registers that a callee keeps
    pointer = top;
  }
  void* pointer = nullptr;
#else
  void prepare(void (*body)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    makecontext(&context, body, 0);
  }
  ucontext_t context;
#endif

 private:
  unsigned char* stack;
};

#if defined(__x86_64__)
extern "C" void minillmSwitch(void** from, void* to);
asm(R"(
.text
.globl minillmSwitch
.hidden minillmSwitch
.type minillmSwitch,@function
minillmSwitch:
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
.size minillmSwitch,.-minillmSwitch
)");
struct Home {
  void* pointer = nullptr;
};
inline void enter(Home& home, Fibre& fibre) { minillmSwitch(&home.pointer, fibre.pointer); }
inline void leave(Fibre& fibre, Home& home) { minillmSwitch(&fibre.pointer, home.pointer); }
#else
struct Home {
  ucontext_t context;
};
inline void enter(Home& home, Fibre& fibre) { swapcontext(&home.context, &fibre.context); }
inline void leave(Fibre& fibre, Home& home) { swapcontext(&fibre.context, &home.context); }
#endif

}  // namespace emulator
