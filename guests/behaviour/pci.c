/*
 * PCI: configuration mechanism 1 (PCI 3.0, 3.2.2.3.2) and the memory-mapped one (PCIe 7.2.2), BARs (6.2.5.1), the command register
 * (6.2.2), an interrupt pin by the 8259 pair and by the I/O APIC, MSI (6.8.1), bus mastering. The function under test is QEMU's
 * educational device (docs/specs/edu.rst), found by its id.
 */
#include "guest.h"

#define CONFIG_ADDRESS 0xCF8
#define CONFIG_DATA    0xCFC
#define ENABLE         0x80000000u
#define ABSENT         0xFFFFFFFFu

enum { COMMAND = 0x04, STATUS = 0x06, CLASS = 0x0A, HEADER = 0x0E, BAR0 = 0x10, CAPABILITIES = 0x34, LINE = 0x3C, PIN = 0x3D };
#define C_MEMORY     0x002
#define C_MASTER     0x004
#define C_NO_INTX    0x400
#define S_INTERRUPT  0x008
#define S_LIST       0x010
#define CAP_MSI      5
#define PCIEXBAR     0x60

#define EDU_ID 0x11E81234u
enum { E_ID = 0x00, E_ALIVE = 0x04, E_FACTORIAL = 0x08, E_STATUS = 0x20, E_IRQ = 0x24, E_RAISE = 0x60, E_ACK = 0x64,
       E_SOURCE = 0x80, E_DESTINATION = 0x88, E_COUNT = 0x90, E_DMA = 0x98 };
#define E_BUFFER 0x40000

#define NEW_BASE 0xE0000000u
#define VECTOR   0x50 /* and the seven above: I/O APIC inputs 16 to 23 */
#define MSI_VECTOR 0x60

static unsigned edu; /* bus, device and function, shifted for CONFIG_ADDRESS */
static uint32_t base;
static volatile unsigned by_pic, by_apic, by_msi, last_pin;
static volatile uint32_t reasons;

/* ---- configuration space -------------------------------------------------------------------------------------------- */

static uint32_t config_read(unsigned function, unsigned reg) {
    outl(CONFIG_ADDRESS, ENABLE | function | (reg & 0xFC));
    return inl(CONFIG_DATA);
}
static uint16_t config_read16(unsigned function, unsigned reg) {
    return (uint16_t)(config_read(function, reg) >> (reg & 2) * 8);
}
static uint8_t config_read8(unsigned function, unsigned reg) {
    return (uint8_t)(config_read(function, reg) >> (reg & 3) * 8);
}
static void config_write(unsigned function, unsigned reg, uint32_t value) {
    outl(CONFIG_ADDRESS, ENABLE | function | (reg & 0xFC));
    outl(CONFIG_DATA, value);
}
static void config_write16(unsigned function, unsigned reg, uint16_t value) {
    outl(CONFIG_ADDRESS, ENABLE | function | (reg & 0xFC));
    outw(CONFIG_DATA + (reg & 2), value);
}

/* ---- addresses -------------------------------------------------------------------------------------------------------- */

extern uint64_t page_directory_pointers[512], page_directory_high[512];
static uint64_t third_gib[512] __attribute__((aligned(4096)));

/* The 2 MiB around a device's address, uncached; the runtime maps only what every machine has. */
static void map_device(uint32_t address) {
    uint64_t entry = (address & ~0x1FFFFFu) | 0x9F;
    if (address >= 0xC0000000u) page_directory_high[(address - 0xC0000000u) >> 21] = entry;
    else {
        page_directory_pointers[2] = (uintptr_t)third_gib | 7;
        third_gib[(address - 0x80000000u) >> 21] = entry;
    }
    write_cr3(read_cr3());
}

static uint32_t edu_read(unsigned reg) { return mmio_read(base + reg); }
static void edu_write(unsigned reg, uint32_t value) { mmio_write(base + reg, value); }

/* ---- handlers ----------------------------------------------------------------------------------------------------------- */

static void acknowledge(void) {
    reasons |= edu_read(E_IRQ);
    edu_write(E_ACK, edu_read(E_IRQ));
}
static void on_pic(struct trap *trap) {
    by_pic++;
    acknowledge();
    pic_eoi((unsigned)trap->vector - PIC_BASE);
}
static void on_apic(struct trap *trap) {
    by_apic++;
    last_pin = (unsigned)trap->vector - VECTOR + 16;
    acknowledge();
    lapic_eoi();
}
static void on_msi(struct trap *trap) {
    (void)trap;
    by_msi++;
    acknowledge();
    lapic_eoi();
}
static void forget(void) {
    by_pic = by_apic = by_msi = 0;
    reasons = 0;
}
static void a_while(void) {
    sti();
    delay_us(200);
    cli();
}

/* ---- the tests -------------------------------------------------------------------------------------------------------------- */

