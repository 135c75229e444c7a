/*
 * Protected mode without paging: gates, stacks, segments, tasks and virtual-8086 mode (Intel SDM vol 3, chapters 5, 6, 7 and 20).
 */
#include "guest32.h"

#define VECTOR 0x81
#define SELECTOR_ERROR(vector) ((vector) * 8 + 2)

/* The spare descriptors of this guest. */
enum {
    FAULT_TSS = SPARE_SELECTOR(0),   /* #DF's task */
    OTHER_TSS = SPARE_SELECTOR(1),   /* a task to switch to */
    CALL_GATE = SPARE_SELECTOR(2),
    BAD_TSS = SPARE_SELECTOR(3),
    SMALL_DATA = SPARE_SELECTOR(4),
    READ_ONLY = SPARE_SELECTOR(5),
    ABSENT = SPARE_SELECTOR(6),
    LOW_CODE = SPARE_SELECTOR(7),    /* base 1 MiB: the image with offsets below 64 KiB */
    EXPAND_DOWN = SPARE_SELECTOR(8),
    EXECUTE_ONLY = SPARE_SELECTOR(9),
    TASK_GATE = SPARE_SELECTOR(10)
};

static void expect(const char *text, struct caught c, int vector, uint32_t error, const void *eip) {
    bool ok = c.vector == vector && (vector < 0 || (c.error == error && c.eip == (uint32_t)eip));
    if (!check(text, ok)) printf("    vector %d, error 0x%x, EIP 0x%x\n", c.vector, c.error, c.eip);
}

static struct trap seen;
static uint32_t seen_at, seen_flags;
static unsigned seen_count;

static void note(struct trap *trap) {
    seen = *trap;
    seen_at = (uint32_t)&trap->eip;
    seen_flags = read_flags();
    seen_count++;
}

/* ---- gates -------------------------------------------------------------------------------------------------------- */

SNIPPET(int_n, "", "int $0x81");
SNIPPET(int3, "", "int3");
SNIPPET(into_set, "mov $0x7F, %al\nadd $1, %al", "into");
SNIPPET(into_clear, "xor %eax, %eax", "into");
SNIPPET(bound_inside, "mov $5, %eax", "bound %eax, limits");
SNIPPET(bound_above, "mov $11, %eax", "bound %eax, limits");
SNIPPET(bound_below, "mov $-4, %eax", "bound %eax, limits");
SNIPPET(bound_register, "", ".byte 0x62, 0xC0");
SNIPPET(aam_zero, "", ".byte 0xD4, 0");
SNIPPET(div_zero, "xor %ecx, %ecx", "div %ecx");
int32_t limits[2] = { -3, 10 };

static void gates(void) {
    set_gate(VECTOR, GATE_INTERRUPT);
    expect("INT n from ring 3 to a gate of DPL 0: #GP with the IDT bit", catch_user(int_n, 2), GP, SELECTOR_ERROR(VECTOR),
           int_n_at);
    __asm__ volatile("sti; int $0x81; cli" ::: "memory");
    check("an interrupt gate clears IF and saves it", !(seen_flags & FLAG_IF) && seen.eflags & FLAG_IF);
    set_gate(VECTOR, GATE_TRAP);
    __asm__ volatile("sti; int $0x81; cli" ::: "memory");
    check("a trap gate leaves IF", seen_flags & FLAG_IF);
    uint32_t before;
    __asm__ volatile("mov %%esp, %0; int $0x81" : "=m"(before)::"memory");
    check("same ring: EIP, CS and EFLAGS are all that is pushed", seen_at + 12 == before);
    set_gate(VECTOR, GATE_INTERRUPT | GATE_DPL3);
    catch_user(int_n, 2);
    check("ring 3 to 0: SS0:ESP0 of the TSS, SS and ESP pushed",
          seen_at + 20 == main_tss.esp0 && seen.ss == USER_DATA && seen.cs == USER_CODE);
    set_gate(VECTOR, 0x0E);
    expect("a gate that is not present: #NP with the IDT bit", catch(int_n), NP, SELECTOR_ERROR(VECTOR), int_n_at);
    set_gate(VECTOR, 0x8C);
    expect("a call gate in the IDT: #GP", catch(int_n), GP, SELECTOR_ERROR(VECTOR), int_n_at);
    set_gate_to(VECTOR, KERNEL_DATA, 0, GATE_INTERRUPT);
    expect("a gate to a data segment: #GP(selector)", catch(int_n), GP, KERNEL_DATA, int_n_at);
    set_gate_to(VECTOR, 0, 0, GATE_INTERRUPT);
    expect("a gate with a null selector: #GP(0)", catch(int_n), GP, 0, int_n_at);
    set_gate(BP, GATE_INTERRUPT | GATE_DPL3);
    expect("INT3 from ring 3: a trap", catch_user(int3, 2), BP, 0, int3_after);
    set_gate(OF, GATE_INTERRUPT);
    expect("INTO with OF from ring 3 to a gate of DPL 0: #GP", catch_user(into_set, 2), GP, SELECTOR_ERROR(OF), into_set_at);
    set_gate(OF, GATE_INTERRUPT | GATE_DPL3);
    expect("INTO with OF: #OF, a trap", catch_user(into_set, 2), OF, 0, into_set_after);
    expect("INTO without OF: nothing", catch(into_clear), -1, 0, NULL);
    expect("BOUND inside: nothing", catch(bound_inside), -1, 0, NULL);
    expect("BOUND above: #BR, a fault", catch(bound_above), BR, 0, bound_above_at);
    expect("BOUND below: #BR", catch(bound_below), BR, 0, bound_below_at);
    expect("BOUND of a register: #UD", catch(bound_register), UD, 0, bound_register_at);
    expect("AAM by zero: #DE", catch(aam_zero), DE, 0, aam_zero_at);
}

