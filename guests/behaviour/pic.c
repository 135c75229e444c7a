/*
 * The 8259A pair (8259A data sheet, Intel 231468; ELCR: PIIX4 data sheet, 4.1.10). Lines are driven by the test device, and
 * one by the 8254. Every handler only notes its IRQ; who sends which EOI is part of each test.
 */
#include "guest.h"

#define ELCR1 0x4D0
#define ELCR2 0x4D1

#define OCW2_EOI 0x20
#define OCW2_SPECIFIC_EOI(n) (uint8_t)(0x60 | (n))
#define OCW2_ROTATE_EOI 0xA0
#define OCW2_ROTATE_SPECIFIC_EOI(n) (uint8_t)(0xE0 | (n))
#define OCW2_SET_LOWEST(n) (uint8_t)(0xC0 | (n))
#define OCW2_ROTATE_IN_AEOI_SET 0x80
#define OCW2_ROTATE_IN_AEOI_CLEAR 0x00
#define OCW3_SPECIAL_MASK_SET 0x68
#define OCW3_SPECIAL_MASK_CLEAR 0x48
#define OCW3_POLL 0x0C
#define ICW4_AEOI 0x02
#define ICW4_SFNM 0x10

static uint8_t order[32];
static unsigned count;
static bool send_eoi;

static void note(struct trap *trap) {
    unsigned irq = (unsigned)trap->vector - PIC_BASE;
    if (count < sizeof order) order[count++] = (uint8_t)irq;
    if (send_eoi) pic_eoi(irq);
}

static void setup(uint8_t icw4) {
    for (unsigned irq = 0; irq < 16; irq++)
        if (irq != 2 && irq != 13) test_line(irq, false);
    outb(ELCR1, 0);
    outb(ELCR2, 0);
    outb(PIC1, 0x11);
    outb(PIC2, 0x11);
    outb(PIC1 + 1, PIC_BASE);
    outb(PIC2 + 1, PIC_BASE + 8);
    outb(PIC1 + 1, 4);
    outb(PIC2 + 1, 2);
    outb(PIC1 + 1, 1 | icw4);
    outb(PIC2 + 1, 1 | (icw4 & ICW4_AEOI));
    pic_mask(0);
    count = 0;
    send_eoi = false;
}

static void pulse(unsigned irq) {
    test_line(irq, true);
    sti_nop_cli();
    test_line(irq, false);
}

/* Let everything pending in, one after the other as long as the pair offers something. */
static void let_in(void) {
    for (unsigned i = 0; i < 8; i++) sti_nop_cli();
}

static bool came(unsigned n, uint8_t a, uint8_t b, uint8_t c) {
    return count == n && (n < 1 || order[0] == a) && (n < 2 || order[1] == b) && (n < 3 || order[2] == c);
}

static void edge(void) {
    setup(0);
    pic_mask(1 << 3);
    test_line(3, true);
    check("edge: a rising line sets its IRR bit", pic_irr() & 1 << 3);
    let_in();
    check("IMR keeps a request from the CPU", count == 0);
    check_equal("IMR reads back", inb(PIC1 + 1), 1 << 3);
    pic_mask(0);
    let_in();
    check("clearing the IMR bit lets the waiting request in", came(1, 3, 0, 0));
    check("the acknowledge sets the ISR bit", pic_isr() & 1 << 3);
    check("the acknowledge clears the IRR bit of an edge request", !(pic_irr() & 1 << 3));
    outb(PIC1, OCW2_EOI);
    check("a non-specific EOI clears the ISR bit", !(pic_isr() & 1 << 3));
    let_in();
    check("edge: a line that stays high makes no second request", count == 1);
    test_line(3, false);
    test_line(3, true);
    let_in();
    check("edge: the next rising edge does", count == 2);
    outb(PIC1, OCW2_EOI);

    setup(0);
    test_line(3, true);
    test_line(3, false);
    let_in();
    check("edge: a request withdrawn before the acknowledge does not arrive as itself",
          taken[PIC_BASE + 3] == 2 && !(pic_isr() & 1 << 3));
    check("edge: but as IRQ 7, with no in-service bit", came(1, 7, 0, 0) && pic_isr() == 0);
    if (pic_isr()) outb(PIC1, OCW2_EOI);
}