static void mechanism1(void) {
    outl(CONFIG_ADDRESS, ENABLE | 0x1800);
    check_equal("CONFIG_ADDRESS reads back", inl(CONFIG_ADDRESS), ENABLE | 0x1800);
    outb(CONFIG_ADDRESS, 0);
    outw(CONFIG_ADDRESS + 2, 0);
    check_equal("CONFIG_ADDRESS takes doublewords only", inl(CONFIG_ADDRESS), ENABLE | 0x1800);
    check_equal("the host bridge is function 00:00.0", config_read16(0, CLASS), 0x0600);
    check_equal("nobody there: all-ones", config_read(0xFF00, 0), ABSENT);
    config_read(edu, 0);
    check_equal("byte lanes: the high byte of the vendor", inb(CONFIG_DATA + 1), 0x12);
    check_equal("byte lanes: the device", inw(CONFIG_DATA + 2), EDU_ID >> 16);
    outl(CONFIG_ADDRESS, edu);
    check_equal("without the enable bit nobody answers", inl(CONFIG_DATA), ABSENT);
    config_write(edu, 0, 0);
    check_equal("the ids take no writes", config_read(edu, 0), EDU_ID);
    check_equal("header type 0", config_read8(edu, HEADER) & 0x7F, 0);
    check_equal("interrupt pin A", config_read8(edu, PIN), 1);
    uint32_t line = config_read(edu, LINE);
    config_write(edu, LINE, 0x5A);
    check_equal("the interrupt line is a scratch register, the pin is not", config_read16(edu, LINE), 0x015A);
    config_write(edu, LINE, line);
}

static void memory_mapped(void) {
    uint32_t where = config_read(0, PCIEXBAR);
    if ((where & 0xF0000007) != 0xB0000001) {
        skip("configuration space in memory: not at 0xB0000000");
        return;
    }
    uint32_t at = 0xB0000000 + (edu << 4);
    map_device(0xB0000000);
    check_equal("configuration space in memory: the same function", mmio_read(at), EDU_ID);
    mmio_write(at + LINE, 0x33);
    check_equal("configuration space in memory: writes", config_read8(edu, LINE), 0x33);
    check_equal("configuration space in memory: nobody there", mmio_read(0xB0000000 + (0xFF00 << 4)), ABSENT);
}

static void base_address(void) {
    config_write16(edu, COMMAND, 0);
    config_write(edu, BAR0, 0xFFFFFFFF);
    check_equal("BAR 0 is 1 MiB of 32-bit memory", config_read(edu, BAR0), 0xFFF00000);
    config_write(edu, BAR0, 0);
    check_equal("its low bits are wired", config_read(edu, BAR0), 0);
    config_write(edu, BAR0, NEW_BASE);
    map_device(NEW_BASE);
    base = NEW_BASE;
    check("without the memory space bit it does not answer", edu_read(E_ID) != 0x010000ED);
    config_write16(edu, COMMAND, C_MEMORY);
    check_equal("with it, it answers where it was put", edu_read(E_ID), 0x010000ED);
    config_write(edu, BAR0, NEW_BASE + 0x100000);
    check("moved: it has left the old place", mmio_read(NEW_BASE) != 0x010000ED);
    check_equal("moved: it is at the new one", mmio_read(NEW_BASE + 0x100000), 0x010000ED);
    config_write(edu, BAR0, NEW_BASE);
}

static void edu_itself(void) {
    edu_write(E_ALIVE, 0x12345678);
    check_equal("edu: it is alive", edu_read(E_ALIVE), ~0x12345678u);
    edu_write(E_STATUS, 0);
    edu_write(E_FACTORIAL, 10);
    check("edu: the factorial gets ready", wait_until(!(edu_read(E_STATUS) & 1)));
    check_equal("edu: 10!", edu_read(E_FACTORIAL), 3628800);
}

static void pin_by_8259(void) {
    unsigned irq = config_read8(edu, LINE);
    pic_setup();
    on_vector(PIC_BASE + irq, on_pic);
    pic_mask((uint16_t)~(1u << irq | 4));
    lapic_write(LAPIC_LVT_LINT0, DELIVER_EXTINT);
    forget();
    edu_write(E_RAISE, 1);
    check("the status register shows the interrupt", config_read16(edu, STATUS) & S_INTERRUPT);
    a_while();
    check_equal("8259: one interrupt on the line that firmware chose", by_pic, 1);
    check_equal("8259: with its reason", reasons, 1);
    check("acknowledged: the status register is clear", !(config_read16(edu, STATUS) & S_INTERRUPT));
    config_write16(edu, COMMAND, C_MEMORY | C_NO_INTX);
    edu_write(E_RAISE, 2);
    a_while();
    check_equal("interrupt disable: the pin is silent", by_pic, 1);
    check("interrupt disable: the status bit is set all the same", config_read16(edu, STATUS) & S_INTERRUPT);
    config_write16(edu, COMMAND, C_MEMORY);
    a_while();
    check_equal("enabled again: it comes", by_pic, 2);
    pic_mask(0xFFFF);
    lapic_write(LAPIC_LVT_LINT0, DELIVER_EXTINT | LVT_MASKED);
}

