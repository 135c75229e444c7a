#include "console.h"
#include "cpu.h"
#include "i8259.h"

#include <stdarg.h>

#define COM1 0x3F8
#define LINE_STATUS 5
#define THR_EMPTY 0x20
#define FIFO_BYTES 16
#define SERIAL_IRQ 4

unsigned checks_passed, checks_failed;
char command_line[256];

void serial_setup(void) {
    outb(COM1 + 1, 0);    /* no interrupts */
    outb(COM1 + 3, 0x80); /* divisor latch */
    outb(COM1 + 0, 1);    /* 115200 baud */
    outb(COM1 + 1, 0);
    outb(COM1 + 3, 3);    /* 8 bits, no parity, 1 stop bit */
    outb(COM1 + 2, 7);    /* FIFOs on and cleared */
    outb(COM1 + 4, 0x0B); /* DTR, RTS, OUT2 */
}

static void feed_transmitter(void);

/* Without interrupts: for a guest that is no longer itself. */
static void poll_until_sent(void) {
    do feed_transmitter();
    while ((inb(COM1 + LINE_STATUS) & 0x60) != 0x60);
}

/*
 * Output waits in memory and moves on whenever a line is complete and the transmitter has room. A UART needs 87 us for
 * a character: who waits for that by polling wastes the most of a short guest's time, and the rest can be slept through
 * in the end.
 */
static char waiting[16384];
static unsigned written, sent;

static bool transmitter_has_room(void) { return inb(COM1 + LINE_STATUS) & THR_EMPTY; }

static void feed_transmitter(void) {
    while (sent != written && transmitter_has_room())
        for (unsigned i = 0; i < FIFO_BYTES && sent != written; i++) outb(COM1, (uint8_t)waiting[sent++ % sizeof waiting]);
}

static void put_raw(char c) {
    while (written - sent == sizeof waiting) feed_transmitter();
    waiting[written++ % sizeof waiting] = c;
    if (c == '\n') feed_transmitter();
}

static void on_serial_interrupt(struct trap *trap) {
    (void)trap;
    inb(COM1 + 2); /* reading the cause withdraws it */
    pic_eoi(SERIAL_IRQ);
}

static void ignore(struct trap *trap) { (void)trap; }

void drain_serial(void) {
    only_pic_interrupts();
    pic_setup();
    on_vector(PIC_BASE + SERIAL_IRQ, on_serial_interrupt);
    on_vector(PIC_BASE + 7, ignore); /* spurious */
    feed_transmitter();
    pic_mask((uint16_t)~(1 << SERIAL_IRQ));
    outb(COM1 + 1, 2); /* interrupt when the transmitter is empty: after the feeding, so that none is withdrawn */
    while (sent != written || !transmitter_has_room()) {
        if (!transmitter_has_room()) sti_hlt_cli();
        feed_transmitter();
    }
    outb(COM1 + 1, 0);
    pic_mask(0xFFFF);
    poll_until_sent();
}

void put_char(char c) {
    if (c == '\n') put_raw('\r');
    put_raw(c);
}

static void put_padded(const char *text, unsigned length, int width, char pad) {
    int fill = (width < 0 ? -width : width) - (int)length;
    for (; width > 0 && fill > 0; fill--) put_char(pad);
    while (length--) put_char(*text++);
    for (; fill > 0; fill--) put_char(' ');
}

static void put_number(unsigned long value, bool negative, unsigned base, int width, char pad) {
    char digits[24];
    unsigned at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    if (negative) digits[--at] = '-';
    put_padded(digits + at, sizeof digits - at, width, pad);
}

static unsigned length_of(const char *text) {
    unsigned n = 0;
    while (text[n]) n++;
    return n;
}

static void print(const char *f, va_list args) {
    for (; *f; f++) {
        if (*f != '%') {
            put_char(*f);
            continue;
        }
        bool left = *++f == '-', is_long = false;
        if (left) f++;
        char pad = *f == '0' ? '0' : ' ';
        int width = 0;
        for (; *f >= '0' && *f <= '9'; f++) width = width * 10 + (*f - '0');
        if (left) width = -width;
        for (; *f == 'l'; f++) is_long = true;
        if (*f == 'c') {
            char c = (char)va_arg(args, int);
            put_padded(&c, 1, width, ' ');
        } else if (*f == 's') {
            const char *text = va_arg(args, const char *);
            put_padded(text, length_of(text), width, ' ');
        } else if (*f == 'd') {
            long value = is_long ? va_arg(args, long) : va_arg(args, int);
            put_number(value < 0 ? -(unsigned long)value : (unsigned long)value, value < 0, 10, width, pad);
        } else if (*f == 'u' || *f == 'x') {
            unsigned long value = is_long ? va_arg(args, unsigned long) : va_arg(args, unsigned);
            put_number(value, false, *f == 'x' ? 16 : 10, width, pad);
        } else {
            put_char(*f);
        }
    }
}

void printf(const char *format, ...) {
    va_list args;
    va_start(args, format);
    print(format, args);
    va_end(args);
}

bool check(const char *text, bool ok) {
    printf("%s %s\n", ok ? "PASS" : "FAIL", text);
    if (ok) checks_passed++;
    else checks_failed++;
    return ok;
}

bool check_equal(const char *text, unsigned long got, unsigned long want) {
    if (got == want) return check(text, true);
    printf("FAIL %s (got 0x%lx, want 0x%lx)\n", text, got, want);
    checks_failed++;
    return false;
}

void skip(const char *text) { printf("SKIP %s\n", text); }

static void stop(void) __attribute__((noreturn));
static void stop(void) {
    for (;;) __asm__ volatile("cli; hlt");
}

static void leave_by_exit_port(void) __attribute__((noreturn));
static void leave_by_exit_port(void) {
    outl(0xF4, checks_failed ? 1 : 0);
    stop();
}

void finish(void) {
    printf("END %u passed, %u failed\n", checks_passed, checks_failed);
    drain_serial();
    leave_by_exit_port();
}

void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("FAIL ");
    print(format, args);
    va_end(args);
    checks_failed++;
    printf("\nEND %u passed, %u failed\n", checks_passed, checks_failed);
    poll_until_sent();
    leave_by_exit_port();
}

void power_off(void) {
    drain_serial();
    outw(0x604, 0x2000); /* PM1a control: SLP_EN, and SLP_TYP 0, which is S5 on this board */
    stop();
}

/* Multiboot information (0.6.96, 3.3): flags at 0, bit 2 says that the command line's address at 16 is valid. */
void read_command_line(uintptr_t multiboot_info) {
    const uint32_t *info = (const uint32_t *)multiboot_info;
    if (!info || !(info[0] & 4)) return;
    const char *from = (const char *)(uintptr_t)info[4];
    for (unsigned i = 0; i < sizeof command_line - 1 && from[i]; i++) command_line[i] = from[i];
}

unsigned long command_number(const char *name, unsigned long otherwise) {
    unsigned length = length_of(name);
    for (const char *at = command_line; *at; at++) {
        unsigned i = 0;
        while (i < length && at[i] == name[i]) i++;
        if (i < length || at[i] != '=' || (at != command_line && at[-1] != ' ')) continue;
        unsigned long value = 0;
        for (const char *digit = at + length + 1; *digit >= '0' && *digit <= '9'; digit++)
            value = value * 10 + (unsigned long)(*digit - '0');
        return value;
    }
    return otherwise;
}