static void fixed_priority(void) {
    setup(0);
    send_eoi = true;
    test_line(5, true);
    test_line(3, true);
    test_line(1, true);
    let_in();
    check("fixed priority: 1 before 3 before 5", came(3, 1, 3, 5));

    setup(0);
    pulse(4);
    pulse(6);
    check("a request below the one in service waits", came(1, 4, 0, 0));
    pulse(4);
    check("so does one of the same level", came(1, 4, 0, 0));
    test_line(3, true);
    let_in();
    check("a request above the one in service comes through", came(2, 4, 3, 0));
    check_equal("both are in service", pic_isr(), 1 << 3 | 1 << 4);
    outb(PIC1, OCW2_EOI);
    check_equal("the non-specific EOI ends the highest in service", pic_isr(), 1 << 4);
    outb(PIC1, OCW2_EOI);
    check_equal("the next one ends the other", pic_isr(), 0);

    setup(0);
    pulse(5);
    pulse(3);
    outb(PIC1, OCW2_SPECIFIC_EOI(5));
    check_equal("a specific EOI ends the level that it names", pic_isr(), 1 << 3);
}

static void rotation(void) {
    setup(0);
    pulse(3);
    outb(PIC1, OCW2_ROTATE_EOI);
    send_eoi = true;
    test_line(1, true);
    test_line(3, true);
    test_line(5, true);
    let_in();
    check("rotate on non-specific EOI: the level just served is the lowest", count == 4 &&
          order[1] == 5 && order[2] == 1 && order[3] == 3);

    setup(0);
    outb(PIC1, OCW2_SET_LOWEST(5));
    send_eoi = true;
    test_line(5, true);
    test_line(7, true);
    test_line(6, true);
    let_in();
    check("set priority: 5 lowest makes 6 the highest", came(3, 6, 7, 5));

    setup(0);
    pulse(4);
    outb(PIC1, OCW2_ROTATE_SPECIFIC_EOI(4));
    check_equal("rotate on specific EOI ends the level", pic_isr(), 0);
    send_eoi = true;
    test_line(4, true);
    test_line(5, true);
    let_in();
    check("rotate on specific EOI makes it the lowest", count == 3 && order[1] == 5 && order[2] == 4);

    setup(0);
    send_eoi = true;
    test_line(4, true);
    test_line(5, true);
    let_in();
    check("ICW1 puts the priorities back: 7 is the lowest", came(2, 4, 5, 0));
}

static void special_mask(void) {
    setup(0);
    pulse(3);
    test_line(5, true);
    let_in();
    check("without special mask 5 waits for 3", came(1, 3, 0, 0));
    outb(PIC1 + 1, 1 << 3);
    let_in();
    check("and masking 3 does not change that", came(1, 3, 0, 0));
    outb(PIC1, OCW3_SPECIAL_MASK_SET);
    outb(PIC1 + 1, 1 << 3);
    let_in();
    check("special mask: with 3 masked, 5 comes through", came(2, 3, 5, 0));
    outb(PIC1, OCW3_SPECIAL_MASK_CLEAR);
}

static void automatic_eoi(void) {
    setup(ICW4_AEOI);
    pulse(3);
    check("AEOI: nothing stays in service", count == 1 && pic_isr() == 0);
    pulse(5);
    check("AEOI: the next one needs no EOI", count == 2);
    outb(PIC1, OCW2_ROTATE_IN_AEOI_SET);
    pulse(3);
    count = 0;
    test_line(1, true);
    test_line(4, true);
    let_in();
    check("rotate in AEOI: after 3 the order starts at 4", came(2, 4, 1, 0));
    outb(PIC1, OCW2_ROTATE_IN_AEOI_CLEAR);
}

static void poll(void) {
    setup(0);
    outb(PIC1, OCW3_POLL);
    check_equal("poll without a request: bit 7 is 0", inb(PIC1) & 0x80, 0);
    test_line(5, true);
    outb(PIC1, OCW3_POLL);
    check_equal("poll: bit 7 and the level", inb(PIC1), 0x85);
    check_equal("the poll is the acknowledge: ISR is set", pic_isr(), 1 << 5);
    let_in();
    check("and no interrupt follows", count == 0);
    outb(PIC1, OCW2_EOI);
    outb(PIC1, 0x0A);
    test_line(3, true);
    bool both = inb(PIC1) == 1 << 3 && inb(PIC1) == 1 << 3;
    check("OCW3's choice of IRR lasts", both);
}

