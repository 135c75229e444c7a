/*
 * Between two instructions: where interrupts and debug traps are taken and where they are held off (Intel SDM vol 3, 6.8.1,
 * 6.8.3, 6.9; chapter 17 on debug registers; vol 2: STI, MOV, POP, HLT).
 */
#include "guest.h"

#define VECTOR 0x60
#define DR6_IDLE 0xFFFF0FF0UL
#define DR6_BD (1 << 13)
#define DR6_BS (1 << 14)
#define DR7_L0 1
#define DR7_GD (1 << 13)
#define CR4_DE 8

#define LOG 16
static struct {
    uint64_t rip, dr6, rflags;
} steps[LOG];
static unsigned step_count;

/* Notes where it came; RF lets the instruction under a breakpoint run. */
static void on_debug(struct trap *trap) {
    if (step_count < LOG) {
        steps[step_count].rip = trap->rip;
        steps[step_count].dr6 = read_dr6();
        steps[step_count].rflags = trap->rflags;
    }
    step_count++;
    write_dr6(DR6_IDLE);
    trap->rflags |= FLAG_RF;
}

static uint64_t taken_at;
static unsigned taken_count;

static void on_ipi(struct trap *trap) {
    taken_at = trap->rip;
    taken_count++;
    lapic_eoi();
}

static void request(void) { send_ipi(0, ICR_SELF | ICR_ASSERT | VECTOR); }

static void run(void (*code)(void)) {
    step_count = taken_count = 0;
    taken_at = 0;
    write_dr6(DR6_IDLE);
    code();
}

static bool step_is(unsigned i, const void *rip, uint64_t dr6_bits) {
    return i < step_count && steps[i].rip == (uint64_t)rip && (steps[i].dr6 & 0xE00F) == dr6_bits;
}

static void show_steps(void) {
    for (unsigned i = 0; i < step_count && i < LOG; i++) printf("    RIP 0x%lx, DR6 0x%lx\n", steps[i].rip, steps[i].dr6);
}

static void expect(const char *text, bool ok) {
    if (!check(text, ok)) show_steps();
}

/* ---- interrupts --------------------------------------------------------------------------------------------------- */

SNIPPET(sti_shadow, "sti", "nop");
SNIPPET(sti_twice, "sti", "sti");
SNIPPET(sti_cli, "sti", "cli");
SNIPPET(popf_no_shadow, "pushfq\norq $0x200, (%rsp)", "popfq");
SNIPPET(sti_hlt, "sti", "hlt");

static void interrupts(void) {
    request();
    run(sti_shadow);
    check("STI: the interrupt comes after one more instruction", taken_at == (uint64_t)sti_shadow_after);
    cli();
    request();
    run(sti_cli);
    check("STI;CLI: none comes", taken_count == 0);
    run(sti_twice);
    check("STI;STI: the second one with IF set gives no shadow of its own", taken_at == (uint64_t)sti_twice_after);
    cli();
    request();
    run(popf_no_shadow);
    check("POPF that sets IF: at once", taken_at == (uint64_t)popf_no_shadow_after);
    cli();
    request();
    run(sti_hlt);
    check("STI;HLT with a request pending: HLT sleeps, wakes, and RIP is behind it", taken_at == (uint64_t)sti_hlt_after);
    cli();
}

/* ---- single step -------------------------------------------------------------------------------------------------- */