/* A 16-bit gate pushes three words and IRETW takes them; both need offsets below 64 KiB, hence LOW_CODE. */
uint16_t frame16[3];
uint32_t frame16_size;
extern const uint8_t gate16_handler[];
SNIPPET(go_low, "", "lcall *low_pointer");
struct {
    uint32_t offset;
    uint16_t selector;
} __attribute__((packed)) low_pointer;
__asm__(".pushsection .text\n"
        "low_code: mov %esp, %ecx\nint $0x81\nlow_after: lret\n"
        "gate16_handler: mov (%esp), %eax\nmov %eax, frame16\nmovw 4(%esp), %ax\nmovw %ax, frame16 + 4\n"
        "sub %esp, %ecx\nmov %ecx, frame16_size\niretw\n.popsection");
extern const uint8_t low_code[], low_after[];

static void gates_of_16_bits(void) {
    gdt[LOW_CODE / 8] = descriptor(0x100000, 0xFFFF, 0x9B, 4);
    low_pointer.offset = (uint32_t)low_code - 0x100000;
    low_pointer.selector = LOW_CODE;
    set_gate_to(VECTOR, LOW_CODE, (uint32_t)gate16_handler - 0x100000, 0x86);
    struct caught c = catch(go_low);
    check("a 16-bit gate pushes three words", c.vector == -1 && frame16_size == 6 && frame16[1] == LOW_CODE &&
          frame16[0] == (uint16_t)((uint32_t)low_after - 0x100000));
}

/* ---- call gates --------------------------------------------------------------------------------------------------- */

uint32_t gate_seen[6];
__asm__(".pushsection .text\n"
        "gate_entry: mov %cs, %eax\nmov %eax, gate_seen\nmov 8(%esp), %eax\nmov %eax, gate_seen + 4\nmov 12(%esp), %eax\n"
        "mov %eax, gate_seen + 8\nmov %ss, %eax\nmov %eax, gate_seen + 12\nmov 20(%esp), %eax\nmov %eax, gate_seen + 16\n"
        "lret $8\n.popsection");
extern const uint8_t gate_entry[];
SNIPPET(call_gate, "push $0x222\npush $0x111\nmov %esp, gate_seen + 20", "lcall $0x40, $0\nadd $0, %esp");
SNIPPET(far_call_data, "", "lcall $0x10, $0");
SNIPPET(far_call_ring0, "", "lcall $0x08, $0");

