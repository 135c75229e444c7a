/* Interrupts between four processors (Intel SDM vol 3, 11.6 "Issuing interprocessor interrupts", 9.4 on INIT and SIPI). */
#include "guest.h"

#define CPUS 4
#define VECTOR 0x60

static volatile unsigned got[MAX_CPUS], nmis[MAX_CPUS];
static volatile unsigned sent_from;

static void note(struct trap *trap) {
    (void)trap;
    got[cpu_index()]++;
    lapic_eoi();
}

static void note_nmi(struct trap *trap) {
    (void)trap;
    nmis[cpu_index()]++;
}

static void forget(void) {
    for (unsigned i = 0; i < MAX_CPUS; i++) got[i] = nmis[i] = 0;
}

/* Waits for what was sent, then a little longer for what should not have been. Bit i of `who`: CPU i gets it once. */
static bool reached(unsigned who) {
    sti();
    for (unsigned i = 0; i < CPUS; i++)
        if (who >> i & 1) wait_until(got[i] > 0);
    delay_us(100);
    cli();
    bool ok = true;
    for (unsigned i = 0; i < CPUS; i++) ok = ok && got[i] == (who >> i & 1);
    forget();
    return ok;
}

static void send(unsigned destination, uint32_t low) { send_ipi(destination, low | ICR_ASSERT); }

static void send_to_0(void) {
    sent_from = cpu_index();
    send(0, VECTOR);
}

static void physical(void) {
    send(2, VECTOR);
    check("fixed, physical: CPU 2 alone", reached(1 << 2));
    send(0, VECTOR);
    check("fixed, physical: to the sender itself", reached(1 << 0));
    send(9, VECTOR);
    check("fixed, physical: a CPU that is not there: nobody", reached(0));
    send(0xFF, VECTOR);
    check("fixed, physical: 0xFF is everybody", reached(0xF));
    run_on(3, send_to_0);
    check("from CPU 3 to CPU 0", reached(1 << 0) && sent_from == 3);
    send(0, ICR_SELF | VECTOR);
    check("shorthand: self", reached(1 << 0));
    send(0, ICR_ALL | VECTOR);
    check("shorthand: all including self", reached(0xF));
    send(0, ICR_OTHERS | VECTOR);
    check("shorthand: all excluding self", reached(0xE));
    check("delivery status is idle afterwards", !(lapic_read(LAPIC_ICR) & ICR_PENDING));
    lapic_write(LAPIC_ICR_HIGH, 1 << 24);
    delay_us(50);
    check("writing the high half sends nothing", reached(0));
    check_equal("ICR reads back", lapic_read(LAPIC_ICR) & 0xCC7FF, ICR_OTHERS | ICR_ASSERT | VECTOR);
}

static uint32_t format;

static void set_logical_id(void) {
    unsigned me = cpu_index();
    lapic_write(LAPIC_DFR, format);
    lapic_write(LAPIC_LDR, (format == 0xFFFFFFFF ? 1u << me : (me / 2) << 4 | 1u << me % 2) << 24);
}

static void set_logical_ids(uint32_t destination_format) {
    format = destination_format;
    set_logical_id();
    for (unsigned i = 1; i < CPUS; i++) {
        run_on(i, set_logical_id);
        wait_for_cpu(i);
    }
}

static void logical(void) {
    set_logical_ids(0xFFFFFFFF);
    send(0x02, ICR_LOGICAL | VECTOR);
    check("logical, flat: one bit, one CPU", reached(1 << 1));
    send(0x0A, ICR_LOGICAL | VECTOR);
    check("logical, flat: two bits, two CPUs", reached(0xA));
    send(0xF0, ICR_LOGICAL | VECTOR);
    check("logical, flat: bits of nobody", reached(0));
    send(0xFF, ICR_LOGICAL | VECTOR);
    check("logical, flat: 0xFF is everybody", reached(0xF));
    set_logical_ids(0x0FFFFFFF);
    send(0x11, ICR_LOGICAL | VECTOR);
    check("logical, cluster: cluster 1, first member", reached(1 << 2));
    send(0x13, ICR_LOGICAL | VECTOR);
    check("logical, cluster: cluster 1, both members", reached(0xC));
    send(0x02, ICR_LOGICAL | VECTOR);
    check("logical, cluster: cluster 0, second member", reached(1 << 1));
    send(0x23, ICR_LOGICAL | VECTOR);
    check("logical, cluster: an empty cluster", reached(0));
    send(0xFF, ICR_LOGICAL | VECTOR);
    check("logical, cluster: 0xFF is everybody", reached(0xF));
    set_logical_ids(0xFFFFFFFF);
}

