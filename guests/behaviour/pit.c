/*
 * The 8254 (data sheet Intel 231164). Channel 2's gate is bit 0 of port 0x61 and its output bit 5; channel 0's output is read
 * by the read-back command and makes IRQ 0.
 */
#include "guest.h"

#define READ_BACK_STATUS(channel) (uint8_t)(0xE0 | 2 << (channel))
#define READ_BACK_COUNT(channel) (uint8_t)(0xD0 | 2 << (channel))
#define READ_BACK_BOTH(channel) (uint8_t)(0xC0 | 2 << (channel))
#define STATUS_OUT 0x80
#define STATUS_NULL_COUNT 0x40

static void gate2(bool high) { outb(0x61, (uint8_t)((inb(0x61) & 0x0C) | high)); }
static bool out2(void) { return inb(0x61) & 0x20; }

static uint8_t status(unsigned channel) {
    outb(0x43, READ_BACK_STATUS(channel));
    return inb((uint16_t)(0x40 + channel));
}
static bool out0(void) { return status(0) & STATUS_OUT; }

/* Two reads with time between, and time before: a new count is loaded with the next clock only. */
static bool counts(unsigned channel) {
    delay_us(5);
    uint16_t first = pit_read(channel);
    delay_us(50);
    return pit_read(channel) != first;
}

static volatile unsigned ticks;
static void tick(struct trap *trap) {
    (void)trap;
    ticks++;
    lapic_eoi();
}

static void mode0(void) {
    gate2(true);
    pit_start(2, 0, 0xFFFF);
    check("mode 0: the output is low while it counts", !out2());
    check("mode 0: the count goes down", counts(2));
    pit_start(2, 0, 100);
    check("mode 0: the output goes high at the end", wait_until(out2()));
    check("mode 0: and counting goes on, from 0xFFFF down", counts(2) && pit_read(2) > 100);
    check("mode 0: the output stays high", out2());
    outb(0x42, 0xFF);
    outb(0x42, 0xFF);
    check("mode 0: a new count takes it low again", !out2());
    gate2(false);
    pit_start(2, 0, 300);
    delay_us(400);
    check("mode 0: with the gate low it does not count", !out2() && !counts(2));
    gate2(true);
    check("mode 0: with the gate high it does", wait_until(out2()));
}

static void mode1(void) {
    gate2(false);
    pit_start(2, 1, 0xFFFF);
    delay_us(20);
    check("mode 1: the output is high until the trigger", out2());
    gate2(true);
    delay_us(20);
    check("mode 1: the rising gate takes it low", !out2());
    gate2(false);
    delay_us(20);
    check("mode 1: a gate that falls again changes nothing", !out2() && counts(2));
    delay_us(1000);
    uint16_t before = pit_read(2);
    gate2(true);
    delay_us(20);
    check("mode 1: the next rising gate starts the pulse again", pit_read(2) > before);
    gate2(false);
    pit_start(2, 1, 100);
    gate2(true);
    check("mode 1: after the count the output is high", wait_until(out2()));
}

static void mode2(void) {
    ticks = 0;
    ioapic_route(2, 0x30, 0);
    pit_start(0, 2, 400);
    sti();
    check("mode 2: an interrupt for each period", wait_until(ticks >= 4));
    cli();
    ioapic_route(2, RTE_MASKED, 0);
    pit_start(0, 2, 1000);
    bool inside = true;
    for (unsigned i = 0; i < 200; i++) {
        uint16_t count = pit_read(0);
        inside = inside && count >= 1 && count <= 1000;
    }
    check("mode 2: the count stays between 1 and the divisor", inside);
    check("mode 2: the output is high but for one clock", out0() || out0() || out0());
    gate2(false);
    pit_start(2, 2, 0xFFFF);
    check("mode 2: the gate low keeps the output high", out2());
    check("mode 2: and stops the count", !counts(2));
    gate2(true);
    check("mode 2: the gate high starts it", counts(2));
}

