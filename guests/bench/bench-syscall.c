/* SYSCALL and SYSRET between ring 3 and ring 0 with a change of stack; one unit is one round trip. */
#include "bench.h"

#define MSR_STAR 0xC0000081
#define MSR_LSTAR 0xC0000082
#define MSR_FMASK 0xC0000084

extern const uint8_t syscall_entry[];
static unsigned long units;
unsigned long syscall_count, syscall_user_rsp, syscall_stack[64];

__asm__(".text\n"
        "syscall_entry:\n"
        "mov %rsp, syscall_user_rsp\n"
        "mov $(syscall_stack + 512), %rsp\n"
        "push %rcx\n"
        "push %r11\n"
        "incq syscall_count\n"
        "pop %r11\n"
        "pop %rcx\n"
        "mov syscall_user_rsp, %rsp\n"
        "sysretq\n");

static void user(void) {
    for (unsigned long i = units; i; i--) __asm__ volatile("syscall" ::: "rcx", "r11", "memory");
}

void guest_main(void) {
    wrmsr(MSR_STAR, (uint64_t)USER_CODE32 << 48 | (uint64_t)KERNEL_CODE << 32);
    wrmsr(MSR_LSTAR, (uint64_t)syscall_entry);
    wrmsr(MSR_FMASK, FLAG_IF);
    units = begin(10000);
    catch_user(user, FLAG_IF);
    done(units, syscall_count);
}
