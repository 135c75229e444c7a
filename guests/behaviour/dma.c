/*
 * The two 8237A (data sheet Intel 231466) and the page registers of a PC/AT, without any device: blocks are requested by
 * software, so that a write transfer brings what an empty data bus has, all-ones.
 */
#include "guest.h"

enum { STATUS = 8, COMMAND = 8, REQUEST = 9, MASK_BIT = 10, MODE = 11, CLEAR_FLIP_FLOP = 12, TEMPORARY = 13,
       MASTER_CLEAR = 13, CLEAR_MASK = 14, ALL_MASK = 15 };
enum { VERIFY = 0x00, WRITE = 0x04, READ = 0x08, AUTO = 0x10, DOWN = 0x20, DEMAND = 0x00, SINGLE = 0x40, BLOCK = 0x80,
       CASCADE = 0xC0 };
#define ROTATING 0x10
#define COPY 0x01
#define HOLD 0x02

static const uint8_t page_port[8] = { 0x87, 0x83, 0x81, 0x82, 0x8F, 0x8B, 0x89, 0x8A };

static uint16_t port(unsigned channel, unsigned reg) {
    return (uint16_t)(channel < 4 ? reg : 0xC0 + 2 * reg);
}

static uint16_t word(unsigned channel, unsigned reg) {
    outb(port(channel, CLEAR_FLIP_FLOP), 0);
    uint16_t low = inb(port(channel, reg));
    return (uint16_t)(low | inb(port(channel, reg)) << 8);
}
static uint16_t address_of(unsigned channel) { return word(channel, 2 * (channel & 3)); }
static uint16_t count_of(unsigned channel) { return word(channel, 2 * (channel & 3) + 1); }

/* Leaves the channel masked. The count is in transfers. */
static void program(unsigned channel, uint8_t mode, uint32_t address, unsigned transfers) {
    unsigned n = channel & 3;
    uint32_t units = channel < 4 ? address : address >> 1;
    outb(port(channel, MASK_BIT), (uint8_t)(4 | n));
    outb(port(channel, MODE), (uint8_t)(mode | n));
    outb(port(channel, CLEAR_FLIP_FLOP), 0);
    outb(port(channel, 2 * n), (uint8_t)units);
    outb(port(channel, 2 * n), (uint8_t)(units >> 8));
    outb(port(channel, 2 * n + 1), (uint8_t)(transfers - 1));
    outb(port(channel, 2 * n + 1), (uint8_t)((transfers - 1) >> 8));
    outb(page_port[channel], (uint8_t)(channel < 4 ? address >> 16 : address >> 16 & 0xFE));
}
static void request(unsigned channel) { outb(port(channel, REQUEST), (uint8_t)(4 | (channel & 3))); }

/* Terminal counts that were seen; reading the status forgets them. */
static uint8_t ended[2];
static bool done(unsigned channel) {
    ended[channel / 4] |= inb(port(channel, STATUS)) & 15;
    return ended[channel / 4] & (1u << (channel & 3));
}
static void forget(void) {
    inb(STATUS);
    inb(port(4, STATUS));
    ended[0] = ended[1] = 0;
}

/* Conventional memory that nobody uses. */
#define BUFFER 0x40000UL
static void fill(uintptr_t at, unsigned bytes, uint8_t value) {
    for (unsigned i = 0; i < bytes; i++) ((volatile uint8_t *)at)[i] = value;
}
static bool all(uintptr_t at, unsigned bytes, uint8_t value) {
    for (unsigned i = 0; i < bytes; i++)
        if (((volatile uint8_t *)at)[i] != value) return false;
    return true;
}

/* What both controllers are like when a guest begins: a BIOS has made channel 4 the cascade. */
static void setup(void) {
    outb(MASTER_CLEAR, 0);
    outb(port(4, MASTER_CLEAR), 0);
    outb(port(4, MODE), CASCADE);
    outb(port(4, MASK_BIT), 0);
    forget();
}

