/*
 * Runs single instructions on the host's processor. Cases come in on stdin, results go out on stdout, both as arrays of the records below.
 *
 * There is no assembly: everything happens in a signal handler on its own stack. It takes the state of the case that ended from the signal frame, puts the
 * next case's state into the frame and its bytes into the code page, and returns: sigreturn loads all registers at once. Behind the instruction, and
 * everywhere a branch may lead, lies INT3. Linux on x86-64, as a 64- or 32-bit static program linked above 0x50000000. 16-bit code runs in
 * segments of the 32-bit program's own.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#define CODE 0x200000u
#define CODE_BYTES 0x2000u
#define START 0x800u
#define DATA 0x210000u
#define DATA_BYTES 0x2000u
#define WINDOW (DATA + 0xf80u)
#define WINDOW_BYTES 256

struct in {
  uint8_t code[16];
  uint64_t gpr[16];
  uint64_t flags;
  uint32_t mxcsr, pad;
  uint8_t xmm[16][16];
  uint8_t st[8][16];
  uint8_t data[WINDOW_BYTES];
};
struct out {
  uint64_t gpr[16];
  uint64_t rip;
  uint64_t flags;
  uint64_t cr2;
  uint32_t vector, error;
  uint32_t mxcsr;
  uint16_t status;
  uint16_t tags;
  uint32_t stray, pad;
  uint8_t xmm[16][16];
  uint8_t st[8][16];
  uint8_t data[WINDOW_BYTES];
};

static struct in *cases;
static struct out *results;
static size_t count, at;
static int running;
/* Base of the code segment. */
static uint32_t code_base;

