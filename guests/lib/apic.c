/* Local APIC (SDM vol 3, chapter 11) and I/O APIC (82093AA data sheet). */
#include "guest.h"

#define X2APIC_MSR 0x800
#define IOREGSEL IOAPIC_BASE
#define IOWIN (IOAPIC_BASE + 0x10)
#define IOAPIC_PINS 24

bool x2apic;

uint32_t lapic_read(unsigned reg) {
    return x2apic ? (uint32_t)rdmsr(X2APIC_MSR + reg / 16) : mmio_read(LAPIC_BASE + reg);
}

void lapic_write(unsigned reg, uint32_t value) {
    if (x2apic) wrmsr(X2APIC_MSR + reg / 16, value);
    else mmio_write(LAPIC_BASE + reg, value);
}

void lapic_setup(void) {
    lapic_write(LAPIC_SVR, 0x100 | SPURIOUS_VECTOR);
    lapic_write(LAPIC_TPR, 0);
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED | DELIVER_EXTINT);
    lapic_write(LAPIC_LVT_LINT1, LVT_MASKED | DELIVER_NMI);
    lapic_write(LAPIC_LVT_ERROR, LVT_MASKED);
}

void lapic_eoi(void) { lapic_write(LAPIC_EOI, 0); }

bool lapic_bit(unsigned reg, unsigned vector) { return lapic_read(reg + vector / 32 * 16) >> vector % 32 & 1; }

void send_ipi(unsigned apic_id, uint32_t icr_low) {
    if (x2apic) {
        wrmsr(X2APIC_MSR + LAPIC_ICR / 16, (uint64_t)apic_id << 32 | icr_low);
        return;
    }
    lapic_write(LAPIC_ICR_HIGH, apic_id << 24);
    lapic_write(LAPIC_ICR, icr_low);
    while (lapic_read(LAPIC_ICR) & ICR_PENDING) pause();
}

uint32_t ioapic_read(unsigned reg) {
    mmio_write(IOREGSEL, reg);
    return mmio_read(IOWIN);
}

void ioapic_write(unsigned reg, uint32_t value) {
    mmio_write(IOREGSEL, reg);
    mmio_write(IOWIN, value);
}

/* Mask first, so that no half-written entry can deliver. */
void ioapic_route(unsigned pin, uint32_t low, unsigned apic_id) {
    ioapic_write(0x10 + pin * 2, RTE_MASKED);
    ioapic_write(0x11 + pin * 2, apic_id << 24);
    ioapic_write(0x10 + pin * 2, low);
}

uint32_t ioapic_entry(unsigned pin) { return ioapic_read(0x10 + pin * 2); }

void ioapic_mask_all(void) {
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) ioapic_route(pin, RTE_MASKED, 0);
}

void only_pic_interrupts(void) {
    ioapic_mask_all();
    lapic_setup();
    lapic_write(LAPIC_LVT_LINT0, DELIVER_EXTINT);
}

/* Port 0xE0-0xE3 of the test device keeps what was written to it; an absent one reads as ones. */
bool have_test_device(void) {
    outl(0xE0, 0x5A5A1234);
    return inl(0xE0) == 0x5A5A1234;
}

bool on_qemu_tcg(void) {
    struct cpuid leaf = cpuid(0x40000000, 0);
    return cpuid(1, 0).ecx >> 31 && leaf.ebx == 0x54474354 && leaf.ecx == 0x43544743; /* "TCGTCGTCGTCG" */
}
