/*
 * Executes one instruction on the host's processor for each record read from standard input, and prints what it did.
 *
 * A record holds the code bytes, an x87 image (FRSTOR, 108 bytes), MXCSR, EFLAGS, RAX, two XMM registers and 128 bytes
 * of memory that the instruction finds at [rdi]. The answer holds the same after the instruction, or the number of the
 * signal that it raised. Little-endian, packed as in the structures below.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stddef.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

struct input {
  uint8_t code[16];
  uint32_t mxcsr;
  uint32_t eflags;
  uint64_t rax;
  uint8_t fpu[112];
  uint8_t xmm0[16];
  uint8_t xmm1[16];
  uint8_t mem[128];
} __attribute__((packed, aligned(16)));

struct output {
  uint32_t signal;
  uint32_t mxcsr;
  uint64_t eflags;
  uint64_t rax;
  uint64_t spare;
  uint8_t fpu[112];
  uint8_t xmm0[16];
  uint8_t xmm1[16];
  uint8_t mem[128];
} __attribute__((packed, aligned(16)));

static sigjmp_buf back;
static struct input in;
static struct output out;
static uint8_t *code;

static void on_signal(int number, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  (void)info;
  out.signal = number;
  out.mxcsr = uc->uc_mcontext.fpregs->mxcsr;
  siglongjmp(back, 1);
}

static void run(void) {
  __asm__ volatile(
      "frstor %c[fpu](%%rbx)\n\t"
      "ldmxcsr %c[mxcsr](%%rbx)\n\t"
      "movdqu %c[xmm0](%%rbx), %%xmm0\n\t"
      "movdqu %c[xmm1](%%rbx), %%xmm1\n\t"
      "movq %c[rax](%%rbx), %%rax\n\t"
      "lea out+%c[omem](%%rip), %%rdi\n\t"
      "movl %c[eflags](%%rbx), %%ecx\n\t"
      "pushq %%rcx\n\t"
      "popfq\n\t"
      "call *%[code]\n\t"
      "pushfq\n\t"
      "popq %%rcx\n\t"
      "lea out(%%rip), %%rdi\n\t"
      "movq %%rax, %c[orax](%%rdi)\n\t"
      "movq %%rcx, %c[oeflags](%%rdi)\n\t"
      "stmxcsr %c[omxcsr](%%rdi)\n\t"
      "fnsave %c[ofpu](%%rdi)\n\t"
      "movdqu %%xmm0, %c[oxmm0](%%rdi)\n\t"
      "movdqu %%xmm1, %c[oxmm1](%%rdi)\n\t"
      :
      : "b"(&in), [code] "r"(code), [fpu] "i"(offsetof(struct input, fpu)), [mxcsr] "i"(offsetof(struct input, mxcsr)),
        [xmm0] "i"(offsetof(struct input, xmm0)), [xmm1] "i"(offsetof(struct input, xmm1)),
        [rax] "i"(offsetof(struct input, rax)), [eflags] "i"(offsetof(struct input, eflags)),
        [omem] "i"(offsetof(struct output, mem)), [orax] "i"(offsetof(struct output, rax)),
        [oeflags] "i"(offsetof(struct output, eflags)), [omxcsr] "i"(offsetof(struct output, mxcsr)),
        [ofpu] "i"(offsetof(struct output, fpu)), [oxmm0] "i"(offsetof(struct output, xmm0)),
        [oxmm1] "i"(offsetof(struct output, xmm1))
      : "rax", "rcx", "rdi", "memory", "cc", "xmm0", "xmm1");
}

int main(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGFPE, &action, 0);
  sigaction(SIGILL, &action, 0);
  sigaction(SIGSEGV, &action, 0);
  code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) return 1;
  while (fread(&in, sizeof in, 1, stdin) == 1) {
    const uint32_t default_mxcsr = 0x1f80;
    memset(&out, 0, sizeof out);
    memcpy(out.mem, in.mem, sizeof in.mem);
    memcpy(code, in.code, sizeof in.code);
    if (sigsetjmp(back, 1) == 0) run();
    __asm__ volatile("fninit\n\tldmxcsr %0\n\tcld" : : "m"(default_mxcsr));
    if (fwrite(&out, sizeof out, 1, stdout) != 1) return 1;
  }
  return 0;
}