static void call_gates(void) {
    uint64_t entry = (uint32_t)gate_entry;
    gdt[CALL_GATE / 8] = (entry & 0xFFFF) | (uint64_t)KERNEL_CODE << 16 | 2ULL << 32 | 0xECULL << 40 | (entry >> 16) << 48;
    struct caught c = catch_user(call_gate, 2);
    check("call gate from ring 3: ring 0, the TSS's stack, two parameters copied, the caller's SS",
          c.vector == -1 && gate_seen[0] == KERNEL_CODE && gate_seen[1] == 0x111 && gate_seen[2] == 0x222 &&
          gate_seen[3] == KERNEL_DATA && gate_seen[4] == USER_DATA);
    gdt[CALL_GATE / 8] &= ~(0x60ULL << 40);
    expect("call gate of DPL 0 from ring 3: #GP(selector)", catch_user(call_gate, 2), GP, CALL_GATE, call_gate_at);
    gdt[CALL_GATE / 8] &= ~(0x80ULL << 40);
    expect("call gate not present: #NP(selector)", catch(call_gate), NP, CALL_GATE, call_gate_at);
    expect("far CALL to a data segment: #GP(selector)", catch(far_call_data), GP, KERNEL_DATA, far_call_data_at);
    expect("far CALL from ring 3 to ring 0 code: #GP(selector)", catch_user(far_call_ring0, 2), GP, KERNEL_CODE, far_call_ring0_at);
}

/* ---- segments ----------------------------------------------------------------------------------------------------- */

SNIPPET(inside_limit, "mov $0x50, %eax\nmov %eax, %fs", "mov %fs:0xFFC, %eax");
SNIPPET(beyond_limit, "mov $0x50, %eax\nmov %eax, %fs", "mov %fs:0xFFD, %eax");
SNIPPET(write_read_only, "mov $0x58, %eax\nmov %eax, %fs", "mov %eax, %fs:0");
SNIPPET(load_absent, "mov $0x60, %eax", "mov %eax, %fs");
SNIPPET(load_ss_absent, "mov $0x60, %eax", "mov %eax, %ss");
SNIPPET(load_ss_read_only, "mov $0x58, %eax", "mov %eax, %ss");
SNIPPET(use_null, "xor %eax, %eax\nmov %eax, %fs", "mov %fs:0, %eax");
SNIPPET(below_expand_down, "mov $0x70, %eax\nmov %eax, %fs", "mov %fs:0xFFC, %eax");
SNIPPET(above_expand_down, "mov $0x70, %eax\nmov %eax, %fs", "mov %fs:0x101000, %eax");
SNIPPET(read_execute_only, "mov $0x78, %eax\nmov %eax, %fs", "nop");
SNIPPET(write_code, "", "mov %eax, %cs:limits");

static void segments(void) {
    gdt[SMALL_DATA / 8] = descriptor(0x100000, 0xFFF, 0x93, 4);
    gdt[READ_ONLY / 8] = descriptor(0x100000, 0xFFF, 0x91, 4);
    gdt[ABSENT / 8] = descriptor(0, 0xFFFFF, 0x13, 0xC);
    gdt[EXPAND_DOWN / 8] = descriptor(0, 0x100, 0x97, 0xC); /* offsets from 0x101000 up */
    gdt[EXECUTE_ONLY / 8] = descriptor(0, 0xFFFFF, 0x99, 0xC);
    expect("the last dword inside the limit", catch(inside_limit), -1, 0, NULL);
    expect("#GP(0): one byte beyond the limit", catch(beyond_limit), GP, 0, beyond_limit_at);
    expect("#GP(0): a write to read-only data", catch(write_read_only), GP, 0, write_read_only_at);
    expect("#GP(0): a write by CS", catch(write_code), GP, 0, write_code_at);
    expect("#NP(selector): FS not present", catch(load_absent), NP, ABSENT, load_absent_at);
    expect("#SS(selector): SS not present", catch(load_ss_absent), SS, ABSENT, load_ss_absent_at);
    expect("#GP(selector): SS must be writable", catch(load_ss_read_only), GP, READ_ONLY, load_ss_read_only_at);
    expect("#GP(0): an access by a null selector", catch(use_null), GP, 0, use_null_at);
    expect("#GP(0): an expand-down segment ends below", catch(below_expand_down), GP, 0, below_expand_down_at);
    expect("an expand-down segment begins above its limit", catch(above_expand_down), -1, 0, NULL);
    expect("#GP(selector): code that cannot be read in FS", catch(read_execute_only), GP, EXECUTE_ONLY,
           (const uint8_t *)read_execute_only + 5);
}

/* ---- tasks -------------------------------------------------------------------------------------------------------- */

static struct tss fault_tss, other_tss;
static uint8_t task_stacks[2][1024] __attribute__((aligned(16)));
static struct tss bad_tss;

