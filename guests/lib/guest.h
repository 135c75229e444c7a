/*
 * The small runtime that every 64-bit guest is built on: what guest_main() finds is long mode, the first GiB and the device
 * ranges mapped one to one, all 256 vectors handled, every interrupt source masked, interrupts off.
 */
#ifndef GUEST_H
#define GUEST_H

#include "console.h"
#include "cpu.h"
#include "i8259.h"
#include "selectors.h"

/* ---- the guest itself ------------------------------------------------------------------------------------------- */

void guest_main(void);

/* ---- vectors (traps.c) ------------------------------------------------------------------------------------------ */

/* What a stub leaves on the stack: saved registers, then vector and error code, then what the processor pushed. */
struct trap {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};
typedef void handler(struct trap *trap);

enum { DE = 0, DB = 1, NMI = 2, BP = 3, OF = 4, BR = 5, UD = 6, NM = 7, DF = 8, TS = 10, NP = 11, SS = 12, GP = 13,
       PF = 14, MF = 16, AC = 17, XM = 19 };

/* Call `h` on `vector`, on every CPU; NULL restores the default, which reports the vector and fails the guest. */
void on_vector(unsigned vector, handler *h);

/* How often each vector was taken, all CPUs together. */
extern volatile unsigned taken[256];

struct idt_gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_mid;
    uint32_t offset_high, reserved;
};
#define GATE_INTERRUPT 0x8E
#define GATE_TRAP      0x8F
#define GATE_DPL3      0x60
extern struct idt_gate idt[256];
void set_gate(unsigned vector, uint8_t type, unsigned ist);
/* A gate to code of the guest's own instead of the common stub, such as an __attribute__((interrupt)) function. */
void set_gate_to(unsigned vector, const void *code, uint8_t type, unsigned ist);
struct interrupt_frame;
void load_idt(uint16_t limit);

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7]; /* ist[0] is IST1 */
    uint64_t reserved2;
    uint16_t reserved3, io_map;
    uint8_t io_bits[8]; /* ports 0-63; the last byte must be all ones */
} __attribute__((packed));
extern struct tss tss[MAX_CPUS];
extern uint64_t gdt[];

/*
 * Run a function and find out how it ended. An exception without a handler of its own (on_vector) ends it and is
 * described here; the function's stack frames are forgotten as with longjmp.
 */
struct caught {
    int vector; /* -1: it came back by itself */
    uint64_t error, rip, cs, rflags, rsp, ss, cr2;
    uint64_t handler_rsp; /* where the trap frame lay: shows which stack was used */
};
struct caught catch(void (*code)(void));
/* The same in ring 3, on the stack `user_stack`. The function may simply return. */
struct caught catch_user(void (*code)(void), uint64_t rflags);
struct caught catch_user_at(void (*code)(void), uint64_t rflags, uint64_t user_rsp, uint64_t cs, uint64_t ss);
/* For handlers: give up the code that catch() runs and let catch() return, with what `trap` says. */
void leave(struct trap *trap);
#define USER_STACK_WORDS 1024
extern uint64_t user_stack[USER_STACK_WORDS];
extern const uint8_t user_exit[];

/*
 * An instruction under test with its address and the next one's:
 *     SNIPPET(divide, "xor %ecx, %ecx", "div %ecx")
 * defines the function divide() and the labels divide_at and divide_after.
 */
