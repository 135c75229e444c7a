/* Interrupt and trap gates in 64-bit mode (Intel SDM vol 3, chapter 6: 6.10-6.14; vol 2: INT n, IRET). */
#include "guest.h"

#define VECTOR 0x81
#define INTERRUPTED 0x82
#define SELECTOR_ERROR(vector) ((vector) * 8 + 2) /* the IDT bit */
#define EXTERNAL 1

SNIPPET(int_n, "", "int $0x81");
SNIPPET(int3, "", ".byte 0xCC");
SNIPPET(int_3_long, "", "int $3");
SNIPPET(int1, "", ".byte 0xF1");
SNIPPET(into, "", ".byte 0xCE");
SNIPPET(int_high, "", "int $0xF3");

static struct trap seen;
static uint64_t seen_at, seen_flags, seen_ss;
static unsigned seen_count;

static void note(struct trap *trap) {
    seen = *trap;
    seen_at = (uint64_t)trap;
    seen_flags = read_flags();
    uint64_t ss;
    __asm__ volatile("mov %%ss, %0" : "=r"(ss));
    seen_ss = ss;
    seen_count++;
}

static void expect(const char *text, struct caught c, int vector, uint64_t error, const void *rip) {
    bool ok = c.vector == vector && (vector < 0 || (c.error == error && c.rip == (uint64_t)rip));
    if (!check(text, ok)) printf("    vector %d, error 0x%lx, RIP 0x%lx\n", c.vector, c.error, c.rip);
}

static void privilege(void) {
    set_gate(VECTOR, GATE_INTERRUPT, 0);
    expect("INT n from ring 3 to a gate of DPL 0: #GP with the IDT bit, at the instruction", catch_user(int_n, 2), GP,
           SELECTOR_ERROR(VECTOR), int_n_at);
    expect("INT n from ring 0 to a gate of DPL 0", catch(int_n), -1, 0, NULL);
    check("INT n saves the address of the next instruction", seen_count == 1 && seen.rip == (uint64_t)int_n_after);
    set_gate(VECTOR, GATE_INTERRUPT | GATE_DPL3, 0);
    expect("INT n from ring 3 to a gate of DPL 3", catch_user(int_n, 2), -1, 0, NULL);
    check("and the handler saw ring 3", seen_count == 2 && seen.cs == USER_CODE && seen.ss == USER_DATA);

    expect("INT3 from ring 3 to a gate of DPL 0: #GP", catch_user(int3, 2), GP, SELECTOR_ERROR(BP), int3_at);
    set_gate(BP, GATE_INTERRUPT | GATE_DPL3, 0);
    expect("INT3 from ring 3 to a gate of DPL 3: a trap", catch_user(int3, 2), BP, 0, int3_after);
    expect("the two-byte INT 3 likewise", catch_user(int_3_long, 2), BP, 0, int_3_long_after);
    set_gate(BP, GATE_INTERRUPT, 0);
    expect("INT3 from ring 0", catch(int3), BP, 0, int3_after);
    if (on_qemu_tcg()) skip("INT1: QEMU's translator stops the machine at it");
    else expect("INT1 from ring 3 to a gate of DPL 0: not checked, a trap", catch_user(int1, 2), DB, 0, int1_after);
    expect("INTO does not exist in 64-bit mode: #UD", catch(into), UD, 0, into_at);
}