static void registers(void) {
    outb(CLEAR_FLIP_FLOP, 0);
    outb(2, 0x34);
    outb(2, 0x12);
    check_equal("address: low byte first, then high byte", address_of(1), 0x1234);
    outb(CLEAR_FLIP_FLOP, 0);
    inb(2);
    outb(CLEAR_FLIP_FLOP, 0);
    check_equal("clear flip-flop: the low byte again", inb(2), 0x34);
    outb(CLEAR_FLIP_FLOP, 0);
    outb(port(4, CLEAR_FLIP_FLOP), 0);
    outb(port(5, 2), 0x78);
    outb(6, 0x11);
    outb(port(5, 2), 0x56);
    outb(6, 0x22);
    check("each controller has a flip-flop of its own", address_of(5) == 0x5678 && address_of(3) == 0x2211);
    outb(CLEAR_FLIP_FLOP, 0);
    inb(2);
    outb(MASTER_CLEAR, 0);
    check_equal("master clear: the flip-flop, but no address", inb(2), 0x34);
    bool pages = true;
    for (unsigned i = 1; i < 16; i++) outb((uint16_t)(0x80 + i), (uint8_t)(0xA0 + i));
    for (unsigned i = 1; i < 16; i++) pages = pages && inb((uint16_t)(0x80 + i)) == 0xA0 + i;
    check("page registers 81 to 8F keep what is written", pages);
    setup();
}

static void block(void) {
    fill(BUFFER, 0x200, 0x55);
    program(3, BLOCK | WRITE, BUFFER + 0x10, 0x100);
    request(3);
    check("request: the status shows it, or its end", (inb(STATUS) & 0x88) || done(3));
    check("block: terminal count", wait_until(done(3)));
    check("block: count + 1 bytes, and no more", all(BUFFER, 0x10, 0x55) && all(BUFFER + 0x10, 0x100, 0xFF) &&
          all(BUFFER + 0x110, 0xF0, 0x55));
    check_equal("block: the count is through", count_of(3), 0xFFFF);
    check_equal("block: the address is behind", address_of(3), 0x110);
    check_equal("block: the request is gone", inb(STATUS), 0);

    fill(BUFFER, 0x200, 0x55);
    program(3, BLOCK | VERIFY, BUFFER, 0x80);
    request(3);
    forget();
    check("verify: terminal count", wait_until(done(3)));
    check("verify: nothing moves", all(BUFFER, 0x200, 0x55));
    check_equal("verify: the address goes on", address_of(3), 0x80);

    program(3, BLOCK | WRITE | DOWN, BUFFER + 0x7F, 0x40);
    forget();
    request(3);
    check("decrement: terminal count", wait_until(done(3)));
    check("decrement: downwards", all(BUFFER, 0x40, 0x55) && all(BUFFER + 0x40, 0x40, 0xFF) &&
          all(BUFFER + 0x80, 0x40, 0x55));

    fill(BUFFER, 0x100, 0x55);
    program(3, SINGLE | WRITE, BUFFER, 0x20);
    forget();
    request(3);
    check("single: goes on while it is requested", wait_until(done(3)) && all(BUFFER, 0x20, 0xFF));
    fill(BUFFER, 0x100, 0x55);
    program(3, DEMAND | WRITE, BUFFER, 0x20);
    forget();
    request(3);
    check("demand: goes on while it is requested", wait_until(done(3)) && all(BUFFER, 0x20, 0xFF));
}

static void progress(void) {
    fill(BUFFER, 0x4000, 0x55);
    program(3, BLOCK | WRITE, BUFFER, 0x4000);
    forget();
    request(3);
    bool falls = true, there = true;
    unsigned steps = 0;
    uint16_t last = 0x3FFF;
    while (last != 0xFFFF && steps < 100) {
        delay_us(300);
        uint16_t now = count_of(3);
        if (now != 0xFFFF) {
            falls = falls && now < last;
            there = there && all(BUFFER, 0x3FFFu - now, 0xFF);
        }
        last = now;
        steps++;
    }
    check("progress: the count falls while a block runs", falls && steps > 3 && last == 0xFFFF);
    check("progress: what the count says has moved, is there", there && steps > 3);
}

