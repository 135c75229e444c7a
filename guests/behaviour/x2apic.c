/* The local APIC in x2APIC mode (Intel SDM vol 3, 11.12): mode switches, MSRs and their #GP rules, self-IPI, cluster IDs. */
#include "guest.h"

#define APIC_BASE 0x1B
#define APIC_EXTD (1 << 10)
#define APIC_EN (1 << 11)
#define MSR(reg) (0x800 + (reg) / 16)
#define SELF_IPI 0x83F
#define VECTOR 0x60
#define TIMER_VECTOR 0x61

static volatile unsigned got[MAX_CPUS];
static void note(struct trap *trap) {
    (void)trap;
    got[cpu_index()]++;
    lapic_eoi();
}

static uint32_t msr;
static uint64_t msr_value;
static void read_msr(void) { msr_value = rdmsr(msr); }
static void write_msr(void) { wrmsr(msr, msr_value); }

static bool is_gp(struct caught c) { return c.vector == GP && c.error == 0; }
static bool read_faults(uint32_t number) {
    msr = number;
    return is_gp(catch(read_msr));
}
static bool write_faults(uint32_t number, uint64_t value) {
    msr = number;
    msr_value = value;
    return is_gp(catch(write_msr));
}

static void modes(void) {
    uint64_t base = rdmsr(APIC_BASE);
    check("xAPIC mode: the MSRs are not there: #GP", read_faults(MSR(LAPIC_ID)) && write_faults(MSR(LAPIC_EOI), 0));
    check("EXTD without EN: #GP", write_faults(APIC_BASE, (base & ~(uint64_t)APIC_EN) | APIC_EXTD));
    check("reserved bits of IA32_APIC_BASE: #GP", write_faults(APIC_BASE, base | 1));
    lapic_write(LAPIC_TPR, 0x20);
    wrmsr(APIC_BASE, base | APIC_EXTD);
    x2apic = true;
    check("xAPIC to x2APIC", (rdmsr(APIC_BASE) & (APIC_EN | APIC_EXTD)) == (APIC_EN | APIC_EXTD));
    check("TPR and SVR are kept", lapic_read(LAPIC_TPR) == 0x20 && lapic_read(LAPIC_SVR) == 0x1FF);
    lapic_write(LAPIC_TPR, 0);
    check("x2APIC to xAPIC: #GP", write_faults(APIC_BASE, base));
    wrmsr(APIC_BASE, base & ~(uint64_t)(APIC_EN | APIC_EXTD));
    check("x2APIC to off: the MSRs are gone, CPUID denies the APIC",
          read_faults(MSR(LAPIC_ID)) && !(cpuid(1, 0).edx & 1 << 9));
    check("off to x2APIC: #GP", write_faults(APIC_BASE, base | APIC_EXTD));
    x2apic = false;
    wrmsr(APIC_BASE, base);
    check("off to xAPIC: as after reset: software disabled, LVT masked",
          (lapic_read(LAPIC_SVR) & 0x1FF) == 0xFF && lapic_read(LAPIC_LVT_TIMER) == LVT_MASKED);
    wrmsr(APIC_BASE, base | APIC_EXTD);
    x2apic = true;
    lapic_setup();
}

