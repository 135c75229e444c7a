/* System calls by INT 80 from ring 3, all registers saved and restored; one unit is one round trip. */
#include "bench.h"

extern const uint8_t int80_entry[];
static volatile unsigned long calls;
static unsigned long units;
void int80_handler(void);

void int80_handler(void) { calls++; }

__asm__(".text\n"
        "int80_entry:\n"
        "push %rax; push %rcx; push %rdx; push %rbx; push %rbp; push %rsi; push %rdi; push %r8\n"
        "push %r9; push %r10; push %r11; push %r12; push %r13; push %r14; push %r15\n"
        "call int80_handler\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %r11; pop %r10; pop %r9\n"
        "pop %r8; pop %rdi; pop %rsi; pop %rbp; pop %rbx; pop %rdx; pop %rcx; pop %rax\n"
        "iretq\n");

static void user(void) {
    for (unsigned long i = units; i; i--) __asm__ volatile("int $0x80" ::: "memory");
}

void guest_main(void) {
    set_gate_to(0x80, int80_entry, GATE_INTERRUPT | GATE_DPL3, 0);
    units = begin(10000);
    catch_user(user, FLAG_IF);
    done(units, calls);
}
