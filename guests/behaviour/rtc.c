/* The MC146818A clock: periodic, alarm and update-ended interrupts on IRQ 8 (data sheet Motorola MC146818A). */
#include "guest.h"

#define VECTOR 0x38
enum { SECONDS = 0, SECONDS_ALARM = 1, MINUTES = 2, MINUTES_ALARM = 3, HOURS = 4, HOURS_ALARM = 5, DAY = 7, MONTH = 8, YEAR = 9,
       A = 10, B = 11, C = 12, D = 13, RAM = 0x50 };
#define A_UIP 0x80
#define B_24H 0x02
#define B_BINARY 0x04
#define B_UPDATE 0x10
#define B_ALARM 0x20
#define B_PERIODIC 0x40
#define B_SET 0x80
#define C_UPDATE 0x10
#define C_ALARM 0x20
#define C_PERIODIC 0x40
#define C_IRQ 0x80

static uint8_t rtc_read(unsigned reg) {
    outb(0x70, (uint8_t)reg);
    return inb(0x71);
}
static void rtc_write(unsigned reg, uint8_t value) {
    outb(0x70, (uint8_t)reg);
    outb(0x71, value);
}

static volatile unsigned interrupts;
static volatile uint8_t cause;
static bool read_cause = true;

static void on_rtc(struct trap *trap) {
    (void)trap;
    interrupts++;
    if (read_cause) cause = rtc_read(C);
    lapic_eoi();
}

static void start(uint8_t enables) {
    rtc_write(B, B_24H);
    rtc_read(C);
    interrupts = 0;
    cause = 0;
    rtc_write(B, B_24H | enables);
}

/* Set the time on 31 December 2025, with the clock held meanwhile. */
static void set_clock(uint8_t hours, uint8_t minutes, uint8_t seconds) {
    rtc_write(B, B_24H | B_SET);
    rtc_write(SECONDS, seconds);
    rtc_write(MINUTES, minutes);
    rtc_write(HOURS, hours);
    rtc_write(DAY, 0x31);
    rtc_write(MONTH, 0x12);
    rtc_write(YEAR, 0x25);
    rtc_write(B, B_24H);
}

static void registers(void) {
    check_equal("register D: valid RAM and time", rtc_read(D) & 0x80, 0x80);
    rtc_write(RAM, 0xA5);
    rtc_write(RAM + 1, 0x5A);
    check("the RAM keeps what is written", rtc_read(RAM) == 0xA5 && rtc_read(RAM + 1) == 0x5A);
    rtc_write(A, 0x26);
    check_equal("register A: divider and rate read back", rtc_read(A) & 0x7F, 0x26);
    set_clock(0x12, 0x34, 0x56);
    check("the time reads back as BCD", rtc_read(HOURS) == 0x12 && rtc_read(MINUTES) == 0x34);
}

static void periodic(void) {
    rtc_write(A, 0x23); /* 8192 Hz, 122 us */
    start(B_PERIODIC);
    sti();
    check("periodic: comes again and again", wait_until(interrupts >= 4));
    check_equal("periodic: register C says why", cause & 0xF0, C_IRQ | C_PERIODIC);
    cli();
    start(0);
    delay_us(300);
    check("the flag is set even when the interrupt is not enabled", rtc_read(C) & C_PERIODIC);
    start(B_PERIODIC);
    read_cause = false;
    sti();
    wait_until(interrupts >= 1);
    delay_us(500);
    check("without reading register C the line stays active: no second edge", interrupts == 1);
    rtc_read(C);
    check("after reading it the next period interrupts", wait_until(interrupts >= 2));
    cli();
    read_cause = true;
    start(0);
    rtc_read(C);
    check_equal("reading register C clears it", rtc_read(C) & ~C_PERIODIC, 0);
    rtc_write(A, 0x20); /* rate 0: none */
    start(B_PERIODIC);
    sti();
    delay_us(500);
    cli();
    check("rate 0: no periodic interrupt", interrupts == 0);
    rtc_write(A, 0x26);
}

/* Sleeps until the clock's interrupt; the 8254, every 55 ms, makes sure that the sleep ends. */
#define WATCHDOG_VECTOR 0x39
static volatile unsigned watchdog_ticks;
static void on_watchdog(struct trap *trap) {
    (void)trap;
    watchdog_ticks++;
    lapic_eoi();
}
static void wait_second(void) {
    on_vector(WATCHDOG_VECTOR, on_watchdog);
    ioapic_route(2, WATCHDOG_VECTOR, 0);
    pit_start(0, 2, 0);
    watchdog_ticks = 0;
    while (interrupts == 0 && watchdog_ticks < 40) sti_hlt_cli();
    ioapic_route(2, RTE_MASKED, 0);
}

/* The divider chain begins anew, after which the next update is half a second away. */

static void restart_divider(void) {
    rtc_write(A, 0x76);
    rtc_write(A, 0x26);
}

static void alarm_and_update(void) {
    set_clock(0x23, 0x59, 0x59);
    rtc_write(SECONDS_ALARM, 0x00);
    rtc_write(MINUTES_ALARM, 0xC0); /* any */
    rtc_write(HOURS_ALARM, 0xC0);
    restart_divider();
    start(B_UPDATE | B_ALARM);
    wait_second();
    check("update ended: one interrupt", interrupts == 1 && cause & C_UPDATE);
    check("alarm: at the second that it names, any minute and hour", cause & C_ALARM);
    check("and bit 7 sums them up", cause & C_IRQ);
    check("one second after 23:59:59 on 31 December is midnight, 1 January of the next year",
          rtc_read(SECONDS) == 0 && rtc_read(MINUTES) == 0 && rtc_read(HOURS) == 0 && rtc_read(DAY) == 1 &&
          rtc_read(MONTH) == 1 && rtc_read(YEAR) == 0x26);
    check("no update is in progress just after one", !(rtc_read(A) & A_UIP));
}

static void set_bit(void) {
    rtc_write(B, B_24H | B_SET | B_UPDATE);
    check("SET clears the update interrupt enable", !(rtc_read(B) & B_UPDATE));
    uint8_t seconds = rtc_read(SECONDS);
    check("SET holds the time: no update in progress", !(rtc_read(A) & A_UIP) && rtc_read(SECONDS) == seconds);
    rtc_write(HOURS, 0x13);
    rtc_write(B, B_24H);
    rtc_write(B, B_24H | B_SET);
    check("the hour as it was written", rtc_read(HOURS) == 0x13);
    rtc_write(B, B_24H);
}

void guest_main(void) {
    on_vector(VECTOR, on_rtc);
    ioapic_route(8, VECTOR, 0);
    registers();
    periodic();
    alarm_and_update();
    set_bit();
}