static void kinds(void) {
    set_gate(VECTOR, GATE_INTERRUPT, 0);
    __asm__ volatile("sti; int $0x81; cli" ::: "memory");
    check("an interrupt gate clears IF and saves it", !(seen_flags & FLAG_IF) && seen.rflags & FLAG_IF);
    set_gate(VECTOR, GATE_TRAP, 0);
    __asm__ volatile("sti; int $0x81; cli" ::: "memory");
    check("a trap gate leaves IF", seen_flags & FLAG_IF && seen.rflags & FLAG_IF);
    __asm__ volatile("pushfq; orl $0x4000, (%%rsp); popfq; int $0x81; pushfq; andl $~0x4000, (%%rsp); popfq" ::: "memory");
    check("NT is saved and cleared", seen.rflags & FLAG_NT && !(seen_flags & FLAG_NT));

    set_gate(VECTOR, 0x0E, 0);
    expect("a gate that is not present: #NP with the IDT bit", catch(int_n), NP, SELECTOR_ERROR(VECTOR), int_n_at);
    set_gate(VECTOR, 0x85, 0);
    expect("a task gate in long mode: #GP", catch(int_n), GP, SELECTOR_ERROR(VECTOR), int_n_at);
    set_gate(VECTOR, 0x86, 0);
    expect("a 16-bit gate in long mode: #GP", catch(int_n), GP, SELECTOR_ERROR(VECTOR), int_n_at);
    set_gate(VECTOR, 0x00, 0);
    expect("an empty gate: #GP before #NP", catch(int_n), GP, SELECTOR_ERROR(VECTOR), int_n_at);
    set_gate(VECTOR, 0x0E, 0);
    expect("from ring 3 the DPL is checked before presence: #GP", catch_user(int_n, 2), GP, SELECTOR_ERROR(VECTOR), int_n_at);
    load_idt(0xF3 * 16 - 1);
    expect("a vector beyond the IDT's limit: #GP", catch(int_high), GP, SELECTOR_ERROR(0xF3), int_high_at);
    load_idt(0xF3 * 16 + 14);
    expect("the limit counts all 16 bytes", catch(int_high), GP, SELECTOR_ERROR(0xF3), int_high_at);
    load_idt(sizeof idt - 1);
}

static void bad_selector(const char *text, uint16_t selector, int vector, uint64_t error) {
    set_gate(VECTOR, GATE_INTERRUPT, 0);
    idt[VECTOR].selector = selector;
    expect(text, catch(int_n), vector, error, int_n_at);
}

static void targets(void) {
    gdt[SPARE_SELECTOR(0) / 8] = 0x00AF1B000000FFFF; /* 64-bit code, not present */
    gdt[SPARE_SELECTOR(1) / 8] = 0x00EF9B000000FFFF; /* L and D both set */
    bad_selector("a gate with a null selector: #GP(0)", 0, GP, 0);
    bad_selector("a gate to a data segment: #GP(selector)", KERNEL_DATA, GP, KERNEL_DATA);
    bad_selector("a gate to a 32-bit code segment: #GP(selector)", KERNEL_CODE32, GP, KERNEL_CODE32);
    bad_selector("a gate to a segment beyond the GDT: #GP(selector)", 0xFFF8, GP, 0xFFF8);
    bad_selector("a gate to a segment that is not present: #NP(selector)", SPARE_SELECTOR(0), NP, SPARE_SELECTOR(0));
    bad_selector("a gate to code of lower privilege: #GP(selector)", USER_CODE & ~3, GP, USER_CODE & ~3);
    set_gate(VECTOR, GATE_INTERRUPT, 0);
    idt[VECTOR].offset_high = 0x00008000;
    struct caught c = catch(int_n);
    check("a gate to a non-canonical address: #GP(0)", c.vector == GP && c.error == 0);
    set_gate(VECTOR, GATE_INTERRUPT, 0);
}

/* The same faults on the way of an external interrupt have the EXT bit. */
static void take_external(void) {
    send_ipi(0, ICR_SELF | ICR_ASSERT | INTERRUPTED);
    __asm__ volatile("sti; nop; nop; cli" ::: "memory");
}

static void external(void) {
    set_gate(INTERRUPTED, 0x0E, 0);
    struct caught c = catch(take_external);
    check("an external interrupt to an absent gate: #NP with the IDT and EXT bits",
          c.vector == NP && c.error == (SELECTOR_ERROR(INTERRUPTED) | EXTERNAL));
    lapic_eoi();
    set_gate(INTERRUPTED, GATE_INTERRUPT, 0);
    idt[INTERRUPTED].selector = 0;
    c = catch(take_external);
    check("an external interrupt to a null selector: #GP(EXT)", c.vector == GP && c.error == EXTERNAL);
    lapic_eoi();
    set_gate(INTERRUPTED, GATE_INTERRUPT, 0);
}

static uint64_t stack_before;

static uint8_t other_stack[4096] __attribute__((aligned(16)));
static const uint64_t other_top = sizeof other_stack;

static bool in_other_stack(uint64_t at) { return at > (uint64_t)other_stack && at < (uint64_t)other_stack + other_top; }