static void initialisation(void) {
    setup(0);
    pulse(3);
    outb(PIC1 + 1, 0xFF);
    test_line(5, true);
    outb(PIC1, 0x11);
    outb(PIC1 + 1, PIC_BASE);
    outb(PIC1 + 1, 4);
    outb(PIC1 + 1, 1);
    check_equal("ICW1 clears IMR", inb(PIC1 + 1), 0);
    check_equal("ICW1 resets the edge sense: a line must go low and high again", inb(PIC1), 0);
    test_line(5, false);
    test_line(5, true);
    check_equal("and reading status gives IRR again", inb(PIC1), 1 << 5);
    check("ICW1 ends what was in service", !(pic_isr() & 1 << 3));
}

static void cascade(void) {
    setup(0);
    pulse(10);
    check("cascade: IRQ 10 comes with the slave's vector", came(1, 10, 0, 0));
    check_equal("IR2 of the master and IR2 of the slave are in service", pic_isr(), 1 << 10 | 1 << 2);
    pulse(3);
    check("IRQ 3 is below the cascade", count == 1);
    pulse(1);
    check("IRQ 1 is above it", came(2, 10, 1, 0));
    outb(PIC1, OCW2_EOI);
    outb(PIC2, OCW2_EOI);
    outb(PIC1, OCW2_EOI);
    check_equal("one EOI for each chip", pic_isr(), 0);

    setup(0);
    pulse(12);
    test_line(9, true);
    let_in();
    check("fully nested: a higher slave input waits while IR2 is in service", came(1, 12, 0, 0));
    setup(ICW4_SFNM);
    pulse(12);
    test_line(9, true);
    let_in();
    check("special fully nested: a higher slave input comes through", came(2, 12, 9, 0));
    pulse(14);
    check("special fully nested: a lower one does not", count == 2);

    setup(0);
    pic_mask(1 << 2);
    pulse(10);
    check("masking IR2 closes the whole slave", count == 0);
}

static void level(void) {
    setup(0);
    outb(ELCR1, 0xFF);
    outb(ELCR2, 0xFF);
    check_equal("ELCR: IRQ 0, 1 and 2 are edge only", inb(ELCR1), 0xF8);
    check_equal("ELCR: IRQ 8 and 13 are edge only", inb(ELCR2), 0xDE);
    setup(0);
    outb(ELCR1, 1 << 5);
    pic_mask(1 << 5);
    test_line(5, true);
    check("level: IRR follows the line up", pic_irr() & 1 << 5);
    test_line(5, false);
    check("level: IRR follows the line down", !(pic_irr() & 1 << 5));
    pic_mask(0);
    test_line(5, true);
    let_in();
    check("level: no second interrupt before the EOI", count == 1);
    outb(PIC1, OCW2_EOI);
    let_in();
    check("level: the line is still high after the EOI, so it comes again", count == 2);
    test_line(5, false);
    outb(PIC1, OCW2_EOI);
    let_in();
    check("level: not when the line is low", count == 2);
    outb(ELCR1, 0);
}

/* The slave's request goes away after the master has latched it. */
static void spurious(void) {
    setup(0);
    test_line(10, true);
    outb(PIC2 + 1, 0xFF);
    let_in();
    check("a slave request masked before the acknowledge comes as IRQ 7, as IRQ 15, or not at all",
          count == 0 || (count == 1 && (order[0] == 7 || order[0] == 15)));
    check("a spurious interrupt sets no in-service bit in the slave", pic_isr() >> 8 == 0);
    check("nor bit 7 in the master", !(pic_isr() & 1 << 7));
    setup(0);
}

static void timer(void) {
    setup(0);
    test_line(0, false);
    pic_mask(0xFFFE);
    send_eoi = true;
    pit_start(0, 2, 300);
    sti();
    check("the 8254 ticks on IRQ 0", wait_until(count >= 3) && order[0] == 0 && order[2] == 0);
    cli();
    pit_start(0, 0, 0); /* output low for 55 ms */
    pic_mask(0xFFFF);
}

void guest_main(void) {
    if (!have_test_device()) die("needs the test device");
    for (unsigned irq = 0; irq < 16; irq++) on_vector(PIC_BASE + irq, note);
    lapic_write(LAPIC_LVT_LINT0, DELIVER_EXTINT);
    pit_start(0, 0, 0);
    edge();
    fixed_priority();
    rotation();
    special_mask();
    automatic_eoi();
    poll();
    initialisation();
    cascade();
    level();
    spurious();
    timer();
}