/* The double fault's task: notes what it found, sends the broken task to a better place, and gives the CPU back. */
volatile uint32_t df_error, df_link, df_nt, df_eip, df_count, df_return_esp;
extern const uint8_t fault_task[], after_double_fault[], other_task[];
extern void cause_double_fault(void);
__asm__(".pushsection .text\n"
        "fault_task: pop df_error\npushf\npop df_nt\nincl df_count\n"
        "mov main_tss + 0x20, %eax\nmov %eax, df_eip\nmovl $after_double_fault, main_tss + 0x20\n"
        "mov df_return_esp, %eax\nmov %eax, main_tss + 0x38\niret\njmp fault_task\n"
        "cause_double_fault: mov %esp, df_return_esp\nxor %ecx, %ecx\ndf_at: div %ecx\n"
        "after_double_fault: ret\n.popsection");
extern const uint8_t df_at[];

static void init_task(struct tss *tss, const uint8_t *code, uint8_t *stack_top) {
    *tss = (struct tss){ .eip = (uint32_t)code, .eflags = 2, .esp = (uint32_t)stack_top, .es = KERNEL_DATA, .cs = KERNEL_CODE,
                         .ss = KERNEL_DATA, .ds = KERNEL_DATA, .fs = KERNEL_DATA, .gs = KERNEL_DATA,
                         .io_map = sizeof *tss };
}

static void double_fault_task(void) {
    init_task(&fault_tss, fault_task, task_stacks[0] + 1024);
    gdt[FAULT_TSS / 8] = descriptor((uint32_t)&fault_tss, sizeof fault_tss - 1, 0x89, 0);
    set_gate_to(DF, FAULT_TSS, 0, GATE_TASK);
    set_gate(DE, 0x0E); /* not present: #NP while delivering #DE */
    set_gate(NP, GATE_INTERRUPT);
    cause_double_fault();
    set_gate(DE, GATE_INTERRUPT);
    check("#DF by a task gate: the task ran once, with error code 0", df_count == 1 && df_error == 0);
    check("it is nested (NT) and linked to the old task", df_nt & FLAG_NT && (uint16_t)fault_tss.link == MAIN_TSS);
    check("the old task's EIP is the instruction that began it", df_eip == (uint32_t)df_at);
    check_equal("IRET with NT has gone back: the task is no longer busy", descriptor_access(FAULT_TSS), 0x89);
    check_equal("and the old one is", descriptor_access(MAIN_TSS), 0x8B);
    check("the switch set CR0.TS", read_cr0() & 8);
    __asm__ volatile("clts");
    set_gate(DF, GATE_INTERRUPT);
}

/* A task that notes its way in and goes back by IRET (after CALL) or by JMP (after JMP); then it waits for the next turn. */
volatile uint32_t task_flags, task_tr, task_eax, task_main_access, task_own_access, back_by_jump;
__asm__(".pushsection .text\n"
        "other_task: pushf\npop task_flags\nmov %eax, task_eax\nmov $0x12345678, %eax\nstr task_tr\n"
        "mov gdt + 0x2D, %cl\nmov %cl, task_main_access\nmov gdt + 0x3D, %cl\nmov %cl, task_own_access\n"
        "cmpl $0, back_by_jump\njne 1f\niret\njmp other_task\n1: ljmp $0x28, $0\njmp other_task\n.popsection");
SNIPPET(call_task, "mov $0xAA, %eax", "lcall $0x38, $0");
SNIPPET(jump_task, "", "ljmp $0x38, $0");
SNIPPET(call_task_gate, "", "lcall $0x80, $0");
SNIPPET(int_task, "", "int $0x81");
SNIPPET(call_bad_task, "", "lcall $0x48, $0");
SNIPPET(jump_busy, "", "ljmp $0x28, $0");
SNIPPET(iret_nt, "pushf\norl $0x4000, (%esp)\npopf", "iret");
uint32_t eax_after_task;
SNIPPET(keeps_registers, "mov $0x77, %eax", "lcall $0x38, $0\nmov %eax, eax_after_task");