static void mode3(void) {
    pit_start(0, 3, 1000);
    bool high = wait_until(out0()), low = wait_until(!out0());
    check("mode 3: the output goes high and low", high && low && wait_until(out0()));
    bool even = true;
    for (unsigned i = 0; i < 200; i++) {
        uint16_t count = pit_read(0);
        even = even && count % 2 == 0 && count <= 1000;
    }
    check("mode 3: the count goes down by two", even);
    ticks = 0;
    ioapic_route(2, 0x30, 0);
    sti();
    check("mode 3: an interrupt for each rising edge", wait_until(ticks >= 3));
    cli();
    ioapic_route(2, RTE_MASKED, 0);
    gate2(false);
    pit_start(2, 3, 1000);
    bool high_all_along = true;
    for (unsigned i = 0; i < 50; i++) {
        delay_us(20);
        high_all_along = high_all_along && out2();
    }
    check("mode 3: the gate low keeps the output high", high_all_along);
}

static void mode4_and_5(void) {
    pit_start(0, 4, 0xFFFF);
    check("mode 4: the output is high while it counts", out0());
    ticks = 0;
    ioapic_route(2, 0x30, 0);
    pit_start(0, 4, 100);
    sti();
    check("mode 4: a strobe at the end", wait_until(ticks == 1));
    delay_us(300);
    cli();
    check("mode 4: only one", ticks == 1);
    ioapic_route(2, RTE_MASKED, 0);
    gate2(false);
    pit_start(2, 5, 0xFFFF);
    delay_us(20);
    check("mode 5: the output is high before the trigger", out2());
    gate2(true);
    delay_us(20);
    check("mode 5: the trigger starts the count, the output stays high", out2() && counts(2));
}

static void reading(void) {
    gate2(true);
    outb(0x43, 0xB4); /* channel 2, low then high byte, mode 2 */
    check("null count is set from the control word until the count is loaded", status(2) & STATUS_NULL_COUNT);
    outb(0x42, 0x34);
    outb(0x42, 0x12);
    delay_us(10);
    check_equal("read-back status: access mode, mode, binary, count loaded", status(2) & 0x7F, 0x34);
    outb(0x43, 0x80); /* latch */
    delay_us(50);
    outb(0x43, 0x80); /* ignored: the first has not been read */
    uint16_t latched = inb(0x42);
    latched |= (uint16_t)(inb(0x42) << 8);
    uint16_t now = pit_read(2);
    check("a latch holds the count, and a second latch before the read is ignored", latched > now ? latched - now >= 40 :
          latched + 0x1234 - now >= 40);
    outb(0x43, READ_BACK_BOTH(2));
    uint8_t first = inb(0x42);
    uint16_t count = inb(0x42);
    count |= (uint16_t)(inb(0x42) << 8);
    check("read-back of both: status first, then the count", (first & 0x3F) == 0x34 && count <= 0x1234);

    outb(0x43, 0x94); /* low byte only */
    outb(0x42, 200);
    delay_us(10);
    check("access mode low byte: one byte is the whole count", inb(0x42) <= 200 && inb(0x42) <= 200);
    outb(0x43, 0xA4); /* high byte only */
    outb(0x42, 2);
    delay_us(10);
    outb(0x43, READ_BACK_COUNT(2));
    check("access mode high byte: the low one is 0", inb(0x42) <= 2);
    pit_start(2, 2, 0);
    delay_us(100);
    check("a count of 0 is 65536", pit_read(2) > 0xF000);
    outb(0x43, 0xB5); /* BCD */
    outb(0x42, 0x00);
    outb(0x42, 0x90);
    bool decimal = true;
    for (unsigned i = 0; i < 100; i++) {
        uint16_t c = pit_read(2);
        for (unsigned digit = 0; digit < 16; digit += 4) decimal = decimal && (c >> digit & 15) <= 9;
    }
    check("BCD: decimal digits only", decimal);
    pit_start(2, 0, 1);
}

static void port_61(void) {
    gate2(true);
    check_equal("port 61: gate and speaker bits read back", inb(0x61) & 3, 1);
    outb(0x61, 3);
    check_equal("port 61: both", inb(0x61) & 3, 3);
    outb(0x61, 0);
    check_equal("port 61: neither", inb(0x61) & 3, 0);
    bool first = inb(0x61) & 0x10;
    check("port 61: the refresh bit toggles", wait_until((bool)(inb(0x61) & 0x10) != first));
}

void guest_main(void) {
    on_vector(0x30, tick);
    mode0();
    mode1();
    mode2();
    mode3();
    mode4_and_5();
    reading();
    port_61();
}
