/*
 * Every exception that software can cause in 64-bit mode: vector, error code, and where RIP points (Intel SDM vol 3, chapter
 * 6: 6.3-6.6, 6.13, 6.15; table 6-5 for double faults). The paging guest has the page fault's error codes in full.
 */
#include "guest.h"

static void expect(const char *text, struct caught c, int vector, uint64_t error, const void *rip) {
    bool ok = c.vector == vector && (vector < 0 || (c.error == error && c.rip == (uint64_t)rip));
    if (!check(text, ok)) printf("    vector %d, error 0x%lx, RIP 0x%lx\n", c.vector, c.error, c.rip);
}

/* ---- divide, breakpoint, undefined -------------------------------------------------------------------------------- */

SNIPPET(div_zero, "xor %ecx, %ecx\nmov $1, %eax\nxor %edx, %edx", "div %ecx");
SNIPPET(div_overflow, "mov $1, %ecx\nmov $1, %edx\nxor %eax, %eax", "div %ecx");
SNIPPET(idiv_overflow, "mov $-1, %ecx\nmov $0x80000000, %eax\ncltd", "idiv %ecx");
SNIPPET(idiv64_overflow, "mov $-1, %rcx\nmovabs $0x8000000000000000, %rax\ncqto", "idiv %rcx");
SNIPPET(idiv8_overflow, "mov $-1, %cl\nmov $0xFF80, %eax", "idiv %cl");
SNIPPET(div8_fits, "mov $1, %cl\nmov $0x00FF, %eax", "div %cl");
SNIPPET(breakpoint, "", "int3");
SNIPPET(ud2, "", "ud2");
SNIPPET(aaa, "", ".byte 0x37");
SNIPPET(push_es, "", ".byte 0x06");
SNIPPET(far_call_direct, "", ".byte 0x9A, 0, 0, 0, 0, 0, 0");
SNIPPET(lock_register, "", ".byte 0xF0, 0x01, 0xC0");
SNIPPET(lock_mov, "lea -64(%rsp), %rsi", ".byte 0xF0, 0x89, 0x06");
SNIPPET(lea_register, "", ".byte 0x8D, 0xC0");
SNIPPET(mov_cs, "xor %eax, %eax", "mov %eax, %cs");
SNIPPET(mov_cr1, "", ".byte 0x0F, 0x20, 0xC8");
SNIPPET(too_long, "", ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");
SNIPPET(longest, "", ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");

static void arithmetic_and_decoding(void) {
    expect("#DE: division by zero, a fault", catch(div_zero), DE, 0, div_zero_at);
    expect("#DE: quotient too large", catch(div_overflow), DE, 0, div_overflow_at);
    expect("#DE: IDIV of the smallest number by -1", catch(idiv_overflow), DE, 0, idiv_overflow_at);
    expect("#DE: the same in 64 bits", catch(idiv64_overflow), DE, 0, idiv64_overflow_at);
    expect("#DE: the same in 8 bits", catch(idiv8_overflow), DE, 0, idiv8_overflow_at);
    expect("no #DE when the quotient just fits", catch(div8_fits), -1, 0, NULL);
    expect("#BP: INT3, a trap", catch(breakpoint), BP, 0, breakpoint_after);
    expect("#UD: UD2, a fault", catch(ud2), UD, 0, ud2_at);
    expect("#UD: AAA is not in 64-bit mode", catch(aaa), UD, 0, aaa_at);
    expect("#UD: nor PUSH ES", catch(push_es), UD, 0, push_es_at);
    expect("#UD: nor the direct far CALL", catch(far_call_direct), UD, 0, far_call_direct_at);
    expect("#UD: LOCK with a register destination", catch(lock_register), UD, 0, lock_register_at);
    expect("#UD: LOCK with MOV", catch(lock_mov), UD, 0, lock_mov_at);
    expect("#UD: LEA of a register", catch(lea_register), UD, 0, lea_register_at);
    expect("#UD: MOV to CS", catch(mov_cs), UD, 0, mov_cs_at);
    expect("#UD: CR1 does not exist", catch(mov_cr1), UD, 0, mov_cr1_at);
    expect("#GP(0): an instruction of 16 bytes", catch(too_long), GP, 0, too_long_at);
    expect("15 bytes are allowed", catch(longest), -1, 0, NULL);
}

/* ---- general protection, stack, segments -------------------------------------------------------------------------- */

SNIPPET(read_noncanonical, "movabs $0x800000000000, %rax", "mov (%rax), %ecx");
SNIPPET(push_noncanonical, "mov %rsp, %rbx\nmovabs $0x800000000008, %rsp", "push %rax");
SNIPPET(rbp_noncanonical, "push %rbp\nmovabs $0x800000000000, %rbp", "mov (%rbp), %ecx");
SNIPPET(jump_noncanonical, "movabs $0x800000000000, %rax", "jmp *%rax");
SNIPPET(load_ss_null_ring3, "xor %eax, %eax", "mov %eax, %ss");
SNIPPET(load_ds_beyond, "mov $0xFFF8, %eax", "mov %eax, %ds");
SNIPPET(load_ds_absent, "mov $0xD0, %eax", "mov %eax, %ds");
SNIPPET(load_ss_absent, "mov $0xD0, %eax", "mov %eax, %ss");
SNIPPET(load_ss_code, "mov $8, %eax", "mov %eax, %ss");
SNIPPET(load_ds_null, "xor %eax, %eax", "mov %eax, %ds");
SNIPPET(load_ds_wrong_ring, "mov $0x10, %eax", "mov %eax, %ds");
SNIPPET(wrmsr_reserved, "mov $0xC0000080, %ecx\nrdmsr\nor $1, %edx", "wrmsr");
SNIPPET(rdmsr_unknown, "mov $0x12345678, %ecx", "rdmsr");
SNIPPET(cr0_reserved, "mov %cr0, %rax\nbts $40, %rax", "mov %rax, %cr0");
SNIPPET(cr0_pg_without_pe, "mov %cr0, %rax\nand $-2, %rax", "mov %rax, %cr0");
SNIPPET(cr4_reserved, "mov %cr4, %rax\nbts $31, %rax", "mov %rax, %cr4");
SNIPPET(cr4_pae_off, "mov %cr4, %rax\nbtr $5, %rax", "mov %rax, %cr4");
SNIPPET(cr8_reserved, "mov $16, %eax", "mov %rax, %cr8");
SNIPPET(ltr_null, "xor %eax, %eax", "ltr %ax");
SNIPPET(ltr_busy, "str %eax", "ltr %ax");
SNIPPET(lldt_code, "mov $8, %eax", "lldt %ax");
SNIPPET(movaps_unaligned, "lea -24(%rsp), %rax\nand $-16, %rax\nor $4, %rax", "movaps (%rax), %xmm0");
SNIPPET(privileged_hlt, "", "hlt");
SNIPPET(privileged_cli, "", "cli");
SNIPPET(privileged_lgdt, "", "lgdt (%rsp)");
SNIPPET(privileged_cr, "", "mov %cr0, %rax");
SNIPPET(privileged_in, "", "inb $0x80, %al");
SNIPPET(allowed_in, "", "inb $0x21, %al");
SNIPPET(allowed_in_wide, "", "inl $0x20, %eax");

/* QEMU's translator does what the processor refuses, and the guest is lost. */
static bool skip_on_qemu(const char *what) {
    if (on_qemu_tcg()) skip(what);
    return on_qemu_tcg();
}

static void protection(void) {
    gdt[SPARE_SELECTOR(2) / 8] = 0x00CF13000000FFFF; /* data, not present */
    expect("#GP(0): a non-canonical data address", catch(read_noncanonical), GP, 0, read_noncanonical_at);
    set_gate(SS, GATE_INTERRUPT, 2); /* the stack in use is no good for the delivery */
    expect("#SS(0): a non-canonical stack pointer", catch(push_noncanonical), SS, 0, push_noncanonical_at);
    set_gate(SS, GATE_INTERRUPT, 0);
    expect("#SS(0): a non-canonical address by RBP", catch(rbp_noncanonical), SS, 0, rbp_noncanonical_at);
    struct caught c = catch(jump_noncanonical);
    check("#GP(0): a jump to a non-canonical address", c.vector == GP && c.error == 0 && c.rip == (uint64_t)jump_noncanonical_at);
    expect("#GP(0): null in SS in ring 3", catch_user(load_ss_null_ring3, 2), GP, 0, load_ss_null_ring3_at);
    expect("null in DS is allowed", catch(load_ds_null), -1, 0, NULL);
    expect("#GP(selector): beyond the GDT", catch(load_ds_beyond), GP, 0xFFF8, load_ds_beyond_at);
    expect("#NP(selector): DS not present", catch(load_ds_absent), NP, 0xD0, load_ds_absent_at);
    expect("#SS(selector): SS not present", catch(load_ss_absent), SS, 0xD0, load_ss_absent_at);
    expect("#GP(selector): code in SS", catch(load_ss_code), GP, 8, load_ss_code_at);
    expect("#GP(selector): ring 0 data in ring 3", catch_user(load_ds_wrong_ring, 2), GP, 0x10, load_ds_wrong_ring_at);
    expect("#GP(0): reserved bits of EFER", catch(wrmsr_reserved), GP, 0, wrmsr_reserved_at);
    expect("#GP(0): an MSR that does not exist", catch(rdmsr_unknown), GP, 0, rdmsr_unknown_at);
    expect("#GP(0): reserved bits of CR0", catch(cr0_reserved), GP, 0, cr0_reserved_at);
    if (!skip_on_qemu("CR0.PG without PE")) expect("#GP(0): CR0.PG without PE", catch(cr0_pg_without_pe), GP, 0, cr0_pg_without_pe_at);
    if (!skip_on_qemu("reserved bits of CR4"))
        expect("#GP(0): reserved bits of CR4", catch(cr4_reserved), GP, 0, cr4_reserved_at);
    if (!skip_on_qemu("CR4.PAE off")) expect("#GP(0): CR4.PAE off in long mode", catch(cr4_pae_off), GP, 0, cr4_pae_off_at);
    expect("#GP(0): reserved bits of CR8", catch(cr8_reserved), GP, 0, cr8_reserved_at);
    if (!skip_on_qemu("LTR of null")) expect("#GP(0): LTR of null", catch(ltr_null), GP, 0, ltr_null_at);
    expect("#GP(selector): LTR of a busy TSS", catch(ltr_busy), GP, FIRST_TSS, ltr_busy_at);
    expect("#GP(selector): LLDT of a code segment", catch(lldt_code), GP, 8, lldt_code_at);
    expect("#GP(0): MOVAPS from an address that is not a multiple of 16", catch(movaps_unaligned), GP, 0, movaps_unaligned_at);
    expect("#GP(0): HLT in ring 3", catch_user(privileged_hlt, 2), GP, 0, privileged_hlt_at);
    expect("#GP(0): CLI in ring 3 with IOPL 0", catch_user(privileged_cli, 2), GP, 0, privileged_cli_at);
    expect("CLI in ring 3 with IOPL 3", catch_user(privileged_cli, 0x3002), -1, 0, NULL);
    expect("#GP(0): LGDT in ring 3", catch_user(privileged_lgdt, 2), GP, 0, privileged_lgdt_at);
    expect("#GP(0): MOV from CR0 in ring 3", catch_user(privileged_cr, 2), GP, 0, privileged_cr_at);
    expect("#GP(0): IN in ring 3 with IOPL 0", catch_user(privileged_in, 2), GP, 0, privileged_in_at);
    expect("IN in ring 3 with IOPL 3", catch_user(privileged_in, 0x3002), -1, 0, NULL);
}

static void io_permission_map(void) {
    tss[0].io_map = offsetof(struct tss, io_bits);
    for (unsigned i = 0; i < 8; i++) tss[0].io_bits[i] = 0xFF;
    tss[0].io_bits[0x21 / 8] &= (uint8_t)~(1 << 0x21 % 8);
    expect("I/O map: a port whose bit is 0", catch_user(allowed_in, 2), -1, 0, NULL);
    expect("I/O map: every byte of a wide access is checked", catch_user(allowed_in_wide, 2), GP, 0, allowed_in_wide_at);
    expect("I/O map: a port beyond the limit", catch_user(privileged_in, 2), GP, 0, privileged_in_at);
    tss[0].io_map = sizeof tss[0];
    expect("I/O map: beyond the TSS, none", catch_user(allowed_in, 2), GP, 0, allowed_in_at);
}

/* ---- page fault, alignment, device not available ------------------------------------------------------------------- */

SNIPPET(read_absent, "mov $0x50000000, %eax", "mov (%rax), %ecx");
SNIPPET(write_absent, "mov $0x50000000, %eax", "mov %ecx, 0x123(%rax)");
SNIPPET(read_unaligned, "push $0\nlea 1(%rsp), %rax\npop %rcx", "mov (%rax), %ecx");
SNIPPET(fninit, "", "fninit");
SNIPPET(fwait, "", "fwait");
SNIPPET(sse, "", "movaps %xmm0, %xmm1");

static void others(void) {
    struct caught c = catch(read_absent);
    check("#PF: a fault, address in CR2, error code 0 for a read", c.vector == PF && c.error == 0 && c.cr2 == 0x50000000 &&
          c.rip == (uint64_t)read_absent_at);
    c = catch(write_absent);
    check("#PF: error code 2 for a write", c.vector == PF && c.error == 2 && c.cr2 == 0x50000123);
    c = catch_user(read_absent, 2);
    check("#PF: error code 4 from ring 3", c.vector == PF && c.error == 4);
    check("#PF: saved RFLAGS have RF set", c.rflags & FLAG_RF);
    c = catch(breakpoint);
    check("a trap's saved RFLAGS have RF clear", !(c.rflags & FLAG_RF));

    write_cr0(read_cr0() | 1 << 18);
    expect("#AC(0): an unaligned access in ring 3 with CR0.AM and RFLAGS.AC", catch_user(read_unaligned, 2 | FLAG_AC), AC, 0,
           read_unaligned_at);
    expect("no #AC without RFLAGS.AC", catch_user(read_unaligned, 2), -1, 0, NULL);
    write_cr0(read_cr0() & ~(1UL << 18));
    expect("no #AC without CR0.AM", catch_user(read_unaligned, 2 | FLAG_AC), -1, 0, NULL);

    uint64_t cr0 = read_cr0();
    write_cr0(cr0 | 8);
    expect("#NM: x87 with CR0.TS", catch(fninit), NM, 0, fninit_at);
    expect("#NM: SSE with CR0.TS", catch(sse), NM, 0, sse_at);
    expect("#NM: FWAIT with CR0.TS and MP", catch(fwait), NM, 0, fwait_at);
    write_cr0((cr0 | 8) & ~2UL);
    expect("no #NM: FWAIT with CR0.TS and not MP", catch(fwait), -1, 0, NULL);
    write_cr0(cr0 | 4);
    expect("#NM: x87 with CR0.EM", catch(fninit), NM, 0, fninit_at);
    expect("#UD: SSE with CR0.EM", catch(sse), UD, 0, sse_at);
    write_cr0(cr0);
    uint64_t cr4 = read_cr4();
    write_cr4(cr4 & ~(1UL << 9));
    expect("#UD: SSE without CR4.OSFXSR", catch(sse), UD, 0, sse_at);
    write_cr4(cr4);
}

/* ---- double faults ------------------------------------------------------------------------------------------------ */

/* Make the gate of the first exception such that delivering it raises `second`: #NP, #GP by the gate, #PF by the stack. */
static struct caught with_gate(void (*code)(void), unsigned vector, uint8_t type, unsigned ist) {
    set_gate(vector, type, ist);
    struct caught c = catch(code);
    set_gate(vector, GATE_INTERRUPT, 0);
    return c;
}

static void expect_double(const char *text, struct caught c) {
    if (!check(text, c.vector == DF && c.error == 0)) printf("    vector %d, error 0x%lx\n", c.vector, c.error);
}

static void double_faults(void) {
    tss[0].ist[5] = 0x50000000 + 0x1000; /* IST6 leads to an absent page */
    expect_double("#DF: contributory in contributory (#NP delivering #DE)", with_gate(div_zero, DE, 0x0E, 0));
    expect_double("#DF: contributory in contributory (#GP delivering #GP)", with_gate(read_noncanonical, GP, 0x85, 0));
    expect_double("#DF: contributory in page fault (#NP delivering #PF)", with_gate(read_absent, PF, 0x0E, 0));
    expect_double("#DF: page fault in page fault", with_gate(read_absent, PF, GATE_INTERRUPT, 6));
    struct caught c = with_gate(div_zero, DE, GATE_INTERRUPT, 6);
    check("page fault in contributory: the page fault comes", c.vector == PF && c.cr2 > 0x50000F00 && c.cr2 < 0x50001000);
    c = with_gate(ud2, UD, 0x0E, 0);
    check("contributory in benign: the second comes (#NP delivering #UD)", c.vector == NP);
    c = with_gate(breakpoint, BP, GATE_INTERRUPT, 6);
    check("page fault in benign: the page fault comes (delivering #BP)", c.vector == PF);
    c = with_gate(read_absent, PF, 0x0E, 0);
    check("CR2 has the first fault's address in a double fault of #NP in #PF", c.cr2 == 0x50000000);
    check("#DF runs on its IST stack", c.handler_rsp < tss[0].ist[0] && c.handler_rsp > tss[0].ist[0] - 8192);
}

void guest_main(void) {
    arithmetic_and_decoding();
    protection();
    io_permission_map();
    others();
    double_faults();
}
