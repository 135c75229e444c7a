/*
 * Message-signalled interrupts: the address and data formats (Intel SDM vol 3, 11.11), sent by the HPET's FSB delivery, for a
 * processor's own write to 0xFEExxxxx reaches its local APIC's registers and is no message.
 */
#include "guest.h"

#define VECTOR 0x60
#define ADDRESS 0xFEE00000u
#define DESTINATION(id) ((uint32_t)(id) << 12)
#define REDIRECTION_HINT 0x8
#define LOGICAL 0x4
#define DATA_ASSERT 0x4000
#define DATA_LEVEL 0x8000

enum { HPET_CONFIGURATION = 0x10, HPET_COUNTER = 0xF0, HPET_TIMER0 = 0x100, HPET_COMPARATOR0 = 0x108, HPET_ROUTE0 = 0x110 };
#define T_ENABLE 0x0004
#define T_FSB_ENABLE 0x4000
#define T_FSB_CAPABLE 0x8000

static volatile unsigned got[MAX_CPUS], nmis[MAX_CPUS];
static volatile bool was_level;

static void note(struct trap *trap) {
    (void)trap;
    was_level = lapic_bit(LAPIC_TMR, VECTOR);
    got[cpu_index()]++;
    lapic_eoi();
}

static void note_nmi(struct trap *trap) {
    (void)trap;
    nmis[cpu_index()]++;
}

/* The timer writes `data` to `address` once, soon. */
static void message(uint32_t address, uint32_t data) {
    mmio_write(HPET_BASE + HPET_CONFIGURATION, 0);
    mmio_write(HPET_BASE + HPET_COUNTER, 0);
    mmio_write(HPET_BASE + HPET_COUNTER + 4, 0);
    mmio_write(HPET_BASE + HPET_ROUTE0, data);
    mmio_write(HPET_BASE + HPET_ROUTE0 + 4, address);
    mmio_write(HPET_BASE + HPET_TIMER0, T_ENABLE | T_FSB_ENABLE);
    mmio_write(HPET_BASE + HPET_COMPARATOR0, 1000);
    mmio_write(HPET_BASE + HPET_COMPARATOR0 + 4, 0);
    for (unsigned i = 0; i < MAX_CPUS; i++) got[i] = nmis[i] = 0;
    mmio_write(HPET_BASE + HPET_CONFIGURATION, 1);
}

static bool reached(unsigned who) {
    sti();
    for (unsigned i = 0; i < 2; i++)
        if (who >> i & 1) wait_until(got[i] > 0);
    delay_us(who ? 100 : 1000);
    cli();
    return got[0] == (who & 1) && got[1] == (who >> 1 & 1);
}

static void set_logical_id(void) {
    lapic_write(LAPIC_DFR, 0xFFFFFFFF);
    lapic_write(LAPIC_LDR, 1u << (24 + cpu_index()));
}

void guest_main(void) {
    if (!(mmio_read(HPET_BASE + HPET_TIMER0) & T_FSB_CAPABLE)) {
        skip("MSI: the HPET cannot send messages");
        return;
    }
    on_vector(VECTOR, note);
    on_vector(NMI, note_nmi);
    start_cpus(2);
    set_logical_id();
    run_on(1, set_logical_id);
    wait_for_cpu(1);

    message(ADDRESS | DESTINATION(0), VECTOR);
    check("fixed, physical: CPU 0", reached(1) && !was_level);
    message(ADDRESS | DESTINATION(1), VECTOR);
    check("fixed, physical: CPU 1", reached(2));
    message(ADDRESS | DESTINATION(0xFF), VECTOR);
    check("fixed, physical: 0xFF is everybody", reached(3));
    message(ADDRESS | DESTINATION(7), VECTOR);
    check("fixed, physical: a CPU that is not there", reached(0));
    message(ADDRESS | DESTINATION(0x02) | LOGICAL | REDIRECTION_HINT, VECTOR);
    check("fixed, logical: the bit of CPU 1", reached(2));
    message(ADDRESS | DESTINATION(0x03) | LOGICAL | REDIRECTION_HINT, DELIVER_LOWEST | VECTOR);
    sti();
    wait_until(got[0] + got[1] > 0);
    delay_us(100);
    cli();
    check("lowest priority, logical: exactly one of the two", got[0] + got[1] == 1);
    message(ADDRESS | DESTINATION(0), DATA_LEVEL | DATA_ASSERT | VECTOR);
    check("level, assert: TMR is set", reached(1) && was_level);
    message(ADDRESS | DESTINATION(1), DELIVER_NMI | VECTOR);
    check("NMI: the vector does not matter", wait_until(nmis[1] == 1) && got[1] == 0);
    mmio_write(HPET_BASE + HPET_CONFIGURATION, 0);
}