static void raise_priority(void) { lapic_write(LAPIC_TPR, 0x40); }
static void lower_priority(void) { lapic_write(LAPIC_TPR, 0); }

static void lowest_priority(void) {
    send(0x0F, ICR_LOGICAL | DELIVER_LOWEST | VECTOR);
    sti();
    wait_until(got[0] + got[1] + got[2] + got[3]);
    delay_us(100);
    cli();
    check("lowest priority: exactly one CPU", got[0] + got[1] + got[2] + got[3] == 1);
    forget();
    lapic_write(LAPIC_TPR, 0x40);
    run_on(1, raise_priority);
    run_on(3, raise_priority);
    wait_for_cpu(1);
    wait_for_cpu(3);
    send(0x0F, ICR_LOGICAL | DELIVER_LOWEST | VECTOR);
    check("lowest priority: the one whose task priority is the lowest", reached(1 << 2));
    lapic_write(LAPIC_TPR, 0);
    run_on(1, lower_priority);
    run_on(3, lower_priority);
    wait_for_cpu(1);
    wait_for_cpu(3);
}

static volatile bool holding, release, seen_in_irr;

static void hold_with_interrupts_off(void) {
    holding = true;
    while (!release) pause();
    seen_in_irr = lapic_bit(LAPIC_IRR, VECTOR) && got[cpu_index()] == 0;
}

static void busy_processors(void) {
    run_on(1, hold_with_interrupts_off);
    wait_until(holding);
    send(1, VECTOR);
    send(1, DELIVER_NMI);
    check("an NMI reaches a CPU that has interrupts off", wait_until(nmis[1] == 1));
    release = true;
    wait_for_cpu(1);
    check("a fixed interrupt waits there in IRR", seen_in_irr);
    check("and is taken when interrupts are on again", reached(1 << 1));
    send(0, ICR_OTHERS | DELIVER_NMI);
    check("NMI to all others", wait_until(nmis[1] && nmis[2] && nmis[3]) && nmis[0] == 0);
    forget();
}

static volatile uint32_t svr_after_init;
static void read_svr(void) { svr_after_init = lapic_read(LAPIC_SVR); }

static void start_again(void) {
    send(2, DELIVER_SIPI | 8);
    delay_us(200);
    send(2, VECTOR);
    check("a SIPI to a running CPU is ignored", reached(1 << 2));
    send_ipi(0, ICR_ALL | DELIVER_INIT | ICR_LEVEL);
    delay_us(100);
    send(2, VECTOR);
    check("INIT level de-assert does nothing", reached(1 << 2));

    cpu_online[3] = false;
    send(3, DELIVER_INIT | ICR_LEVEL);
    delay_us(200);
    send(3, VECTOR);
    check("after INIT a CPU takes no interrupt", reached(0));
    check("nor runs before a SIPI", !cpu_online[3]);
    check("INIT and SIPI start it again", start_cpu(3));
    run_on(3, read_svr);
    wait_for_cpu(3);
    check_equal("with the APIC set up again", svr_after_init, 0x1FF);
    check("what came between is lost", got[3] == 0);
    send(3, VECTOR);
    check("and it takes interrupts", reached(1 << 3));
}

void guest_main(void) {
    on_vector(VECTOR, note);
    on_vector(NMI, note_nmi);
    start_cpus(CPUS);
    check("four CPUs started by INIT-SIPI-SIPI", cpu_online[1] && cpu_online[2] && cpu_online[3]);
    physical();
    logical();
    lowest_priority();
    busy_processors();
    start_again();
}