#define TF_ON "pushfq\norq $0x100, (%rsp)\npopfq\n"
#define TF_OFF "pushfq\nandq $~0x100, (%rsp)\npopfq\n"
#define STEPS(name, body) /* labels name_0, name_1, ... are placed by the body */                                       \
    __asm__(".pushsection .text\n" #name ":\n" TF_ON body TF_OFF "ret\n.popsection");                                  \
    extern void name(void)
#define LABEL(l) ".globl " #l "\n" #l ":\n"

STEPS(three_nops, "nop\n" LABEL(nops_1) "nop\n" LABEL(nops_2) "nop\n" LABEL(nops_3));
extern const uint8_t nops_1[], nops_2[], nops_3[];
STEPS(step_mov_ss, "mov %ss, %eax\n" LABEL(movss_1) "mov %eax, %ss\n" LABEL(movss_2) "nop\n" LABEL(movss_3) "nop\n" LABEL(movss_4));
extern const uint8_t movss_1[], movss_3[], movss_4[];
STEPS(step_int, "nop\n" LABEL(sint_1) "int $0x61\n" LABEL(sint_2) "nop\n" LABEL(sint_3));
extern const uint8_t sint_1[], sint_3[];
STEPS(step_rep, "mov $3, %ecx\n" LABEL(srep_1) "lea step_buffer, %rdi\n" LABEL(srep_2) "rep stosb\n" LABEL(srep_3));
extern const uint8_t srep_2[], srep_3[];
uint8_t step_buffer[16];

static bool handler_saw_tf;
static void on_int61(struct trap *trap) { handler_saw_tf = read_flags() & FLAG_TF || !(trap->rflags & FLAG_TF); }

static void single_step(void) {
    run(three_nops);
    expect("TF: a trap after each instruction, from the second after POPF on",
           step_is(0, nops_1, DR6_BS) && step_is(1, nops_2, DR6_BS) && step_is(2, nops_3, DR6_BS));
    check("TF: saved as set", steps[0].rflags & FLAG_TF);
    run(step_mov_ss);
    expect("TF: no trap between MOV SS and the next instruction",
           step_is(0, movss_1, DR6_BS) && step_is(1, movss_3, DR6_BS) && step_is(2, movss_4, DR6_BS));
    run(step_int);
    expect("TF: INT n enters its handler with TF clear, and the next trap is behind its successor",
           step_is(0, sint_1, DR6_BS) && step_is(1, sint_3, DR6_BS) && !handler_saw_tf);
    run(step_rep);
    expect("TF: a trap after each iteration of a string instruction",
           step_is(2, srep_2, DR6_BS) && step_is(3, srep_2, DR6_BS) && step_is(4, srep_3, DR6_BS));
}

/* ---- breakpoints -------------------------------------------------------------------------------------------------- */

enum { EXECUTE = 0, WRITE = 1, IO = 2, READ_WRITE = 3 };
enum { LEN1 = 0, LEN2 = 1, LEN8 = 2, LEN4 = 3 };

static void watch(unsigned n, const volatile void *address, unsigned type, unsigned length) {
    uint64_t a = (uint64_t)address;
    if (n == 0) write_dr0(a);
    if (n == 1) write_dr1(a);
    if (n == 2) write_dr2(a);
    if (n == 3) write_dr3(a);
    write_dr7(read_dr7() | DR7_L0 << n * 2 | (uint64_t)(type | length << 2) << (16 + n * 4));
}

/* The addresses go too: DR6 may report conditions that are met but not enabled. */
static void watch_nothing(void) {
    write_dr7(0x400);
    write_dr0(0);
    write_dr1(0);
    write_dr2(0);
    write_dr3(0);
}

uint64_t watched[4];
SNIPPET(target, "nop", "nop");
SNIPPET(write_4, "", "movl $1, watched");
SNIPPET(write_upper, "", "movl $1, watched + 4");
SNIPPET(write_across, "", "movl $1, watched + 2");
SNIPPET(write_8, "", "movq $1, watched");
SNIPPET(read_4, "", "mov watched, %eax");
SNIPPET(in_80, "", "inb $0x80, %al");
SNIPPET(in_81, "", "inb $0x81, %al");
SNIPPET(read_dr, "", "mov %dr0, %rax");
SNIPPET(read_dr4, "", ".byte 0x0F, 0x21, 0xE0");
SNIPPET(dr7_upper, "mov $1, %eax\nshl $32, %rax", "mov %rax, %dr7");
SNIPPET(icebp, "", ".byte 0xF1");

static void breakpoints(void) {
    watch(0, target_at, EXECUTE, LEN1);
    run(target);
    expect("execution breakpoint: a fault, before the instruction", step_count == 1 && step_is(0, target_at, 1));
    check("execution breakpoint: RF is saved clear, setting it lets the instruction run", !(steps[0].rflags & FLAG_RF));
    run(target);
    check("and RF is gone after one instruction: the next time it comes again", step_count == 1);
    watch_nothing();
    run(target);
    check("DR7 with no enable bits: none", step_count == 0);

    watch(3, target_at, EXECUTE, LEN1);
    run(target);
    expect("DR3 reports bit 3", step_count == 1 && step_is(0, target_at, 8));
    watch_nothing();

    watch(1, watched, WRITE, LEN4);
    run(write_4);
    expect("write breakpoint: a trap, after the instruction", step_count == 1 && step_is(0, write_4_after, 2));
    run(read_4);
    check("write breakpoint: not on a read", step_count == 0);
    run(write_upper);
    check("write breakpoint: not on the next bytes", step_count == 0);
    run(write_across);
    expect("write breakpoint: any byte in common is enough", step_count == 1 && step_is(0, write_across_after, 2));
    watch_nothing();
    watch(2, watched, READ_WRITE, LEN8);
    run(read_4);
    expect("access breakpoint: on a read", step_count == 1 && step_is(0, read_4_after, 4));
    run(write_upper);
    expect("access breakpoint of 8 bytes: the upper half too", step_count == 1 && step_is(0, write_upper_after, 4));
    watch(0, &watched[0], WRITE, LEN1);
    run(write_8);
    expect("two breakpoints at once set both bits", step_count == 1 && step_is(0, write_8_after, 5));
    watch_nothing();

    write_cr4(read_cr4() | CR4_DE);
    watch(0, (void *)0x80, IO, LEN1);
    run(in_80);
    expect("I/O breakpoint: a trap, after the instruction", step_count == 1 && step_is(0, in_80_after, 1));
    run(in_81);
    check("I/O breakpoint: not on the next port", step_count == 0);
    watch_nothing();
}

static void debug_registers(void) {
    struct caught c;
    check_equal("DR6 at rest", read_dr6(), DR6_IDLE);
    check_equal("DR7: bit 10 is always 1", read_dr7(), 0x400);
    step_count = 0;
    write_dr6(DR6_IDLE);
    write_dr7(read_dr7() | DR7_GD); /* from here on every access is caught */
    read_dr();
    expect("DR7.GD: an access to a debug register is a fault, with DR6.BD", step_is(0, read_dr_at, DR6_BD));
    check("DR7.GD is cleared on the way into the handler", !(read_dr7() & DR7_GD));
    watch_nothing();
    on_vector(DB, NULL);
    c = catch(read_dr4);
    check("DR4 with CR4.DE: #UD", c.vector == UD);
    write_cr4(read_cr4() & ~(uint64_t)CR4_DE);
    c = catch(read_dr4);
    check("DR4 without CR4.DE is DR6", c.vector == -1);
    c = catch_user(read_dr, 2);
    check("debug registers in ring 3: #GP(0)", c.vector == GP && c.error == 0);
    c = catch(dr7_upper);
    check("upper half of DR7: #GP(0)", c.vector == GP && c.error == 0);
    on_vector(DB, on_debug);
    if (on_qemu_tcg()) {
        skip("INT1: QEMU's translator stops the machine at it");
    } else {
        run(icebp);
        expect("INT1: a trap, and no bit of DR6", step_count == 1 && step_is(0, icebp_after, 0));
    }
}

void guest_main(void) {
    on_vector(VECTOR, on_ipi);
    on_vector(DB, on_debug);
    on_vector(0x61, on_int61);
    interrupts();
    single_step();
    breakpoints();
    debug_registers();
}
