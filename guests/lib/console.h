/* Serial output, the checks, the ways to end. Common to the 64-bit and the 32-bit guests. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

/* Set COM1 to 115200 baud, 8N1, FIFO on, no interrupts. */
void serial_setup(void);
void put_char(char c);
/*
 * Sleep until the last character has left. Interrupts are on meanwhile: the 8259's only, which is set up anew and left
 * masked, with vectors PIC_BASE + 4 and 7 taken over.
 */
void drain_serial(void);
/* What console.c needs of the runtime that it is linked with. */
struct trap;
void on_vector(unsigned vector, void (*handler)(struct trap *));
void only_pic_interrupts(void); /* every other source off, the 8259 connected to this CPU */
/* %d %u %x %c %s %%, with l for a machine word and a width with an optional leading zero or minus: %08x %-10s. */
void printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * One line each: "PASS text" or "FAIL text (detail)". The text is what one run is compared with another by, so it holds
 * nothing that may vary.
 */
bool check(const char *text, bool ok);
bool check_equal(const char *text, unsigned long got, unsigned long want);
/* The mechanism is absent on this machine: "SKIP text". */
void skip(const char *text);
extern unsigned checks_passed, checks_failed;

/* "END n passed, m failed", then exit through port 0xF4: status 1 when nothing failed, else 3. */
void finish(void) __attribute__((noreturn));
/* Print the message as a failed check and end at once, without interrupts. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* ACPI soft off (PM1a control, S5). */
void power_off(void) __attribute__((noreturn));

/* The boot loader's command line, and the number after "name=" in it. */
extern char command_line[256];
unsigned long command_number(const char *name, unsigned long otherwise);
void read_command_line(uintptr_t multiboot_info);

#endif
