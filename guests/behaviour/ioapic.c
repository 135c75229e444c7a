/*
 * The I/O APIC (82093AA data sheet, Intel 290566; the EOI register of version 0x20: ICH9 data sheet, 13.5). The test device
 * drives the lines; IRQ n is pin n, except that IRQ 0 is pin 2.
 */
#include "guest.h"

#define VECTOR 0x50
#define HIGHER_VECTOR 0x91
#define EOI_REGISTER (IOAPIC_BASE + 0x40)

static bool send_eoi, lower_line;
static unsigned order[8], count;

static void note(struct trap *trap) {
    if (count < 8) order[count++] = (unsigned)trap->vector;
    if (lower_line) test_line(5, false);
    if (send_eoi) lapic_eoi();
}

static void let_in(void) {
    for (unsigned i = 0; i < 4; i++) sti_nop_cli();
}

/* Line 5 low, pin 5 programmed, nothing pending, nothing counted. */
static void setup(uint32_t rte) {
    ioapic_mask_all();
    test_line(5, false);
    test_line(6, false);
    for (unsigned i = 0; i < 4; i++) lapic_eoi();
    send_eoi = true;
    let_in();
    ioapic_route(5, rte, 0);
    count = 0;
    send_eoi = true;
    lower_line = false;
}

static void registers(void) {
    check_equal("version 0x20 and 24 pins", ioapic_read(1) & 0x00FF00FF, 0x00170020);
    mmio_write(IOAPIC_BASE, 0x11);
    check_equal("IOREGSEL reads back", mmio_read(IOAPIC_BASE) & 0xFF, 0x11);
    uint32_t id = ioapic_read(0);
    ioapic_write(0, 0x05000000);
    check_equal("the ID is in bits 24 to 27", ioapic_read(0) & 0x0F000000, 0x05000000);
    ioapic_write(0, id);
    ioapic_write(0x10 + 10, 0xFFFFFFFF);
    check_equal("RTE: delivery status and remote IRR are read-only", ioapic_entry(5) & 0x15000, 0x10000);
    check_equal("RTE: all else in the low half is kept", ioapic_entry(5) & 0x1AFFF, 0x1AFFF);
    ioapic_write(0x11 + 10, 0xAB000000);
    check_equal("RTE: the destination is in the top byte", ioapic_read(0x11 + 10) & 0xFF000000, 0xAB000000);
}

static void edge(void) {
    setup(VECTOR);
    test_line(5, true);
    let_in();
    check("edge: a rising line interrupts", count == 1);
    check("edge: remote IRR stays 0", !(ioapic_entry(5) & RTE_REMOTE_IRR));
    check("edge: TMR bit is 0", !lapic_bit(LAPIC_TMR, VECTOR));
    let_in();
    check("edge: a line that stays high does so once only", count == 1);
    test_line(5, false);
    let_in();
    check("edge: a falling line does nothing", count == 1);
    test_line(5, true);
    let_in();
    check("edge: the next rise does", count == 2);

    setup(VECTOR);
    test_line(5, true);
    test_line(5, false);
    check("edge: the local APIC holds the request, whatever the line does", lapic_bit(LAPIC_IRR, VECTOR));
    test_line(5, true);
    let_in();
    check("edge: two edges before the first is taken are one interrupt", count == 1);

    setup(VECTOR | RTE_MASKED);
    test_line(5, true);
    ioapic_route(5, VECTOR, 0);
    let_in();
    check("edge: one that comes while the pin is masked is lost", count == 0);
    test_line(5, false);
    test_line(5, true);
    let_in();
    check("edge: the next one after unmasking is not", count == 1);

    setup(VECTOR);
    test_line(5, true);
    ioapic_route(5, VECTOR | RTE_MASKED, 0);
    let_in();
    check("masking does not take back what the local APIC has accepted", count == 1);
}

static void level(void) {
    setup(VECTOR | RTE_LEVEL);
    send_eoi = false;
    test_line(5, true);
    check("level: remote IRR is set when the local APIC accepts", ioapic_entry(5) & RTE_REMOTE_IRR);
    check("level: TMR bit is set", lapic_bit(LAPIC_TMR, VECTOR));
    let_in();
    check("level: the interrupt comes", count == 1);
    check("level: remote IRR stays set until the EOI", ioapic_entry(5) & RTE_REMOTE_IRR);
    ioapic_write(0x10 + 10, VECTOR | RTE_LEVEL);
    check("level: writing the entry leaves remote IRR", ioapic_entry(5) & RTE_REMOTE_IRR);
    test_line(5, false);
    test_line(5, true);
    check("level: no second message while remote IRR is set", !lapic_bit(LAPIC_IRR, VECTOR));
    lapic_eoi();
    check("level: the line is still high at the EOI: delivered again at once", lapic_bit(LAPIC_IRR, VECTOR));
    let_in();
    check("level: and taken", count == 2);
    test_line(5, false);
    lapic_eoi();
    check("level: the EOI with the line low clears remote IRR", !(ioapic_entry(5) & RTE_REMOTE_IRR));
    let_in();
    check("level: and nothing more comes", count == 2);

    setup(VECTOR | RTE_LEVEL);
    lower_line = true;
    test_line(5, true);
    let_in();
    check("level: a handler that lowers the line and sends the EOI has one interrupt", count == 1);

    setup(VECTOR | RTE_LEVEL | RTE_MASKED);
    lower_line = true;
    test_line(5, true);
    let_in();
    check("level: masked, nothing comes", count == 0 && !(ioapic_entry(5) & RTE_REMOTE_IRR));
    ioapic_write(0x10 + 10, VECTOR | RTE_LEVEL);
    let_in();
    check("level: unmasked with the line high, it comes", count == 1);

    setup(VECTOR | RTE_LEVEL | RTE_MASKED);
    test_line(5, true);
    test_line(5, false);
    ioapic_write(0x10 + 10, VECTOR | RTE_LEVEL);
    let_in();
    check("level: a pulse while masked leaves nothing", count == 0);
}

