/* The HPET (IA-PC HPET specification 1.0a): main counter, one shot, periodic, legacy replacement, FSB delivery. */
#include "guest.h"

#define VECTOR 0x40
enum { CAPABILITIES = 0x00, PERIOD = 0x04, CONFIGURATION = 0x10, STATUS = 0x20, COUNTER = 0xF0 };
#define ENABLE 1
#define LEGACY 2
#define TIMER(n) (0x100u + 0x20u * (n))
#define COMPARATOR(n) (TIMER(n) + 8)
#define FSB_ROUTE(n) (TIMER(n) + 0x10)
#define T_LEVEL 0x0002
#define T_ENABLE 0x0004
#define T_PERIODIC 0x0008
#define T_PERIODIC_CAPABLE 0x0010
#define T_64BIT 0x0020
#define T_SET_VALUE 0x0040
#define T_32BIT_MODE 0x0100
#define T_ROUTE(pin) ((pin) << 9)
#define T_FSB_ENABLE 0x4000
#define T_FSB_CAPABLE 0x8000

static uint32_t hpet_read(unsigned reg) { return mmio_read(HPET_BASE + reg); }
static void hpet_write(unsigned reg, uint32_t value) { mmio_write(HPET_BASE + reg, value); }
static uint64_t hpet_read64(unsigned reg) { return *(volatile uint64_t *)(HPET_BASE + reg); }
static void hpet_write64(unsigned reg, uint64_t value) { *(volatile uint64_t *)(HPET_BASE + reg) = value; }

static volatile unsigned interrupts;
static uint32_t ticks_per_100us;

static void note(struct trap *trap) {
    (void)trap;
    interrupts++;
    lapic_eoi();
}

static void stop(void) {
    hpet_write(CONFIGURATION, 0);
    for (unsigned i = 0; i < 3; i++) hpet_write(TIMER(i), 0);
    hpet_write(STATUS, 7);
    interrupts = 0;
}

static void counter(void) {
    uint32_t period = hpet_read(PERIOD);
    check("the period is at most 100 ns", period > 0 && period <= 0x05F5E100);
    ticks_per_100us = (uint32_t)(100000000000ULL / period);
    check("the counter is 64 bits wide, legacy replacement is there, at least 3 timers",
          (hpet_read(CAPABILITIES) & 0xA000) == 0xA000 && (hpet_read(CAPABILITIES) >> 8 & 31) >= 2);
    stop();
    hpet_write64(COUNTER, 0x123456789ABCDEF0);
    check("stopped, the counter can be written and stands", hpet_read64(COUNTER) == 0x123456789ABCDEF0);
    hpet_write64(COUNTER, 0xFFFFFFF0);
    hpet_write(CONFIGURATION, ENABLE);
    check("enabled, it counts, into the upper half", wait_until(hpet_read64(COUNTER) > 0x100000000));
    stop();
    uint64_t held = hpet_read64(COUNTER);
    delay_us(20);
    check("stopped again, it stands", hpet_read64(COUNTER) == held);
    hpet_write64(COUNTER, 0);
    hpet_write(CONFIGURATION, ENABLE);
    delay_us(1000);
    check("its rate fits the period", hpet_read64(COUNTER) >= ticks_per_100us * 9);
    stop();
}

/* A pin of the I/O APIC that timer n may use. */
static unsigned route_of(unsigned n) {
    uint32_t allowed = hpet_read(TIMER(n) + 4);
    for (unsigned pin = 16; pin < 24; pin++)
        if (allowed >> pin & 1) return pin;
    return 2;
}

/* Inputs from 16 on are shared with PCI and active low. */
static void route(unsigned pin, uint32_t flags) { ioapic_route(pin, VECTOR | flags | (pin >= 16 ? RTE_LOW_ACTIVE : 0), 0); }

