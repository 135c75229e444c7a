/* SYSCALL and SYSRET, SYSENTER and SYSEXIT, SWAPGS, from 64-bit and from compatibility mode (Intel SDM vol 2). */
#include "guest.h"

enum { EFER = 0xC0000080, STAR = 0xC0000081, LSTAR = 0xC0000082, CSTAR = 0xC0000083, FMASK = 0xC0000084,
       FS_BASE = 0xC0000100, GS_BASE = 0xC0000101, KERNEL_GS_BASE = 0xC0000102,
       SYSENTER_CS = 0x174, SYSENTER_ESP = 0x175, SYSENTER_EIP = 0x176 };
#define EFER_SCE 1
#define VECTOR 0x81

/* What the kernel entries saw. */
struct seen {
    uint64_t rcx, r11, rsp, rflags, cs, ss;
} seen;
uint64_t entries, kernel_stack[128];
extern const uint8_t syscall_entry[], sysenter_entry[], sysenter_entry_32[];

#define NOTE                                                                                                           \
    "mov %rcx, seen\nmov %r11, seen + 8\nmov %rsp, seen + 16\nmov $(kernel_stack + 1024), %rsp\npushfq\npopq seen + 24\n"   \
    "movq $0, seen + 32\nmov %cs, seen + 32\nmovq $0, seen + 40\nmov %ss, seen + 40\nincq entries\n"

__asm__(".text\n"
        "syscall_entry:\n" NOTE "mov seen + 16, %rsp\nmov seen, %rcx\nsysretq\n"
        "sysenter_entry:\n" NOTE "mov %rsi, %rdx\nmov %rdi, %rcx\nsysexitq\n"    /* the caller passes RIP and RSP */
        "sysenter_entry_32:\n" NOTE "mov %esi, %edx\nmov %edi, %ecx\nsysexitl\n");

/* RCX and R11 are the processor's; the program shows afterwards where it is by INT 81. */
SNIPPET(user_syscall, "mov $0x11, %ecx\nmov $0x22, %r11d", "syscall");
extern const uint8_t user_syscall_program[], user_syscall_back[], user_sysenter_program[], user_sysenter_back[],
    user_sysexit32_program[], user_sysexit32_back[];
__asm__(".text\n"
        "user_syscall_program: std\nstc\nsyscall\nuser_syscall_back: int $0x81\ncld\nint $0x7F\n"
        "user_sysenter_program: mov %rsp, %rdi\nlea user_sysenter_back, %rsi\nsysenter\nud2\n"
        "user_sysenter_back: int $0x81\nint $0x7F\n"
        "user_sysexit32_program: mov %rsp, %rdi\nlea user_sysexit32_back, %rsi\nsysenter\nud2\n"
        ".code32\nuser_sysexit32_back: xor %eax, %eax\ndec %eax\nnop\nint $0x81\nint $0x7F\n.code64\n"
        "compat_syscall_program: .code32\nsyscall\ncompat_syscall_back: int $0x81\nint $0x7F\n.code64\n");
extern const uint8_t compat_syscall_program[];

static struct trap back;
static void note(struct trap *trap) {
    back = *trap;
    trap->rflags &= ~0x400UL;
}

typedef void code(void);

static void syscall_sysret(void) {
    wrmsr(EFER, rdmsr(EFER) & ~(uint64_t)EFER_SCE);
    struct caught c = catch_user(user_syscall, 2);
    check("SYSCALL without EFER.SCE: #UD", c.vector == UD && c.rip == (uint64_t)user_syscall_at);
    wrmsr(EFER, rdmsr(EFER) | EFER_SCE);
    wrmsr(STAR, (uint64_t)USER_CODE32 << 48 | (uint64_t)KERNEL_CODE << 32);
    wrmsr(LSTAR, (uint64_t)syscall_entry);
    wrmsr(FMASK, 0x400 | FLAG_IF); /* DF and IF */
    check("STAR, LSTAR and FMASK read back", rdmsr(STAR) == ((uint64_t)USER_CODE32 << 48 | (uint64_t)KERNEL_CODE << 32) &&
          rdmsr(LSTAR) == (uint64_t)syscall_entry && rdmsr(FMASK) == (0x400 | FLAG_IF));
    c = catch_user((code *)user_syscall_program, 2 | FLAG_IF | FLAG_AC);
    check("SYSCALL: RCX is the next instruction", entries == 1 && seen.rcx == (uint64_t)user_syscall_back);
    check("SYSCALL: R11 is RFLAGS", (seen.r11 & (0x400 | FLAG_IF | FLAG_CF)) == (0x400 | FLAG_IF | FLAG_CF));
    check("SYSCALL: the bits of FMASK are cleared, another system flag is kept",
          (seen.rflags & (0x400 | FLAG_IF | FLAG_AC)) == FLAG_AC);
    check("SYSCALL: the arithmetic flags are kept", seen.rflags & FLAG_CF);
    check("SYSCALL: CS and SS come from STAR", seen.cs == KERNEL_CODE && seen.ss == KERNEL_DATA);
    check("SYSCALL: RSP is the user's", seen.rsp > (uint64_t)user_stack && seen.rsp <= (uint64_t)(user_stack + USER_STACK_WORDS));
    check("SYSRET: back in ring 3 with RFLAGS from R11", c.vector == -1 && back.cs == USER_CODE && back.ss == USER_DATA &&
          (back.rflags & (0x400 | FLAG_IF | FLAG_CF)) == (0x400 | FLAG_IF | FLAG_CF));
}