static void wrap(void) {
    fill(0x4FFF0, 0x20, 0x55);
    fill(0x40000, 0x10, 0x55);
    program(2, BLOCK | WRITE, 0x4FFFC, 8);
    forget();
    request(2);
    check("wrap: terminal count", wait_until(done(2)));
    check("wrap: the address goes round in 64 KiB, the page stays", all(0x4FFFC, 4, 0xFF) && all(0x40000, 4, 0xFF) &&
          all(0x50000, 4, 0x55) && all(0x40004, 4, 0x55));

    fill(0x5FFF0, 0x20, 0x55);
    fill(0x40000, 0x10, 0x55);
    program(6, BLOCK | WRITE, 0x5FFFC, 4);
    forget();
    request(6);
    check("16 bits: terminal count", wait_until(done(6)));
    check("16 bits: words, round in 128 KiB", all(0x5FFFC, 4, 0xFF) && all(0x40000, 4, 0xFF) && all(0x60000, 4, 0x55) &&
          all(0x40004, 4, 0x55));
    check_equal("16 bits: the address counts words", address_of(6), 2);
}

static void autoinitialize(void) {
    fill(BUFFER, 0x100, 0x55);
    program(1, BLOCK | WRITE | AUTO, BUFFER, 0x20);
    forget();
    request(1);
    check("auto-initialise: terminal count", wait_until(done(1)));
    check("auto-initialise: address and count are back", address_of(1) == 0 && count_of(1) == 0x1F);
    fill(BUFFER, 0x100, 0x55);
    forget();
    request(1);
    check("auto-initialise: the next block without programming", wait_until(done(1)) && all(BUFFER, 0x20, 0xFF));
}

static void priority(void) {
    program(1, SINGLE | WRITE, BUFFER, 0x1000);
    program(2, SINGLE | WRITE, BUFFER + 0x1000, 0x1000);
    forget();
    request(2);
    request(1);
    delay_us(1000);
    uint16_t first = count_of(1), second = count_of(2);
    check("fixed priority: the lower channel alone", first < 0xFF0 && second > 0xFF0);
    check("fixed priority: then the other", wait_until(done(1)) && wait_until(done(2)));
    program(1, SINGLE | WRITE, BUFFER, 0x1000);
    program(2, SINGLE | WRITE, BUFFER + 0x1000, 0x1000);
    outb(COMMAND, ROTATING);
    forget();
    request(1);
    request(2);
    delay_us(1000);
    first = count_of(1);
    second = count_of(2);
    int apart = (int)first - (int)second;
    check("rotating priority: in turn", first < 0xFF0 && second < 0xFF0 && apart > -40 && apart < 40);
    check("rotating priority: both end", wait_until(done(1)) && wait_until(done(2)));
    outb(COMMAND, 4);
    program(1, BLOCK | WRITE, BUFFER, 0x10);
    forget();
    request(1);
    delay_us(500);
    check_equal("controller disable: nothing moves", count_of(1), 0xF);
    outb(COMMAND, 0);
    check("controller disable: until it is enabled", wait_until(done(1)));
}

static void memory_to_memory(void) {
    for (unsigned i = 0; i < 0x100; i++) ((volatile uint8_t *)BUFFER)[i] = (uint8_t)(i * 7 + 1);
    fill(0x50000, 0x200, 0x55);
    program(0, BLOCK | READ, BUFFER, 0x100);
    program(1, BLOCK | WRITE, 0x50010, 0x100);
    outb(COMMAND, COPY);
    forget();
    request(0);
    check("memory to memory: terminal count of channel 1", wait_until(done(1)));
    bool same = true;
    for (unsigned i = 0; i < 0x100; i++)
        same = same && ((volatile uint8_t *)0x50010)[i] == (uint8_t)(i * 7 + 1);
    check("memory to memory: the block", same && all(0x50000, 0x10, 0x55) && all(0x50110, 0x10, 0x55));
    check_equal("memory to memory: the last byte in the temporary register", inb(TEMPORARY), (uint8_t)(0xFF * 7 + 1));
    program(0, BLOCK | READ, BUFFER + 5, 0x80);
    program(1, BLOCK | WRITE | DOWN, 0x5007F, 0x80);
    outb(COMMAND, COPY | HOLD);
    forget();
    request(0);
    check("address hold: terminal count", wait_until(done(1)));
    check("address hold: one byte fills the block", all(0x50000, 0x80, 5 * 7 + 1));
    check_equal("address hold: the source stays", address_of(0), 5);
    outb(COMMAND, 0);
    setup();
}

void guest_main(void) {
    setup();
    registers();
    block();
    progress();
    wrap();
    autoinitialize();
    priority();
    memory_to_memory();
}
