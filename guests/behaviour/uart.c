/*
 * The 16550A (National Semiconductor PC16550D data sheet) in loop-back mode, where it receives what it sends and its modem
 * inputs are its modem outputs. Nothing is printed while a test holds the port.
 */
#include "guest.h"

#define COM1 0x3F8
enum { DATA = 0, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCRATCH = 7 };
#define IER_RX 1
#define IER_TX 2
#define IER_LINE 4
#define IER_MODEM 8
#define IIR_NONE 0x01
#define IIR_MODEM 0x00
#define IIR_TX 0x02
#define IIR_RX 0x04
#define IIR_LINE 0x06
#define IIR_TIMEOUT 0x0C
#define LSR_RX 0x01
#define LSR_OVERRUN 0x02
#define LSR_BREAK 0x10
#define LSR_TX_HOLDING 0x20
#define LSR_TX_EMPTY 0x40
#define LOOP 0x10
#define OUT2 0x08
#define VECTOR 0x34

static uint8_t get(unsigned reg) { return inb((uint16_t)(COM1 + reg)); }
static void put(unsigned reg, uint8_t value) { outb((uint16_t)(COM1 + reg), value); }
static uint8_t cause(void) { return get(IIR) & 0x0F; }
static bool received(void) { return wait_until(get(LSR) & LSR_RX); }

static volatile unsigned interrupts;
static void note(struct trap *trap) {
    (void)trap;
    interrupts++;
    lapic_eoi();
}

/* Results are kept while the port is in use, and printed after. */
static struct {
    const char *text;
    bool ok;
} results[40];
static unsigned result_count;
static void keep(const char *text, bool ok) {
    results[result_count].text = text;
    results[result_count++].ok = ok;
}

static void begin_loop(uint8_t fifo) {
    put(IER, 0);
    put(FCR, fifo);
    put(MCR, LOOP | OUT2);
    while (get(LSR) & LSR_RX) get(DATA);
    get(MSR);
    get(IIR);
}

static void registers(void) {
    put(SCRATCH, 0xA5);
    keep("the scratch register keeps its value", get(SCRATCH) == 0xA5);
    put(LCR, 0x83);
    put(DATA, 12);
    put(IER, 0);
    keep("the divisor latch is behind LCR bit 7", get(DATA) == 12 && get(IER) == 0);
    put(DATA, 1);
    put(LCR, 3);
    put(IER, 0xFF);
    keep("IER has four bits", get(IER) == 0x0F);
    put(IER, 0);
    put(FCR, 1);
    keep("IIR bits 6 and 7 say that the FIFOs are on", (get(IIR) & 0xC0) == 0xC0);
    put(FCR, 0);
    keep("and when they are off", (get(IIR) & 0xC0) == 0);
}

static void loop_back(void) {
    begin_loop(0);
    put(DATA, 0x5A);
    keep("loop-back: the byte comes back", received() && get(DATA) == 0x5A);
    keep("reading it clears data ready", !(get(LSR) & LSR_RX));
    keep("the transmitter is empty in the end", wait_until((get(LSR) & 0x60) == 0x60));
    put(MCR, LOOP | 0x0F);
    keep("loop-back: DTR, RTS, OUT1, OUT2 are DSR, CTS, RI, DCD", (get(MSR) & 0xF0) == 0xF0);
    put(MCR, LOOP | 0x02);
    uint8_t status = get(MSR);
    keep("loop-back: RTS alone is CTS alone", (status & 0xF0) == 0x10);
    keep("the delta bits say what has changed", (status & 0x0F) == (0x02 | 0x04 | 0x08));
    keep("reading MSR clears them", (get(MSR) & 0x0F) == 0);
}

static void causes(void) {
    begin_loop(0);
    keep("no cause: IIR is 1", cause() == IIR_NONE);
    put(IER, IER_TX);
    keep("enabling the transmitter interrupt with the register empty raises it", cause() == IIR_TX);
    keep("reading IIR as that cause clears it", cause() == IIR_NONE);
    put(DATA, 1);
    keep("it comes again when the byte has moved on", wait_until(cause() == IIR_TX));
    received();
    get(DATA);
    put(IER, IER_RX | IER_TX | IER_LINE | IER_MODEM);
    get(IIR);
    put(DATA, 2);
    received();
    wait_until(get(LSR) & LSR_TX_HOLDING);
    put(MCR, LOOP | OUT2 | 1);
    keep("received data comes before the empty transmitter and the modem", cause() == IIR_RX);
    get(DATA);
    keep("then the transmitter", cause() == IIR_TX);
    keep("then the modem status", cause() == IIR_MODEM);
    get(MSR);
    keep("then none", cause() == IIR_NONE);
    put(IER, IER_RX | IER_LINE);
    put(DATA, 3);
    received();
    put(DATA, 4);
    keep("a byte that nobody has read is overrun by the next: line status", wait_until(cause() == IIR_LINE));
    uint8_t status = get(LSR);
    keep("LSR: overrun error", status & LSR_OVERRUN);
    keep("reading LSR clears it, the newer byte is there", cause() == IIR_RX && get(DATA) == 4);
    put(IER, 0);
}

static void set_divisor(uint8_t divisor) {
    put(LCR, 0x83);
    put(DATA, divisor);
    put(IER, 0);
    put(LCR, 3);
}

static void fifo(void) {
    set_divisor(6); /* 19200 baud: four characters, the time-out, are 2 ms */
    bool reached_level = false;
    for (unsigned attempt = 0; attempt < 5 && !reached_level; attempt++) { /* a host that pauses us may time out first */
        begin_loop(0x07 | 0x40); /* trigger level 4 */
        put(IER, IER_RX);
        for (uint8_t i = 0; i < 4; i++) put(DATA, i);
        wait_until(cause() != IIR_NONE);
        reached_level = cause() == IIR_RX;
    }
    keep("FIFO: the trigger level raises received data", reached_level);
    bool in_order = true;
    for (uint8_t i = 0; i < 4; i++) in_order = in_order && received() && get(DATA) == i;
    keep("FIFO: first in, first out", in_order);
    keep("FIFO: empty again", !(get(LSR) & LSR_RX) && cause() == IIR_NONE);
    put(DATA, 9);
    keep("FIFO: a lone byte below the level raises the time-out", wait_until(cause() == IIR_TIMEOUT));
    get(DATA);
    keep("FIFO: reading it ends the time-out", cause() == IIR_NONE);
    put(DATA, 10);
    received();
    put(FCR, 0x43);
    keep("FIFO: FCR bit 1 clears the receiver", !(get(LSR) & LSR_RX));
    put(IER, 0);
    set_divisor(1);
}

static void interrupt_line(void) {
    ioapic_route(4, VECTOR, 0);
    begin_loop(0);
    sti();
    interrupts = 0;
    put(IER, IER_TX);
    keep("IRQ 4 rises with a cause", wait_until(interrupts == 1));
    cli();
    put(IER, 0);
    ioapic_route(4, RTE_MASKED, 0);
}

void guest_main(void) {
    on_vector(VECTOR, note);
    drain_serial();
    registers();
    loop_back();
    causes();
    fifo();
    interrupt_line();
    serial_setup();
    for (unsigned i = 0; i < result_count; i++) check(results[i].text, results[i].ok);
}
