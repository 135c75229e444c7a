/*
 * The i8042 controller with keyboard and mouse (IBM PS/2 Hardware Interface Technical Reference, "Keyboard and auxiliary
 * device controller"). Commands D2 and D3 make bytes arrive as if the devices had sent them.
 */
#include "guest.h"

#define DATA 0x60
#define COMMAND 0x64
#define STATUS_OUTPUT_FULL 0x01
#define STATUS_INPUT_FULL 0x02
#define STATUS_SYSTEM 0x04
#define STATUS_COMMAND 0x08
#define STATUS_MOUSE 0x20
#define BYTE_KEYBOARD_IRQ 0x01
#define BYTE_MOUSE_IRQ 0x02
#define BYTE_SYSTEM 0x04
#define BYTE_KEYBOARD_OFF 0x10
#define BYTE_MOUSE_OFF 0x20
#define ACK 0xFA
#define KEYBOARD_VECTOR 0x31
#define MOUSE_VECTOR 0x3C

static volatile unsigned keyboard_interrupts, mouse_interrupts;
static volatile uint8_t key, mouse;

static void on_keyboard(struct trap *trap) {
    (void)trap;
    key = inb(DATA);
    keyboard_interrupts++;
    lapic_eoi();
}

static void on_mouse(struct trap *trap) {
    (void)trap;
    mouse = inb(DATA);
    mouse_interrupts++;
    lapic_eoi();
}

static void wait_input_empty(void) { wait_until(!(inb(COMMAND) & STATUS_INPUT_FULL)); }

static void command(uint8_t value) {
    wait_input_empty();
    outb(COMMAND, value);
    wait_input_empty();
}

static void data(uint8_t value) {
    wait_input_empty();
    outb(DATA, value);
    wait_input_empty();
}

/* The next byte from the controller; 0x100 when none comes. */
static unsigned answer(void) { return wait_until(inb(COMMAND) & STATUS_OUTPUT_FULL) ? inb(DATA) : 0x100; }

static void empty(void) {
    for (unsigned i = 0; i < 32 && inb(COMMAND) & STATUS_OUTPUT_FULL; i++) {
        inb(DATA);
        delay_us(20);
    }
}

static void command_byte(uint8_t value) {
    command(0x60);
    data(value);
}

static unsigned read_command_byte(void) {
    command(0x20);
    return answer();
}

static void to_mouse(uint8_t value) {
    command(0xD4);
    data(value);
}

static void controller(void) {
    command(0xAD);
    command(0xA7);
    empty();
    check("status: nothing waits after the output buffer has been read", !(inb(COMMAND) & STATUS_OUTPUT_FULL));
    command(0xAA);
    check_equal("AA: self test answers 55", answer(), 0x55);
    check("status: the system flag is set after it", inb(COMMAND) & STATUS_SYSTEM);
    command(0xAB);
    check_equal("AB: the keyboard's lines are good", answer(), 0);
    command(0xA9);
    check_equal("A9: the mouse's lines are good", answer(), 0);
    command_byte(BYTE_SYSTEM | BYTE_KEYBOARD_OFF | BYTE_MOUSE_OFF);
    check("status: the last write was data", !(inb(COMMAND) & STATUS_COMMAND));
    check_equal("20 and 60: the command byte reads back", read_command_byte(),
                BYTE_SYSTEM | BYTE_KEYBOARD_OFF | BYTE_MOUSE_OFF);
    check("status: the last write was a command", inb(COMMAND) & STATUS_COMMAND);
    command(0xAE);
    check_equal("AE: clears the keyboard's disable bit", read_command_byte(), BYTE_SYSTEM | BYTE_MOUSE_OFF);
    command(0xAD);
    check_equal("AD: sets it", read_command_byte(), BYTE_SYSTEM | BYTE_KEYBOARD_OFF | BYTE_MOUSE_OFF);
    command(0xA8);
    check_equal("A8: clears the mouse's", read_command_byte(), BYTE_SYSTEM | BYTE_KEYBOARD_OFF);
    command(0xA7);
    check_equal("A7: sets it", read_command_byte(), BYTE_SYSTEM | BYTE_KEYBOARD_OFF | BYTE_MOUSE_OFF);
    command(0xD0);
    check("D0: the output port: not in reset, A20 open", (answer() & 3) == 3);
}