static void registers(void) {
    uint32_t id = (uint32_t)rdmsr(MSR(LAPIC_ID));
    check_equal("the ID has 32 bits, as CPUID leaf 0xB says", id, cpuid(0xB, 0).edx);
    check_equal("the logical ID is made of it", rdmsr(MSR(LAPIC_LDR)), (id >> 4) << 16 | 1u << (id & 15));
    check("read-only: ID, version, LDR, PPR", write_faults(MSR(LAPIC_ID), 0) && write_faults(MSR(LAPIC_VERSION), 0) &&
          write_faults(MSR(LAPIC_LDR), 0) && write_faults(MSR(LAPIC_PPR), 0));
    check("read-only: ISR, TMR, IRR, current count", write_faults(MSR(LAPIC_ISR), 0) && write_faults(MSR(LAPIC_TMR), 0) &&
          write_faults(MSR(LAPIC_IRR), 0) && write_faults(MSR(LAPIC_TIMER_CURRENT), 0));
    check("write-only: EOI, self-IPI", read_faults(MSR(LAPIC_EOI)) && read_faults(SELF_IPI));
    check("EOI takes 0 only", write_faults(MSR(LAPIC_EOI), 1) && !write_faults(MSR(LAPIC_EOI), 0));
    check("ESR takes 0 only", write_faults(MSR(LAPIC_ESR), 1) && !write_faults(MSR(LAPIC_ESR), 0));
    check("DFR does not exist", read_faults(MSR(LAPIC_DFR)) && write_faults(MSR(LAPIC_DFR), 0xFFFFFFFF));
    check("nor does the upper half of ICR", read_faults(MSR(LAPIC_ICR_HIGH)) && write_faults(MSR(LAPIC_ICR_HIGH), 0));
    check("nor APR", read_faults(MSR(LAPIC_APR)));
    check("reserved bits: TPR", write_faults(MSR(LAPIC_TPR), 0x100) && !write_faults(MSR(LAPIC_TPR), 0));
    check("reserved bits: SVR", write_faults(MSR(LAPIC_SVR), 0x80000000 | 0x1FF));
    check("reserved bits: LVT", write_faults(MSR(LAPIC_LVT_TIMER), 0x80000000 | LVT_MASKED));
    check("reserved bits: divide configuration", write_faults(MSR(LAPIC_TIMER_DIVIDE), 4));
    check("reserved bits: the upper half of a 32-bit register", write_faults(MSR(LAPIC_TPR), 1UL << 32));
}

static void self_ipi(void) {
    got[0] = 0;
    wrmsr(SELF_IPI, VECTOR);
    check("self-IPI: the IRR bit", lapic_bit(LAPIC_IRR, VECTOR));
    sti_nop_cli();
    check("self-IPI: taken", got[0] == 1 && !lapic_bit(LAPIC_ISR, VECTOR));
    check("self-IPI: reserved bits", write_faults(SELF_IPI, 0x100));
}

static void enable_x2apic(void) {
    wrmsr(APIC_BASE, rdmsr(APIC_BASE) | APIC_EXTD);
    lapic_setup();
}

static bool reached(unsigned who) {
    sti();
    for (unsigned i = 0; i < 2; i++)
        if (who >> i & 1) wait_until(got[i] > 0);
    delay_us(100);
    cli();
    bool ok = got[0] == (who & 1) && got[1] == (who >> 1 & 1);
    got[0] = got[1] = 0;
    return ok;
}

static void other_processors(void) {
    got[0] = got[1] = 0;
    send_ipi(1, ICR_ASSERT | VECTOR);
    check("ICR: physical, one 64-bit write", reached(2));
    check_equal("ICR reads back with the destination on top", rdmsr(MSR(LAPIC_ICR)), 1UL << 32 | ICR_ASSERT | VECTOR);
    send_ipi(0xFFFFFFFF, ICR_ASSERT | VECTOR);
    check("ICR: 0xFFFFFFFF is everybody", reached(3));
    send_ipi(0x00000002, ICR_LOGICAL | ICR_ASSERT | VECTOR);
    check("ICR: logical, cluster 0, second member", reached(2));
    send_ipi(0x00000003, ICR_LOGICAL | ICR_ASSERT | VECTOR);
    check("ICR: logical, both", reached(3));
    send_ipi(0x00010003, ICR_LOGICAL | ICR_ASSERT | VECTOR);
    check("ICR: logical, an empty cluster", reached(0));
    send_ipi(0, ICR_OTHERS | ICR_ASSERT | VECTOR);
    check("ICR: shorthand others", reached(2));
}

static void timer(void) {
    on_vector(TIMER_VECTOR, note);
    got[0] = 0;
    lapic_write(LAPIC_TIMER_DIVIDE, 0xB);
    lapic_write(LAPIC_LVT_TIMER, TIMER_VECTOR);
    lapic_write(LAPIC_TIMER_INITIAL, 10000);
    sti();
    check("the timer by MSR", wait_until(got[0] == 1));
    cli();
}

void guest_main(void) {
    if (!(cpuid(1, 0).ecx & 1 << 21)) {
        skip("x2APIC: CPUID says that there is none");
        return;
    }
    on_vector(VECTOR, note);
    start_cpus(2); /* in xAPIC mode; they follow */
    run_on(1, enable_x2apic);
    wait_for_cpu(1);
    modes();
    registers();
    self_ipi();
    other_processors();
    timer();
}