static void stacks(void) {
    set_gate(VECTOR, GATE_INTERRUPT | GATE_DPL3, 0);
    __asm__ volatile("mov %%rsp, %%rbx; and $-16, %%rsp; mov %%rsp, %0; int $0x81; mov %%rbx, %%rsp"
                     : "=m"(stack_before)::"rbx", "memory");
    check("same ring: SS and RSP are pushed too", seen.rsp == stack_before && seen.ss == KERNEL_DATA);
    __asm__ volatile("mov %%rsp, %%rbx; and $-16, %%rsp; sub $8, %%rsp; mov %%rsp, %0; int $0x81; mov %%rbx, %%rsp"
                     : "=m"(stack_before)::"rbx", "memory");
    check("the frame begins on a multiple of 16", seen.rsp == stack_before && (seen_at + sizeof seen) % 16 == 0 &&
          seen_at + sizeof seen == stack_before - 8);

    uint64_t rsp0 = tss[0].rsp[0];
    catch_user(int_n, 2);
    check("ring 3 to 0: RSP0 of the TSS", seen_at + sizeof seen == rsp0);
    check_equal("ring 3 to 0: SS is null", seen_ss, 0);
    check("ring 3 to 0: the user's RSP is saved", seen.rsp > (uint64_t)user_stack && seen.rsp <= (uint64_t)user_stack + 8192);

    tss[0].ist[3] = (uint64_t)other_stack + other_top - 4; /* not aligned: the processor aligns it */
    set_gate(VECTOR, GATE_INTERRUPT | GATE_DPL3, 4);
    catch_user(int_n, 2);
    check("IST: from ring 3 the gate's own stack, aligned", seen_at + sizeof seen == (uint64_t)other_stack + other_top - 16);
    __asm__ volatile("int $0x81" ::: "memory");
    check("IST: from ring 0 too", in_other_stack(seen_at) && !in_other_stack(seen.rsp));
    set_gate(VECTOR, GATE_INTERRUPT | GATE_DPL3, 0);

    set_gate(SS, GATE_INTERRUPT, 2);
    tss[0].rsp[0] = 0x8000000000000000;
    expect("a non-canonical RSP0: #SS(0)", catch_user(int_n, 2), SS, 0, int_n_at);
    tss[0].rsp[0] = rsp0;
    set_gate(SS, GATE_INTERRUPT, 0);
}

/* ---- IRET ------------------------------------------------------------------------------------------------------- */

struct iret_frame {
    uint64_t rip, cs, rflags, rsp, ss;
};
/* The frame is the top of a stack on which the fault of a refused IRET is handled. */
struct {
    uint8_t room[4096];
    struct iret_frame frame;
} __attribute__((aligned(16))) iret_stack;

SNIPPET(do_iretq, "mov $(iret_stack + 4096), %rsp", "iretq");

SNIPPET(do_iretd, "mov $(iret_stack + 4096), %rsp", "iretl");

/* An address to return to that gets away again: ring 0 code that comes back by #UD, ring 3 code that uses user_exit. */
SNIPPET(ud, "", "ud2");

static struct caught iret_to(uint64_t rip, uint64_t cs, uint64_t rflags, uint64_t ss) {
    iret_stack.frame = (struct iret_frame){ rip, cs, rflags, (uint64_t)other_stack + other_top, ss };
    return catch(do_iretq);
}

/* 32-bit code: notes that it ran as such and leaves. DEC EAX in 32-bit mode, a REX prefix in 64-bit mode. */
__asm__(".pushsection .text\n.code32\ncompatibility:\nxor %eax, %eax\ndec %eax\nnop\nint $0x81\nint $0x7F\n.code64\n.popsection");
extern const uint8_t compatibility[];

static void iret_in_user(void) {
    __asm__ volatile("mov %%rsp, %%rax; mov %%ss, %%ecx; push %%rcx; push %%rax; pushq $0x3202; mov %%cs, %%ecx; push %%rcx;"
                     "lea 1f(%%rip), %%rax; push %%rax; iretq; 1: int $0x81" ::
                         : "rax", "rcx", "memory");
}