static void arrivals(void) {
    command_byte(BYTE_SYSTEM);
    command(0xD2);
    data(0x1E);
    check("D2: a byte arrives from the keyboard",
          wait_until(inb(COMMAND) & STATUS_OUTPUT_FULL) && !(inb(COMMAND) & STATUS_MOUSE));
    check_equal("D2: it is the one", inb(DATA), 0x1E);
    check("reading it empties the buffer", !(inb(COMMAND) & STATUS_OUTPUT_FULL));
    command(0xD3);
    data(0x77);
    check("D3: a byte arrives from the mouse", wait_until(inb(COMMAND) & STATUS_OUTPUT_FULL) && inb(COMMAND) & STATUS_MOUSE);
    check_equal("D3: it is the one", inb(DATA), 0x77);

    sti();
    delay_us(100);
    check("without enable bits there was no interrupt", keyboard_interrupts == 0 && mouse_interrupts == 0);
    command_byte(BYTE_SYSTEM | BYTE_KEYBOARD_IRQ | BYTE_MOUSE_IRQ);
    command(0xD2);
    data(0x30);
    check("IRQ 1 for the keyboard's byte", wait_until(keyboard_interrupts == 1) && key == 0x30 && mouse_interrupts == 0);
    command(0xD3);
    data(0x08);
    check("IRQ 12 for the mouse's byte", wait_until(mouse_interrupts == 1) && mouse == 0x08 && keyboard_interrupts == 1);
    command(0xD2);
    data(0xB0);
    check("IRQ 1 again: reading the byte had taken the line down", wait_until(keyboard_interrupts == 2) && key == 0xB0);
    cli();
    command_byte(BYTE_SYSTEM);
    empty();
}

static void keyboard(void) {
    data(0xEE);
    check_equal("keyboard: echo", answer(), 0xEE);
    data(0xF5);
    check_equal("keyboard: disable scanning is acknowledged", answer(), ACK);
    data(0xF2);
    check("keyboard: identity AB 83", answer() == ACK && answer() == 0xAB && answer() == 0x83);
    data(0xED);
    bool first = answer() == ACK;
    data(2);
    check("keyboard: set the lights, two acknowledges", first && answer() == ACK);
    data(0xF0);
    first = answer() == ACK;
    data(0);
    check("keyboard: scan code set 2", first && answer() == ACK && answer() == 2);
    data(0xFF);
    check("keyboard: reset: acknowledge, then AA", answer() == ACK && answer() == 0xAA);
    empty();
}

static void mouse_device(void) {
    command(0xA8);
    to_mouse(0xFF);
    check("mouse: reset: acknowledge, AA, 00", answer() == ACK && answer() == 0xAA && answer() == 0);
    to_mouse(0xF2);
    check("mouse: identity 0", answer() == ACK && answer() == 0);
    to_mouse(0xE8);
    bool first = answer() == ACK;
    to_mouse(3);
    check("mouse: resolution, two acknowledges", first && answer() == ACK);
    to_mouse(0xE9);
    check("mouse: status: stream mode, off, resolution 3, 100 samples",
          answer() == ACK && answer() == 0 && answer() == 3 && answer() == 100);
    to_mouse(0xF4);
    bool acknowledged = wait_until(inb(COMMAND) & STATUS_OUTPUT_FULL), from_mouse = inb(COMMAND) & STATUS_MOUSE;
    check("mouse: enable is acknowledged, with the mouse bit in the status", acknowledged && from_mouse && answer() == ACK);
    to_mouse(0xF5);
    answer();
    empty();
}

void guest_main(void) {
    on_vector(KEYBOARD_VECTOR, on_keyboard);
    on_vector(MOUSE_VECTOR, on_mouse);
    command_byte(BYTE_SYSTEM); /* no interrupts, whatever a firmware has left */
    empty();
    ioapic_route(1, KEYBOARD_VECTOR, 0);
    ioapic_route(12, MOUSE_VECTOR, 0);
    controller();
    arrivals();
    keyboard();
    mouse_device();
}