static void one_shot(void) {
    unsigned pin = route_of(0);
    route(pin, 0);
    hpet_write64(COUNTER, 0);
    hpet_write(TIMER(0), T_ENABLE | T_ROUTE(pin));
    check_equal("the route that was chosen reads back", hpet_read(TIMER(0)) >> 9 & 31, pin);
    hpet_write64(COMPARATOR(0), ticks_per_100us);
    hpet_write(CONFIGURATION, ENABLE);
    sti();
    check("one shot: an edge interrupt when the counter meets the comparator", wait_until(interrupts == 1));
    check("one shot: not before", hpet_read64(COUNTER) >= ticks_per_100us);
    delay_us(300);
    check("one shot: one", interrupts == 1);
    cli();
    stop();

    route(pin, RTE_LEVEL);
    hpet_write64(COUNTER, 0);
    hpet_write(TIMER(0), T_ENABLE | T_LEVEL | T_ROUTE(pin));
    hpet_write64(COMPARATOR(0), ticks_per_100us);
    hpet_write(CONFIGURATION, ENABLE);
    check("level: the status bit is set", wait_until(hpet_read(STATUS) & 1));
    hpet_write(STATUS, 2);
    check("level: writing 1 to another bit does not clear it", hpet_read(STATUS) & 1);
    check("level: the I/O APIC has it", ioapic_entry(pin) & RTE_REMOTE_IRR);
    hpet_write(STATUS, 1);
    check("level: writing 1 clears it", !(hpet_read(STATUS) & 1));
    sti_nop_cli();
    check("level: one interrupt, for the line has gone down", interrupts == 1 && !(ioapic_entry(pin) & RTE_REMOTE_IRR));
    ioapic_route(pin, RTE_MASKED, 0);
    stop();
}

static void periodic(void) {
    if (!check("timer 0 can be periodic", hpet_read(TIMER(0)) & T_PERIODIC_CAPABLE)) return;
    unsigned pin = route_of(0);
    route(pin, 0);
    hpet_write64(COUNTER, 0);
    hpet_write(TIMER(0), T_ENABLE | T_PERIODIC | T_SET_VALUE | T_ROUTE(pin));
    hpet_write64(COMPARATOR(0), ticks_per_100us);     /* first time */
    hpet_write64(COMPARATOR(0), ticks_per_100us * 2); /* then the period */
    hpet_write(CONFIGURATION, ENABLE);
    sti();
    check("periodic: comes again and again", wait_until(interrupts >= 4));
    cli();
    hpet_write(CONFIGURATION, 0);
    uint64_t now = hpet_read64(COUNTER), next = hpet_read64(COMPARATOR(0));
    check("periodic: the comparator has moved on by whole periods", next > now - ticks_per_100us * 2 &&
          (next - ticks_per_100us) % (ticks_per_100us * 2) == 0);
    ioapic_route(pin, RTE_MASKED, 0);
    stop();
}

static void legacy(void) {
    ioapic_route(2, VECTOR, 0);
    ioapic_route(8, VECTOR + 1, 0);
    hpet_write64(COUNTER, 0);
    hpet_write(TIMER(0), T_ENABLE);
    hpet_write64(COMPARATOR(0), ticks_per_100us);
    hpet_write(TIMER(1), T_ENABLE);
    hpet_write64(COMPARATOR(1), ticks_per_100us * 2);
    unsigned timer0 = taken[VECTOR], timer1 = taken[VECTOR + 1];
    hpet_write(CONFIGURATION, ENABLE | LEGACY);
    sti();
    check("legacy replacement: timer 0 is IRQ 0, on pin 2", wait_until(taken[VECTOR] == timer0 + 1));
    check("legacy replacement: timer 1 is IRQ 8", wait_until(taken[VECTOR + 1] == timer1 + 1));
    timer0 = taken[VECTOR];
    pit_start(0, 2, 100);
    delay_us(500);
    check("legacy replacement: the 8254's interrupt is cut off", taken[VECTOR] == timer0);
    hpet_write(CONFIGURATION, ENABLE);
    check("without it the 8254 is back", wait_until(taken[VECTOR] > timer0));
    cli();
    pit_start(0, 0, 0);
    ioapic_route(2, RTE_MASKED, 0);
    ioapic_route(8, RTE_MASKED, 0);
    stop();
}

static void fsb(void) {
    if (!(hpet_read(TIMER(0)) & T_FSB_CAPABLE)) {
        skip("FSB delivery: the timer is not capable of it");
        return;
    }
    hpet_write64(COUNTER, 0);
    hpet_write(FSB_ROUTE(0), VECTOR);
    hpet_write(FSB_ROUTE(0) + 4, 0xFEE00000);
    hpet_write(TIMER(0), T_ENABLE | T_FSB_ENABLE);
    hpet_write64(COMPARATOR(0), ticks_per_100us);
    hpet_write(CONFIGURATION, ENABLE);
    sti();
    check("FSB: the message reaches the local APIC", wait_until(interrupts == 1));
    cli();
    check("FSB: the status bit stays 0", !(hpet_read(STATUS) & 1));
    stop();
}

void guest_main(void) {
    on_vector(VECTOR, note);
    on_vector(VECTOR + 1, note);
    counter();
    one_shot();
    periodic();
    legacy();
    fsb();
}