static void hardware_tasks(void) {
    init_task(&other_tss, other_task, task_stacks[1] + 1024);
    other_tss.eax = 0xBEEF;
    gdt[OTHER_TSS / 8] = descriptor((uint32_t)&other_tss, sizeof other_tss - 1, 0x89, 0);
    expect("CALL to a TSS and IRET back", catch(call_task), -1, 0, NULL);
    check("the new task has its registers from its TSS", task_eax == 0xBEEF && (task_tr & 0xFFFF) == OTHER_TSS);
    check("CALL: NT set, both tasks busy, linked",
          task_flags & FLAG_NT && (uint8_t)task_main_access == 0x8B && (uint8_t)task_own_access == 0x8B &&
          (uint16_t)other_tss.link == MAIN_TSS);
    check("IRET: the task's registers are saved, NT is cleared in the saved flags",
          other_tss.eax == 0x12345678 && !(other_tss.eflags & FLAG_NT));
    catch(keeps_registers);
    check("the old task's registers come back", eax_after_task == 0x77);
    back_by_jump = 1;
    expect("JMP to a TSS and JMP back", catch(jump_task), -1, 0, NULL);
    check("JMP: NT clear, only the new task busy",
          !(task_flags & FLAG_NT) && (uint8_t)task_main_access == 0x89 && (uint8_t)task_own_access == 0x8B);
    back_by_jump = 0;
    gdt[TASK_GATE / 8] = (uint64_t)OTHER_TSS << 16 | 0x85ULL << 40;
    expect("CALL to a task gate", catch(call_task_gate), -1, 0, NULL);
    set_gate_to(VECTOR, OTHER_TSS, 0, GATE_TASK);
    expect("INT n to a task gate, IRET comes back behind it", catch(int_task), -1, 0, NULL);
    set_gate(VECTOR, GATE_INTERRUPT);

    gdt[BAD_TSS / 8] = descriptor((uint32_t)&bad_tss, 0x66, 0x89, 0);
    expect("#TS(selector): a TSS that is too short", catch(call_bad_task), TS, BAD_TSS, call_bad_task_at);
    gdt[BAD_TSS / 8] = descriptor((uint32_t)&bad_tss, 0x67, 0x09, 0);
    expect("#NP(selector): a TSS that is not present", catch(call_bad_task), NP, BAD_TSS, call_bad_task_at);
    expect("#GP(selector): JMP to a busy TSS", catch(jump_busy), GP, MAIN_TSS, jump_busy_at);
    main_tss.link = OTHER_TSS;
    expect("#TS(selector): IRET with NT to a task that is not busy", catch(iret_nt), TS, OTHER_TSS, iret_nt_at);
    gdt[MAIN_TSS / 8] = descriptor((uint32_t)&main_tss, sizeof main_tss - 1, 0x89, 0);
    __asm__ volatile("ltr %w0; clts" ::"r"(MAIN_TSS));
}

/* ---- virtual-8086 mode -------------------------------------------------------------------------------------------- */