SNIPPET(sysret_in_user, "mov $0x100000, %ecx\nmov $2, %r11d", "sysretq");
SNIPPET(sysret_noncanonical, "movabs $0x800000000000, %rcx\nmov $2, %r11d", "sysretq");
SNIPPET(lstar_noncanonical, "mov $0xC0000082, %ecx\nmov $0x8000, %edx\nxor %eax, %eax", "wrmsr");

static void syscall_faults(void) {
    struct caught c = catch_user(sysret_in_user, 2);
    check("SYSRET in ring 3: #GP(0)", c.vector == GP && c.error == 0 && c.rip == (uint64_t)sysret_in_user_at);
    if (on_qemu_tcg()) {
        skip("SYSRET to a non-canonical address: QEMU goes there in ring 3");
    } else {
        c = catch(sysret_noncanonical);
        check("SYSRET to a non-canonical address: #GP(0) in ring 0", c.vector == GP && c.cs == KERNEL_CODE);
    }
    c = catch(lstar_noncanonical);
    check("a non-canonical LSTAR: #GP(0)", c.vector == GP && c.error == 0);
    wrmsr(LSTAR, (uint64_t)syscall_entry);
}

/* Intel has no SYSCALL in compatibility mode; AMD enters at CSTAR, but only its own processors are asked. */
static void compatibility_syscall(void) {
    struct cpuid vendor = cpuid(0, 0);
    if (vendor.ebx != 0x756E6547) {
        skip("SYSCALL in compatibility mode: not an Intel processor");
        return;
    }
    struct caught c = catch_user_at((code *)compat_syscall_program, 2, (uint64_t)(user_stack + 512), USER_CODE32, USER_DATA);
    check("SYSCALL in compatibility mode: #UD on Intel", c.vector == UD && c.rip == (uint64_t)compat_syscall_program);
}

SNIPPET(user_sysenter, "", "sysenter");
SNIPPET(sysexit_in_user, "", "sysexitl");

static void sysenter_sysexit(void) {
    wrmsr(SYSENTER_CS, 0);
    struct caught c = catch_user(user_sysenter, 2);
    check("SYSENTER with a null SYSENTER_CS: #GP(0)", c.vector == GP && c.error == 0 && c.rip == (uint64_t)user_sysenter_at);
    wrmsr(SYSENTER_CS, KERNEL_CODE);
    wrmsr(SYSENTER_EIP, (uint64_t)sysenter_entry);
    wrmsr(SYSENTER_ESP, (uint64_t)(kernel_stack + 64));
    entries = 0;
    back.cs = 0;
    c = catch_user((code *)user_sysenter_program, 2 | FLAG_IF);
    check("SYSENTER: CS, SS and RSP from its MSRs", entries == 1 && seen.cs == KERNEL_CODE && seen.ss == KERNEL_DATA &&
          seen.rsp == (uint64_t)(kernel_stack + 64));
    check("SYSENTER clears IF", !(seen.rflags & FLAG_IF));
    check("SYSEXIT to 64-bit code: CS + 32 and CS + 40, ring 3", c.vector == -1 && back.cs == (USER_CODE) &&
          back.ss == ((KERNEL_CODE + 40) | 3) && back.rip == (uint64_t)user_sysenter_back + 2);
    wrmsr(SYSENTER_EIP, (uint64_t)sysenter_entry_32);
    back.rax = 0;
    c = catch_user((code *)user_sysexit32_program, 2);
    check("SYSEXIT to 32-bit code: CS + 16 and CS + 24", c.vector == -1 && back.cs == USER_CODE32 && back.ss == USER_DATA &&
          back.rax == 0xFFFFFFFF);
    c = catch_user(sysexit_in_user, 2);
    check("SYSEXIT in ring 3: #GP(0)", c.vector == GP && c.error == 0);
}

SNIPPET(swapgs_in_user, "", "swapgs");
uint64_t bases[2] = { 0xAAAA, 0xBBBB };

static void segment_bases(void) {
    uint64_t first, second;
    wrmsr(GS_BASE, (uint64_t)&bases[0]);
    wrmsr(KERNEL_GS_BASE, (uint64_t)&bases[1]);
    __asm__ volatile("mov %%gs:0, %0; swapgs; mov %%gs:0, %1; swapgs" : "=&r"(first), "=&r"(second)::"memory");
    check("SWAPGS exchanges the two bases", first == 0xAAAA && second == 0xBBBB);
    wrmsr(FS_BASE, (uint64_t)&bases[1]);
    __asm__ volatile("mov %%fs:0, %0" : "=r"(first)::"memory");
    check("FS has its base from the MSR", first == 0xBBBB);
    struct caught c = catch_user(swapgs_in_user, 2);
    check("SWAPGS in ring 3: #GP(0)", c.vector == GP && c.error == 0);
    wrmsr(GS_BASE, 0);
    wrmsr(KERNEL_GS_BASE, 0);
    wrmsr(FS_BASE, 0);
}

void guest_main(void) {
    on_vector(VECTOR, note);
    set_gate(VECTOR, GATE_INTERRUPT | GATE_DPL3, 0);
    syscall_sysret();
    syscall_faults();
    compatibility_syscall();
    sysenter_sysexit();
    segment_bases();
}