#define SNIPPET(name, before, instruction)                                                                             \
    __asm__(".pushsection .text\n.globl " #name "\n" #name ":\n" before "\n.globl " #name "_at\n" #name "_at:\n"       \
            instruction "\n.globl " #name "_after\n" #name "_after:\nret\n.popsection");                               \
    extern void name(void);                                                                                            \
    extern const uint8_t name##_at[], name##_after[]

/* ---- CPUs (smp.c) ----------------------------------------------------------------------------------------------- */

unsigned cpu_index(void);
/* Start the CPUs 1 to n-1 by INIT-SIPI-SIPI; they sleep until run_on. False when one did not come. */
bool start_cpus(unsigned n);
bool start_cpu(unsigned index);
/* Run `work` on another CPU, with interrupts off there; wait_for_cpu waits until it has returned. */
void run_on(unsigned cpu, void (*work)(void));
bool wait_for_cpu(unsigned cpu);
void cpu_idle(void) __attribute__((noreturn));
extern volatile bool cpu_online[MAX_CPUS];
#define WAKE_VECTOR 0xFE

/* ---- time (time.c) ---------------------------------------------------------------------------------------------- */

/* The ACPI timer: 24 bits at 3.579545 MHz. */
uint32_t pm_timer(void);
#define PM_TIMER_HZ 3579545
/* Busy for at least this long. */
void delay_us(unsigned us);

/*
 * Spin, with interrupts as they are, until `condition` or until half a second of the guest's time is over.
 * The value is the condition's.
 */
#define wait_until(condition)                                                                                          \
    ({                                                                                                                 \
        struct deadline deadline_ = start_deadline(500000);                                                            \
        bool met_;                                                                                                     \
        while (!(met_ = (condition)) && !deadline_over(&deadline_)) pause();                                           \
        met_;                                                                                                          \
    })
struct deadline {
    uint32_t last, ticks_left, polls;
};
struct deadline start_deadline(unsigned us);
bool deadline_over(struct deadline *d);

/* ---- 8254 (i8254.c); the 8259 pair is in i8259.h -------------------------------------------------------------------- */

#define PIT_HZ 1193182
void pit_start(unsigned channel, unsigned mode, uint16_t count);
uint16_t pit_read(unsigned channel);

/* ---- local APIC and I/O APIC (apic.c) ----------------------------------------------------------------------------- */

#define LAPIC_BASE  0xFEE00000UL
#define IOAPIC_BASE 0xFEC00000UL
#define HPET_BASE   0xFED00000UL

/* Register offsets in the xAPIC page; x2APIC has them at MSR 0x800 + offset / 16. */
enum {
    LAPIC_ID = 0x20, LAPIC_VERSION = 0x30, LAPIC_TPR = 0x80, LAPIC_APR = 0x90, LAPIC_PPR = 0xA0, LAPIC_EOI = 0xB0,
    LAPIC_LDR = 0xD0, LAPIC_DFR = 0xE0, LAPIC_SVR = 0xF0, LAPIC_ISR = 0x100, LAPIC_TMR = 0x180, LAPIC_IRR = 0x200,
    LAPIC_ESR = 0x280, LAPIC_LVT_CMCI = 0x2F0, LAPIC_ICR = 0x300, LAPIC_ICR_HIGH = 0x310, LAPIC_LVT_TIMER = 0x320,
    LAPIC_LVT_THERMAL = 0x330, LAPIC_LVT_PERFORMANCE = 0x340, LAPIC_LVT_LINT0 = 0x350, LAPIC_LVT_LINT1 = 0x360,
    LAPIC_LVT_ERROR = 0x370, LAPIC_TIMER_INITIAL = 0x380, LAPIC_TIMER_CURRENT = 0x390, LAPIC_TIMER_DIVIDE = 0x3E0
};
#define LVT_MASKED       0x10000
#define LVT_PERIODIC     0x20000
#define LVT_TSC_DEADLINE 0x40000
#define DELIVER_FIXED  0x000
#define DELIVER_LOWEST 0x100
#define DELIVER_SMI    0x200
#define DELIVER_NMI    0x400
#define DELIVER_INIT   0x500
#define DELIVER_SIPI   0x600
#define DELIVER_EXTINT 0x700
#define ICR_LOGICAL    0x00800
#define ICR_PENDING    0x01000
#define ICR_ASSERT     0x04000
#define ICR_LEVEL      0x08000
#define ICR_SELF       0x40000
#define ICR_ALL        0x80000
#define ICR_OTHERS     0xC0000

#define SPURIOUS_VECTOR 0xFF
extern bool x2apic; /* lapic_read and lapic_write use the MSRs */
uint32_t lapic_read(unsigned reg);
void lapic_write(unsigned reg, uint32_t value);
void lapic_setup(void); /* enabled, TPR 0, LINT0 ExtINT and masked, other LVT masked, spurious vector 0xFF */
void lapic_eoi(void);
bool lapic_bit(unsigned reg, unsigned vector); /* reg: LAPIC_ISR, LAPIC_TMR or LAPIC_IRR */
void send_ipi(unsigned apic_id, uint32_t icr_low);

#define RTE_LOW_ACTIVE 0x02000
#define RTE_REMOTE_IRR 0x04000
#define RTE_LEVEL      0x08000
#define RTE_MASKED     0x10000
uint32_t ioapic_read(unsigned reg);
void ioapic_write(unsigned reg, uint32_t value);
void ioapic_route(unsigned pin, uint32_t low, unsigned apic_id);
uint32_t ioapic_entry(unsigned pin);
void ioapic_mask_all(void);

/* ---- QEMU's pc-testdev, where the machine has it ------------------------------------------------------------------ */

static inline void test_line(unsigned irq, bool high) { outb(0x2000 + irq, high); }
bool have_test_device(void);
/* For the few instructions that stop QEMU's translator altogether: CPUID's hypervisor leaf names it. */
bool on_qemu_tcg(void);

#endif