#define VM_CODE(name, code)                                                                                            \
    __asm__(".pushsection .text\n.code16\n" #name ":\n" code "\nhlt\n" #name "_end:\n.code32\n.popsection");           \
    extern const uint8_t name[], name##_end[]
VM_CODE(vm_int, "int $0x81");
VM_CODE(vm_int3, "int3");
VM_CODE(vm_cli, "cli");
VM_CODE(vm_sti, "sti");
VM_CODE(vm_pushf, "pushf");
VM_CODE(vm_popf, "popf");
VM_CODE(vm_iret, "iret");
VM_CODE(vm_in, "inb $0x80, %al");
VM_CODE(vm_cli_hlt, "cli");
VM_CODE(vm_segment, "mov $0x123, %ax\nmov %ax, %es\nmovw $0x5AA5, %es:4\nmov %es, %bx\n");
VM_CODE(vm_limit, "mov $0xFFFF, %bx\nmov (%bx), %ax");
VM_CODE(vm_lidt, "lidtl 0");
VM_CODE(vm_lar, "lar %ax, %bx");
VM_CODE(vm_pushf_popf, "pushf\npop %ax\nor $0x3200, %ax\nandw $0xFDFF, %ax\npush %ax\npopf\npushf\npop %cx");

VM_CODE(vm_iret_far, "pushf\npush %cs\npush $(1f - vm_iret_far)\niret\nhlt\n1: nop");

#define RUN(code, flags) catch_vm86(code, code##_end, flags)
#define IOPL3 0x3000

static struct trap vm_trap;
static uint32_t vm_ds_in_handler;
static void from_vm86(struct trap *t) {
    vm_trap = *t;
    vm_ds_in_handler = (uint16_t)t->ds; /* PUSH DS may leave the upper half of its slot alone */
}

static bool gp_at(struct caught c, uint32_t ip) { return c.vector == GP && c.error == 0 && c.eip == ip && c.eflags & FLAG_VM; }

static void vm86(void) {
    on_vector(VECTOR, from_vm86);
    set_gate(VECTOR, GATE_INTERRUPT | GATE_DPL3);
    check("vm86: INT n with IOPL 0: #GP(0)", gp_at(RUN(vm_int, 2), 0));
    check("vm86: CLI with IOPL 0: #GP(0)", gp_at(RUN(vm_cli, 2), 0));
    check("vm86: STI with IOPL 0: #GP(0)", gp_at(RUN(vm_sti, 2), 0));
    check("vm86: PUSHF with IOPL 0: #GP(0)", gp_at(RUN(vm_pushf, 2), 0));
    check("vm86: POPF with IOPL 0: #GP(0)", gp_at(RUN(vm_popf, 2), 0));
    check("vm86: IRET with IOPL 0: #GP(0)", gp_at(RUN(vm_iret, 2), 0));
    check("vm86: HLT: #GP(0) even with IOPL 3", gp_at(RUN(vm_cli_hlt, IOPL3 | 2), 1));
    check("vm86: IN looks at the I/O map, not at IOPL: #GP(0)", gp_at(RUN(vm_in, IOPL3 | 2), 0));
    struct caught c = RUN(vm_int3, 2);
    check("vm86: INT3 does not look at IOPL", c.vector == BP && c.eip == 1);
    c = RUN(vm_int, IOPL3 | 2);
    check("vm86: INT n with IOPL 3 goes through the IDT to ring 0 and IRET comes back", gp_at(c, 2) && vm_trap.vector == VECTOR);
    check("vm86: ES, DS, FS, GS are pushed and null in the handler",
          vm_trap.vm_ds == VM86_SEGMENT && vm_trap.vm_gs == VM86_SEGMENT && vm_ds_in_handler == 0 &&
          vm_trap.eflags & FLAG_VM && vm_trap.ss == VM86_SEGMENT && vm_trap.esp == 0xF00);
    set_gate(VECTOR, GATE_INTERRUPT);
    c = RUN(vm_int, IOPL3 | 2);
    check("vm86: INT n to a gate of DPL 0: #GP with the IDT bit", c.vector == GP && c.error == SELECTOR_ERROR(VECTOR));
    c = RUN(vm_segment, 2);
    check("vm86: a segment is its selector times 16", gp_at(c, 14) && *(volatile uint16_t *)0x1234 == 0x5AA5);
    check("vm86: a word at 0xFFFF: #GP(0)", gp_at(RUN(vm_limit, 2), 3));
    check("vm86: LIDT: #GP(0)", gp_at(RUN(vm_lidt, IOPL3 | 2), 0));
    check("vm86: LAR: #UD", RUN(vm_lar, IOPL3 | 2).vector == UD);
    c = RUN(vm_pushf_popf, IOPL3 | FLAG_IF | 2);
    check("vm86: POPF with IOPL 3 changes IF and not IOPL", c.vector == GP && (c.eflags & 0x3200) == IOPL3);
    c = RUN(vm_iret_far, IOPL3 | 2);
    check("vm86: IRET with IOPL 3 takes IP, CS and FLAGS, and stays in the mode",
          gp_at(c, (uint32_t)(vm_iret_far_end - vm_iret_far) - 1) && c.esp == 0xF00);
    on_vector(VECTOR, note);
}

/* ---- POP SS ------------------------------------------------------------------------------------------------------- */

static unsigned steps;
static uint32_t step_eip[8];
static void on_debug(struct trap *t) {
    if (steps < 8) step_eip[steps] = t->eip;
    steps++;
    write_dr6(0xFFFF0FF0);
}
__asm__(".pushsection .text\nstep_pop_ss: push %ss\npushf\norl $0x100, (%esp)\npopf\npop %ss\nps_1: nop\nps_2: nop\nps_3: pushf\n"
        "andl $~0x100, (%esp)\npopf\nret\n.popsection");
extern void step_pop_ss(void);
extern const uint8_t ps_2[], ps_3[];

static void stack_shadow(void) {
    on_vector(DB, on_debug);
    step_pop_ss();
    check("POP SS: no trap before the next instruction is done", step_eip[0] == (uint32_t)ps_2 && step_eip[1] == (uint32_t)ps_3);
    on_vector(DB, NULL);
}

void guest_main(void) {
    on_vector(VECTOR, note);
    gates();
    gates_of_16_bits();
    call_gates();
    segments();
    stack_shadow();
    double_fault_task();
    vm86();
    hardware_tasks();
}