static void eoi_register(void) {
    setup(VECTOR | RTE_LEVEL);
    send_eoi = false;
    test_line(5, true);
    let_in();
    test_line(5, false);
    mmio_write(EOI_REGISTER, HIGHER_VECTOR);
    check("EOI register: another vector changes nothing", ioapic_entry(5) & RTE_REMOTE_IRR);
    mmio_write(EOI_REGISTER, VECTOR);
    check("EOI register: its own vector clears remote IRR", !(ioapic_entry(5) & RTE_REMOTE_IRR));
    lapic_eoi();

    setup(VECTOR | RTE_LEVEL);
    send_eoi = false;
    test_line(5, true);
    let_in();
    mmio_write(EOI_REGISTER, VECTOR);
    check("EOI register: with the line high a new message goes out", lapic_bit(LAPIC_IRR, VECTOR));
    test_line(5, false);
    lapic_eoi();
    let_in();
    lapic_eoi();
}

static void sharing_and_priority(void) {
    setup(VECTOR | RTE_LEVEL);
    ioapic_route(6, VECTOR | RTE_LEVEL, 0);
    send_eoi = false;
    test_line(5, true);
    test_line(6, true);
    let_in();
    check("two level pins on one vector: both wait for the EOI",
          (ioapic_entry(5) & RTE_REMOTE_IRR) && (ioapic_entry(6) & RTE_REMOTE_IRR));
    test_line(5, false);
    test_line(6, false);
    lapic_eoi();
    let_in();
    lapic_eoi();
    check("two level pins on one vector: the EOI ends both",
          !(ioapic_entry(5) & RTE_REMOTE_IRR) && !(ioapic_entry(6) & RTE_REMOTE_IRR));

    setup(VECTOR);
    ioapic_route(6, HIGHER_VECTOR, 0);
    test_line(5, true);
    test_line(6, true);
    let_in();
    check("the vector decides the order, not the pin", count == 2 && order[0] == HIGHER_VECTOR && order[1] == VECTOR);
}

static void polarity(void) {
    setup(RTE_MASKED);
    test_line(5, true);
    ioapic_route(5, VECTOR | RTE_LOW_ACTIVE, 0);
    let_in();
    bool quiet = count == 0;
    test_line(5, false);
    let_in();
    check("active low, edge: the falling line interrupts", quiet && count == 1);
    count = 0;
    test_line(5, true);
    let_in();
    check("active low, edge: the rising line does not", count == 0);

    setup(RTE_MASKED);
    test_line(5, true);
    ioapic_route(5, VECTOR | RTE_LOW_ACTIVE | RTE_LEVEL, 0);
    let_in();
    check("active low, level: a high line is at rest", count == 0);
    send_eoi = false;
    ioapic_route(5, RTE_MASKED, 0);
    test_line(5, false);
    lapic_eoi();
}

static void modes(void) {
    setup(DELIVER_NMI | VECTOR);
    unsigned before = taken[NMI];
    on_vector(NMI, note);
    send_eoi = false;
    test_line(5, true);
    check("delivery mode NMI needs no IF and ignores the vector", wait_until(taken[NMI] != before) && count == 1);
    on_vector(NMI, NULL);

    setup(RTE_MASKED);
    lapic_write(LAPIC_DFR, 0xFFFFFFFF);
    lapic_write(LAPIC_LDR, 0x04000000);
    ioapic_route(5, VECTOR | ICR_LOGICAL, 0x04);
    test_line(5, true);
    let_in();
    check("logical destination, flat: the bit of the LDR", count == 1);
    setup(RTE_MASKED);
    ioapic_route(5, VECTOR | ICR_LOGICAL, 0x02);
    test_line(5, true);
    let_in();
    check("logical destination, flat: not another bit", count == 0);
    setup(RTE_MASKED);
    ioapic_route(5, VECTOR | DELIVER_LOWEST | ICR_LOGICAL, 0xFF);
    test_line(5, true);
    let_in();
    check("lowest priority with one CPU is that CPU", count == 1);
    setup(RTE_MASKED);
    ioapic_route(5, VECTOR, 0x07);
    test_line(5, true);
    let_in();
    check("physical destination of a CPU that is not there: nothing", count == 0);
    setup(RTE_MASKED);
    ioapic_route(5, VECTOR, 0xFF);
    test_line(5, true);
    let_in();
    check("physical destination 0xFF is everybody", count == 1);
}

static void timer(void) {
    setup(RTE_MASKED);
    ioapic_route(2, VECTOR, 0);
    pit_start(0, 2, 300);
    sti();
    check("the 8254 is on pin 2", wait_until(count >= 3));
    cli();
    ioapic_mask_all();
    pit_start(0, 0, 0);
}

void guest_main(void) {
    if (!have_test_device()) die("needs the test device");
    on_vector(VECTOR, note);
    on_vector(HIGHER_VECTOR, note);
    pit_start(0, 0, 0);
    registers();
    edge();
    level();
    eoi_register();
    sharing_and_priority();
    polarity();
    modes();
    timer();
}