static void pin_by_apic(void) {
    for (unsigned pin = 16; pin < 24; pin++) {
        on_vector(VECTOR + pin - 16, on_apic);
        ioapic_route(pin, (VECTOR + pin - 16) | RTE_LEVEL | RTE_LOW_ACTIVE, 0);
    }
    forget();
    a_while();
    check_equal("I/O APIC: inputs 16 to 23 are silent, level and active low", by_apic, 0);
    edu_write(E_RAISE, 4);
    a_while();
    check_equal("I/O APIC: one input gets one interrupt", by_apic, 1);
    check("I/O APIC: remote IRR is clear after the EOI", !(ioapic_entry(last_pin) & RTE_REMOTE_IRR));
    forget();
    edu_write(E_STATUS, 0x80);
    edu_write(E_FACTORIAL, 5);
    sti();
    check("edu: the factorial interrupts", wait_until(by_apic == 1));
    cli();
    check_equal("edu: 5!", edu_read(E_FACTORIAL), 120);
    check_equal("edu: the reason is 1", reasons, 1);
    edu_write(E_STATUS, 0);
}

static uint8_t source[128], target[128];

static void transfer(uint32_t from, uint32_t to, uint32_t command) {
    edu_write(E_SOURCE, from);
    edu_write(E_DESTINATION, to);
    edu_write(E_COUNT, 100);
    edu_write(E_DMA, command);
}
static unsigned moved(void) {
    unsigned n = 0;
    while (n < sizeof target && target[n] == source[n]) n++;
    return n;
}

static void dma(void) {
    for (unsigned i = 0; i < sizeof source; i++) {
        source[i] = (uint8_t)(i * 7 + 3);
        target[i] = 0;
    }
    uint32_t from = (uint32_t)(uintptr_t)source, to = (uint32_t)(uintptr_t)target;
    config_write16(edu, COMMAND, C_MEMORY | C_MASTER);
    forget();
    transfer(from, E_BUFFER, 1);
    check("DMA: runs", edu_read(E_DMA) & 1);
    check("DMA: from memory", wait_until(!(edu_read(E_DMA) & 1)));
    transfer(E_BUFFER, to, 3 | 4);
    sti();
    check("DMA: to memory, with an interrupt at the end", wait_until(by_apic == 1));
    cli();
    check_equal("DMA: the reason is 0x100", reasons, 0x100);
    check_equal("DMA: every byte and no more", moved(), 100);
    config_write16(edu, COMMAND, C_MEMORY);
    for (unsigned i = 0; i < sizeof target; i++) target[i] = 0;
    transfer(E_BUFFER, to, 3);
    check("DMA: without bus mastering it ends, too", wait_until(!(edu_read(E_DMA) & 1)));
    check_equal("DMA: and moves nothing", moved(), 0);
}

static unsigned find_capability(unsigned id) {
    unsigned at = config_read16(edu, STATUS) & S_LIST ? config_read8(edu, CAPABILITIES) : 0;
    for (unsigned i = 0; at != 0 && i < 48; i++) {
        if (config_read8(edu, at) == id) return at;
        at = config_read8(edu, at + 1);
    }
    return 0;
}

static void msi(void) {
    unsigned at = find_capability(CAP_MSI);
    if (!check("MSI: there is a capability", at != 0)) return;
    check_equal("MSI: one vector, 64-bit address", config_read16(edu, at + 2) & 0x8E, 0x80);
    on_vector(MSI_VECTOR, on_msi);
    config_write(edu, at + 4, 0xFEE00000);
    config_write(edu, at + 8, 0);
    config_write16(edu, at + 12, MSI_VECTOR);
    config_write16(edu, at + 2, 1);
    forget();
    edu_write(E_RAISE, 1);
    a_while();
    check_equal("MSI: without bus mastering no message", by_msi, 0);
    edu_write(E_ACK, 1);
    config_write16(edu, COMMAND, C_MEMORY | C_MASTER);
    forget();
    edu_write(E_RAISE, 8);
    a_while();
    check("MSI: one message, and the pin is silent", by_msi == 1 && by_apic == 0);
    check_equal("MSI: with its reason", reasons, 8);
    forget();
    cli();
    edu_write(E_RAISE, 1);
    sti_nop_cli();
    edu_write(E_RAISE, 2);
    sti_nop_cli();
    check_equal("MSI: a message for each raise", by_msi, 2);
    config_write16(edu, at + 2, 0);
    forget();
    edu_write(E_RAISE, 16);
    a_while();
    check("MSI off: the pin again", by_msi == 0 && by_apic == 1);
}

void guest_main(void) {
    for (unsigned device = 1; device < 32; device++)
        if (config_read(device << 11, 0) == EDU_ID) edu = device << 11;
    if (!check("the educational device is on bus 0", edu != 0)) return;
    mechanism1();
    base_address();
    edu_itself();
    pin_by_8259();
    pin_by_apic();
    dma();
    msi();
    memory_mapped();
}