#ifdef __x86_64__
static const int ORDER[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                              REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
#define GPRS 16
#define IP REG_RIP
#define WORD uint64_t
static uint8_t *fx(ucontext_t *u) { return (uint8_t *)u->uc_mcontext.fpregs; }
static uint64_t cr2(ucontext_t *u) { return u->uc_mcontext.gregs[REG_CR2]; }
#else
static const int ORDER[8] = {REG_EAX, REG_ECX, REG_EDX, REG_EBX, REG_ESP, REG_EBP, REG_ESI, REG_EDI};
#define GPRS 8
#define IP REG_EIP
#define WORD uint32_t
/* Behind the FSAVE image of 112 bytes; the x87 registers are taken from that image when the frame is loaded. */
static uint8_t *fx(ucontext_t *u) { return (uint8_t *)u->uc_mcontext.fpregs + 112; }
static uint64_t cr2(ucontext_t *u) { return u->uc_mcontext.cr2; }
#endif

static void take(ucontext_t *u) {
  struct out *o = &results[at];
  uint8_t *f = fx(u);
  for (int i = 0; i < GPRS; i++) o->gpr[i] = (WORD)u->uc_mcontext.gregs[ORDER[i]];
  o->rip = (WORD)u->uc_mcontext.gregs[IP];
  o->flags = (uint32_t)u->uc_mcontext.gregs[REG_EFL];
  o->vector = u->uc_mcontext.gregs[REG_TRAPNO];
  o->error = u->uc_mcontext.gregs[REG_ERR];
  o->cr2 = o->vector == 14 ? cr2(u) : 0;
  if (o->vector == 3) o->rip--;
  /* A branch that was taken to a place without code has retired. */
  if (o->vector == 14 && o->cr2 == code_base + o->rip && code_base + o->rip != CODE + START) o->vector = 3, o->error = 0, o->cr2 = 0;
  if (o->vector != 14 && o->vector != 13 && o->vector != 12) o->error = 0;
  memcpy(&o->mxcsr, f + 24, 4);
  memcpy(&o->status, f + 2, 2);
  o->tags = f[4];
#ifdef __x86_64__
  for (int i = 0; i < 8; i++) memcpy(o->st[i], f + 32 + i * 16, 10);
#else
  const uint8_t *save = f - 112;
  memcpy(&o->status, save + 4, 2);
  uint16_t full;
  memcpy(&full, save + 8, 2);
  o->tags = 0;
  for (int i = 0; i < 8; i++) o->tags |= (((full >> (i * 2)) & 3) != 3) << i;
  for (int i = 0; i < 8; i++) memcpy(o->st[i], save + 28 + i * 10, 10);
#endif
  memcpy(o->xmm, f + 160, GPRS * 16);
  memcpy(o->data, (void *)WINDOW, WINDOW_BYTES);
  memset((void *)WINDOW, 0, WINDOW_BYTES);
  uint32_t *words = (uint32_t *)DATA, stray = 0;
  for (uint32_t i = 0; i < DATA_BYTES / 4; i++)
    if (words[i]) stray += words[i] * (2 * i + 1), words[i] = 0;
  o->stray = stray;
}

static void give(ucontext_t *u) {
  const struct in *c = &cases[at];
  uint8_t *f = fx(u);
  memcpy((void *)(CODE + START), c->code, 15);
  memcpy((void *)WINDOW, c->data, WINDOW_BYTES);
  for (int i = 0; i < GPRS; i++) u->uc_mcontext.gregs[ORDER[i]] = (WORD)c->gpr[i];
  code_base = c->pad & 2 ? CODE : 0;
  u->uc_mcontext.gregs[IP] = CODE + START - code_base;
  u->uc_mcontext.gregs[REG_EFL] = c->flags;
  memset(f, 0, 24);
  f[0] = 0x7f, f[1] = 3;
  memcpy(f + 24, &c->mxcsr, 4);
  memset(f + 32, 0, 128);
#ifdef __x86_64__
  for (int i = 0; i < 8; i++) memcpy(f + 32 + i * 16, c->st[i], 10);
#else
  uint8_t *save = f - 112;
  const uint32_t control = 0xffff037f, status = 0xffff0000, empty = 0xffffffff;
  memcpy(save, &control, 4), memcpy(save + 4, &status, 4), memcpy(save + 8, &empty, 4);
  memset(save + 12, 0, 16);
  for (int i = 0; i < 8; i++) memcpy(save + 28 + i * 10, c->st[i], 10);
#endif
  memcpy(f + 160, c->xmm, GPRS * 16);
  uint32_t magic;
  memcpy(&magic, f + 464, 4);
  if (magic == 0x46505853) f[512] |= 3;
#ifdef __i386__
  /* FS is the data area from offset 0, ES too when asked. In 16-bit code all segments but CS are. */
  int small = c->pad & 2;
  u->uc_mcontext.gregs[REG_FS] = 7;
  u->uc_mcontext.gregs[REG_ES] = c->pad & 1 ? 7 : 0x2b;
  u->uc_mcontext.gregs[REG_DS] = small ? 7 : 0x2b;
  u->uc_mcontext.gregs[REG_SS] = small ? 0x17 : 0x2b;
  u->uc_mcontext.gregs[REG_CS] = small ? 0xf : 0x23;
#endif
}

static void write_all(const void *bytes, size_t size) {
  const char *p = bytes;
  while (size) {
    ssize_t n = write(1, p, size);
    if (n <= 0) _exit(4);
    p += n, size -= n;
  }
}

static void handler(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  ucontext_t *u = context;
  if (running) take(u), at++;
  running = 1;
  if (at == count) {
    write_all(results, count * sizeof *results);
    _exit(0);
  }
  give(u);
}
static void too_long(int signal) {
  (void)signal;
  write(2, "the instruction does not end\n", 29);
  _exit(3);
}

static void *fixed(uintptr_t address, size_t size, int protection) {
  void *p = mmap((void *)address, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (p != (void *)address) _exit(5);
  return p;
}

int main(void) {
  size_t room = 64 << 20, have = 0;
  char *input = mmap(0, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (ssize_t n; (n = read(0, input + have, room - have)) > 0;) have += n;
  cases = (struct in *)input;
  count = have / sizeof *cases;
  results = calloc(count + 1, sizeof *results);
  memset(fixed(CODE, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC), 0xcc, CODE_BYTES);
  fixed(DATA, DATA_BYTES, PROT_READ | PROT_WRITE);
#ifdef __x86_64__
  if (syscall(SYS_arch_prctl, ARCH_SET_GS, DATA)) _exit(6);
#else
  struct user_desc data = {.entry_number = 0, .base_addr = DATA, .limit = 0xffff, .seg_32bit = 1, .useable = 1};
  struct user_desc code = {.entry_number = 1, .base_addr = CODE, .limit = 0xffff, .contents = 2, .useable = 1};
  struct user_desc sixteen = {.entry_number = 2, .base_addr = DATA, .limit = 0xffff, .useable = 1};
  if (syscall(SYS_modify_ldt, 1, &data, sizeof data) || syscall(SYS_modify_ldt, 1, &code, sizeof code) ||
      syscall(SYS_modify_ldt, 1, &sixteen, sizeof sixteen))
    _exit(6);
#endif
  stack_t stack = {.ss_size = 1 << 16};
  stack.ss_sp = malloc(stack.ss_size);
  sigaltstack(&stack, 0);
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  sigemptyset(&action.sa_mask);
  const int signals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  for (int i = 0; i < 5; i++) sigaction(signals[i], &action, 0);
  struct sigaction late = {.sa_handler = too_long, .sa_flags = SA_ONSTACK};
  sigaction(SIGALRM, &late, 0);
  alarm(60);
  raise(SIGTRAP);
  return 0;
}