static void user_iret_to_ring0(void) {
    __asm__ volatile("mov %%rsp, %%rax; push $0x10; push %%rax; pushq $2; push $8; lea 1f(%%rip), %%rax; push %%rax;"
                     "iretq; 1: nop" ::
                         : "rax", "memory");
}

static void returns(void) {
    struct caught c = iret_to((uint64_t)ud, KERNEL_CODE, 2, KERNEL_DATA);
    check("IRET to the same ring pops RSP and SS as well", c.vector == UD && c.rip == (uint64_t)ud &&
          c.rsp == (uint64_t)other_stack + other_top);
    c = iret_to((uint64_t)ud, KERNEL_CODE, 2, 0);
    check("IRET to 64-bit ring 0 takes a null SS", c.vector == UD && c.ss == 0);
    uint32_t *narrow = (uint32_t *)&iret_stack.frame;
    narrow[0] = (uint32_t)(uint64_t)ud;
    narrow[1] = KERNEL_CODE;
    narrow[2] = 2;
    narrow[3] = (uint32_t)((uint64_t)other_stack + other_top);
    narrow[4] = KERNEL_DATA;
    c = catch(do_iretd);
    check("IRETD in 64-bit mode pops five dwords", c.vector == UD && c.rip == (uint64_t)ud && c.rsp == narrow[3]);
    c = iret_to((uint64_t)user_exit, USER_CODE, 2, USER_DATA);
    check("IRET to ring 3", c.vector == -1 && c.cs == USER_CODE);
    seen.rax = 0;
    c = iret_to((uint64_t)compatibility, USER_CODE32, 2, USER_DATA);
    check("IRET to compatibility mode", c.vector == -1 && seen.cs == USER_CODE32 && seen.rax == 0xFFFFFFFF);

    expect("IRET to a null CS: #GP(0)", iret_to((uint64_t)ud, 0, 2, KERNEL_DATA), GP, 0, do_iretq_at);
    expect("IRET to a data segment: #GP(selector)", iret_to((uint64_t)ud, KERNEL_DATA, 2, KERNEL_DATA), GP, KERNEL_DATA,
           do_iretq_at);
    expect("IRET to ring 3 with a null SS: #GP(0)", iret_to((uint64_t)user_exit, USER_CODE, 2, 3), GP, 0, do_iretq_at);
    expect("IRET to ring 3 with a ring 0 SS: #GP(selector)", iret_to((uint64_t)user_exit, USER_CODE, 2, KERNEL_DATA), GP,
           KERNEL_DATA, do_iretq_at);
    expect("IRET to a code segment that is not present: #NP(selector)",
           iret_to((uint64_t)ud, SPARE_SELECTOR(0), 2, KERNEL_DATA), NP, SPARE_SELECTOR(0), do_iretq_at);
    c = iret_to(0x800000000000, KERNEL_CODE, 2, KERNEL_DATA);
    check("IRET to a non-canonical address: #GP(0)", c.vector == GP && c.error == 0);

    __asm__ volatile("pushfq; orl $0x4000, (%%rsp); popfq" ::: "memory");
    c = iret_to((uint64_t)ud, KERNEL_CODE, 2, KERNEL_DATA);
    check("IRET with NT set in long mode: #GP(0)", c.vector == GP && c.error == 0 && c.rip == (uint64_t)do_iretq_at);
    __asm__ volatile("pushfq; andl $~0x4000, (%%rsp); popfq" ::: "memory");

    seen.rflags = FLAG_IF;
    c = catch_user(iret_in_user, 2);
    check("IRET in ring 3 changes neither IF nor IOPL", c.vector == -1 && !(seen.rflags & 0x3200));
    c = catch_user(user_iret_to_ring0, 2);
    check("IRET cannot return to an inner ring: #GP(selector)", c.vector == GP && c.error == KERNEL_CODE);
}

static void descriptor_table(void) {
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) idtr;
    __asm__ volatile("sidt %0" : "=m"(idtr));
    check("SIDT gives what LIDT took", idtr.limit == sizeof idt - 1 && idtr.base == (uint64_t)idt);
}

void guest_main(void) {
    on_vector(VECTOR, note);
    on_vector(INTERRUPTED, note);
    descriptor_table();
    privilege();
    kinds();
    targets();
    external();
    stacks();
    returns();
}
