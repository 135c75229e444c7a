/*
 * IDE: a disk of 4 MiB as primary device 0 and a CD-ROM of 1 MiB as secondary device 0, both blank, on a PIIX with bus masters. T13/1410D
 * (ATA/ATAPI-6): PIO protocols (9.7, 9.8), 48-bit addresses (6.20), errors, SRST (9.3), PACKET (9.10); SFF-8038i 1.0: tables of physical
 * region descriptors and how transfers end (3.1). Interrupts 14 and 15 come by the 8259 pair.
 */
#include "guest.h"

#define CONFIG_ADDRESS 0xCF8
#define CONFIG_DATA    0xCFC

enum { DATA = 0, ERROR = 1, FEATURES = 1, COUNT = 2, LOW = 3, MID = 4, HIGH = 5, DEVICE = 6, STATUS = 7, COMMAND = 7 };
#define BSY  0x80
#define DRDY 0x40
#define DRQ  0x08
#define ERR  0x01
#define ABRT 0x04
#define IDNF 0x10
#define NIEN 0x02
#define SRST 0x04
#define HOB  0x80

enum { READ = 0x20, READ_EXT = 0x24, READ_MULTIPLE = 0xC4, READ_DMA = 0xC8, WRITE = 0x30, WRITE_EXT = 0x34, WRITE_DMA = 0xCA,
       SET_MULTIPLE = 0xC6, NATIVE_MAX_EXT = 0x27, FLUSH = 0xE7, IDENTIFY = 0xEC, IDENTIFY_PACKET = 0xA1, PACKET = 0xA0, NOP = 0x00 };

/* Bus master. */
enum { BM_COMMAND = 0, BM_STATUS = 2, BM_TABLE = 4 };
#define START     1
#define TO_MEMORY 8
#define ACTIVE    1
#define BM_ERROR  2
#define BM_IRQ    4

#define SECTORS    8192
#define CD_SECTORS 512

struct channel {
    uint16_t command, control, master;
    unsigned irq;
    volatile unsigned interrupts;
    volatile uint8_t status, bm_status;
};
static struct channel primary = {.command = 0x1F0, .control = 0x3F6, .irq = 14};
static struct channel secondary = {.command = 0x170, .control = 0x376, .irq = 15};

struct prd {
    uint32_t address;
    uint16_t count;
    uint16_t end;
};
static struct prd table[8] __attribute__((aligned(64)));
static uint8_t buffer[16384] __attribute__((aligned(16384)));
static uint16_t words[256];

/* ---- the controller ---------------------------------------------------------------------------------------------------- */

static uint32_t config_read(unsigned function, unsigned reg) {
    outl(CONFIG_ADDRESS, 0x80000000u | function | reg);
    return inl(CONFIG_DATA);
}
static void config_write(unsigned function, unsigned reg, uint32_t value) {
    outl(CONFIG_ADDRESS, 0x80000000u | function | reg);
    outl(CONFIG_DATA, value);
}

/* Device and function of the first IDE controller that masters the bus, shifted for CONFIG_ADDRESS; 0 for none. */
static unsigned find(void) {
    for (unsigned function = 0x100; function < 0x10000; function += 0x100)
        if ((config_read(function, 0x08) >> 8 & 0xFFFF80) == 0x010180) return function;
    return 0;
}

static void on_channel(struct channel *c) {
    c->bm_status = inb(c->master + BM_STATUS);
    c->status = inb(c->command + STATUS);
    c->interrupts++;
    pic_eoi(c->irq);
}
static void on_primary(struct trap *trap) {
    (void)trap;
    on_channel(&primary);
}
static void on_secondary(struct trap *trap) {
    (void)trap;
    on_channel(&secondary);
}

static bool await(struct channel *c, unsigned interrupts) {
    sti();
    bool came = wait_until(c->interrupts >= interrupts);
    cli();
    return came;
}
/* What was asserted while nobody looked is over. */
static void forget(struct channel *c) {
    sti_nop_cli();
    c->interrupts = 0;
}
static bool idle(struct channel *c) { return wait_until(!(inb(c->control) & BSY)); }

static void select(struct channel *c, uint8_t device) {
    outb(c->command + DEVICE, device);
    for (int i = 0; i < 4; i++) inb(c->control);
}
static void command28(struct channel *c, uint8_t command, uint32_t sector, unsigned count) {
    forget(c);
    select(c, (uint8_t)(0xE0 | (sector >> 24 & 15)));
    outb(c->command + COUNT, (uint8_t)count);
    outb(c->command + LOW, (uint8_t)sector);
    outb(c->command + MID, (uint8_t)(sector >> 8));
    outb(c->command + HIGH, (uint8_t)(sector >> 16));
    outb(c->command + COMMAND, command);
}
static void command48(struct channel *c, uint8_t command, uint64_t sector, unsigned count) {
    forget(c);
    select(c, 0xE0);
    outb(c->command + COUNT, (uint8_t)(count >> 8));
    outb(c->command + LOW, (uint8_t)(sector >> 24));
    outb(c->command + MID, (uint8_t)(sector >> 32));
    outb(c->command + HIGH, (uint8_t)(sector >> 40));
    outb(c->command + COUNT, (uint8_t)count);
    outb(c->command + LOW, (uint8_t)sector);
    outb(c->command + MID, (uint8_t)(sector >> 8));
    outb(c->command + HIGH, (uint8_t)(sector >> 16));
    outb(c->command + COMMAND, command);
}
static void read_words(struct channel *c, void *to, unsigned count) {
    uint16_t *at = to;
    for (unsigned i = 0; i < count; i++) at[i] = inw(c->command + DATA);
}
static void write_words(struct channel *c, const void *from, unsigned count) {
    const uint16_t *at = from;
    for (unsigned i = 0; i < count; i++) outw(c->command + DATA, at[i]);
}

static uint8_t pattern(unsigned seed, unsigned i) { return (uint8_t)(seed * 37 + i * 7 + (i >> 8)); }
static void fill(unsigned at, unsigned bytes, unsigned seed) {
    for (unsigned i = 0; i < bytes; i++) buffer[at + i] = pattern(seed, i);
}
/* Bytes that are as fill() makes them. */
static unsigned good(unsigned at, unsigned bytes, unsigned seed) {
    unsigned n = 0;
    while (n < bytes && buffer[at + n] == pattern(seed, n)) n++;
    return n;
}
static void clear(void) {
    for (unsigned i = 0; i < sizeof buffer; i++) buffer[i] = 0xEE;
}

/* Whether device 0 was selected by it. */
static bool soft_reset(struct channel *c) {
    outb(c->control, SRST);
    delay_us(10);
    outb(c->control, 0);
    delay_us(2500);
    bool selected = !(inb(c->command + DEVICE) & 0x10);
    select(c, 0xA0);
    return idle(c) && selected;
}

/* ---- the disk by PIO ------------------------------------------------------------------------------------------------------- */

static void registers(void) {
    select(&primary, 0xB0);
    check("SRST: device 0 is selected", soft_reset(&primary));
    check("SRST: the disk gets ready", (inb(primary.control) & (BSY | DRDY | DRQ | ERR)) == DRDY);
    check_equal("SRST: a disk's signature", (unsigned)inb(primary.command + MID) << 8 | inb(primary.command + HIGH), 0);
    check_equal("SRST: device 0 has passed its diagnostics", inb(primary.command + ERROR) & 0x7F, 1);
    select(&primary, 0xB0);
    check_equal("device 1 is not there: status 0", inb(primary.control), 0);
    select(&primary, 0xA0);
    outb(primary.command + LOW, 0x12);
    outb(primary.command + LOW, 0x34);
    check_equal("LBA low is a FIFO: what was written last", inb(primary.command + LOW), 0x34);
    outb(primary.control, HOB);
    check_equal("LBA low is a FIFO: with HOB what was there before", inb(primary.command + LOW), 0x12);
    outb(primary.control, 0);
}

static void identify(void) {
    outb(primary.control, NIEN);
    command28(&primary, IDENTIFY, 0, 0);
    idle(&primary);
    check("IDENTIFY DEVICE: data without errors", (inb(primary.control) & (DRQ | ERR)) == DRQ);
    read_words(&primary, words, 256);
    check_equal("IDENTIFY DEVICE: nothing is left", inb(primary.control) & (BSY | DRQ), 0);
    check_equal("IDENTIFY DEVICE: DMA and LBA", words[49] & 0x300, 0x300);
    check_equal("IDENTIFY DEVICE: 48-bit addresses", words[83] & 0x400, 0x400);
    check_equal("IDENTIFY DEVICE: its sectors", words[60] | (uint32_t)words[61] << 16, SECTORS);
    check_equal("IDENTIFY DEVICE: its sectors by 48 bits", words[100] | (uint32_t)words[101] << 16, SECTORS);
    delay_us(200);
    inb(primary.command + STATUS);
    outb(primary.control, 0);
}

static void pio(void) {
    fill(0, 1024, 1);
    command28(&primary, WRITE, 100, 2);
    idle(&primary);
    check("WRITE SECTORS: DRQ for the first sector", inb(primary.control) & DRQ);
    sti_nop_cli();
    check_equal("WRITE SECTORS: and no interrupt", primary.interrupts, 0);
    write_words(&primary, buffer, 256);
    check("WRITE SECTORS: an interrupt for the second sector", await(&primary, 1));
    write_words(&primary, buffer + 512, 256);
    check("WRITE SECTORS: an interrupt at the end", await(&primary, 2));
    check_equal("WRITE SECTORS: no error", primary.status & (BSY | DRQ | ERR), 0);
    clear();
    command28(&primary, READ, 100, 2);
    check("READ SECTORS: an interrupt for the first sector", await(&primary, 1));
    read_words(&primary, buffer, 256);
    check("READ SECTORS: an interrupt for the second sector", await(&primary, 2));
    read_words(&primary, buffer + 512, 256);
    delay_us(200);
    sti_nop_cli();
    check_equal("READ SECTORS: none at the end", primary.interrupts, 2);
    check_equal("READ SECTORS: the bytes", good(0, 1024, 1), 1024);
    check_equal("READ SECTORS: nothing is left", inb(primary.control) & (BSY | DRQ | ERR), 0);
}

static void multiple(void) {
    command28(&primary, SET_MULTIPLE, 0, 4);
    check("SET MULTIPLE MODE: 4 sectors", await(&primary, 1) && !(primary.status & ERR));
    fill(0, 512, 2);
    command28(&primary, WRITE, 105, 1);
    idle(&primary);
    write_words(&primary, buffer, 256);
    await(&primary, 1);
    clear();
    command28(&primary, READ_MULTIPLE, 101, 5);
    check("READ MULTIPLE: an interrupt for four sectors", await(&primary, 1));
    read_words(&primary, buffer, 1024);
    check("READ MULTIPLE: and one for the last", await(&primary, 2));
    read_words(&primary, buffer + 2048, 256);
    check_equal("READ MULTIPLE: the bytes", good(2048, 512, 2), 512);
    command28(&primary, SET_MULTIPLE, 0, 3);
    check("SET MULTIPLE MODE: 3 is refused", await(&primary, 1) && inb(primary.command + ERROR) & ABRT);
}

static void wide(void) {
    fill(0, 512, 3);
    command48(&primary, WRITE_EXT, SECTORS - 1, 1);
    idle(&primary);
    write_words(&primary, buffer, 256);
    check("WRITE SECTORS EXT: the last sector", await(&primary, 1) && !(primary.status & ERR));
    clear();
    command48(&primary, READ_EXT, SECTORS - 1, 1);
    await(&primary, 1);
    read_words(&primary, buffer, 256);
    check_equal("READ SECTORS EXT: the bytes", good(0, 512, 3), 512);
    command48(&primary, NATIVE_MAX_EXT, 0, 0);
    await(&primary, 1);
    uint32_t last = inb(primary.command + LOW) | inb(primary.command + MID) << 8 | inb(primary.command + HIGH) << 16;
    check_equal("READ NATIVE MAX ADDRESS EXT", last, SECTORS - 1);
    command28(&primary, FLUSH, 0, 0);
    check("FLUSH CACHE", await(&primary, 1) && !(primary.status & ERR));
}

static void errors(void) {
    command28(&primary, NOP, 0, 0);
    check("NOP: an interrupt and ERR", await(&primary, 1) && primary.status & ERR);
    check_equal("NOP: ABRT", inb(primary.command + ERROR), ABRT);
    command28(&primary, READ, SECTORS, 1);
    check("behind the end: an interrupt and ERR, no data", await(&primary, 1) && (primary.status & (ERR | DRQ)) == ERR);
    check_equal("behind the end: IDNF", inb(primary.command + ERROR), IDNF);
    outb(primary.control, NIEN);
    command28(&primary, FLUSH, 0, 0);
    idle(&primary);
    delay_us(500);
    sti_nop_cli();
    check_equal("nIEN: no interrupt", primary.interrupts, 0);
    inb(primary.command + STATUS);
    outb(primary.control, 0);
    sti_nop_cli();
    check_equal("nIEN: none comes when it was read meanwhile", primary.interrupts, 0);
}

/* ---- the disk by DMA -------------------------------------------------------------------------------------------------------- */

static void region(unsigned i, unsigned at, unsigned bytes, bool end) {
    table[i].address = (uint32_t)(uintptr_t)buffer + at;
    table[i].count = (uint16_t)bytes;
    table[i].end = end ? 0x8000 : 0;
}
static void prepare(struct channel *c, uint8_t direction) {
    outb(c->master + BM_COMMAND, direction);
    outl(c->master + BM_TABLE, (uint32_t)(uintptr_t)table);
    outb(c->master + BM_STATUS, BM_ERROR | BM_IRQ);
}
static void start(struct channel *c, uint8_t command, uint32_t sector, unsigned count, uint8_t direction) {
    prepare(c, direction);
    command28(c, command, sector, count);
    outb(c->master + BM_COMMAND, direction | START);
}
static void stop(struct channel *c) { outb(c->master + BM_COMMAND, 0); }
static unsigned ended(struct channel *c) { return inb(c->master + BM_STATUS) & (ACTIVE | BM_ERROR | BM_IRQ); }

static void dma(void) {
    fill(0x1000, 1536, 4);
    fill(0x0200, 512, 5);
    region(0, 0x1000, 1000, false);
    region(1, 0x1000 + 1000, 536, false);
    region(2, 0x0200, 512, true);
    start(&primary, WRITE_DMA, 200, 4, 0);
    check("WRITE DMA: an interrupt", await(&primary, 1));
    check_equal("WRITE DMA: the status is good", primary.status & (BSY | DRQ | ERR), 0);
    check_equal("WRITE DMA: interrupt, not active", ended(&primary), BM_IRQ);
    stop(&primary);
    clear();
    region(0, 0x0800, 1536, false);
    region(1, 0x2002, 510, false);
    region(2, 0x0010, 2, true);
    start(&primary, READ_DMA, 200, 4, TO_MEMORY);
    check("READ DMA: an interrupt", await(&primary, 1));
    check_equal("READ DMA: interrupt, not active", ended(&primary), BM_IRQ);
    stop(&primary);
    check_equal("READ DMA: one interrupt for all of it", primary.interrupts, 1);
    check_equal("READ DMA: the first region", good(0x800, 1536, 4), 1536);
    check_equal("READ DMA: the second region", good(0x2002, 510, 5), 510);
    check("READ DMA: the third region", buffer[0x10] == pattern(5, 510) && buffer[0x11] == pattern(5, 511));
    check("READ DMA: nothing else", buffer[0x7FF] == 0xEE && buffer[0xE00] == 0xEE && buffer[0x12] == 0xEE);
    outb(primary.master + BM_STATUS, BM_IRQ);
    check_equal("the interrupt bit is cleared by a one", ended(&primary), 0);
}

static void unequal(void) {
    clear();
    region(0, 0, 1024, true);
    start(&primary, READ_DMA, 200, 1, TO_MEMORY);
    check("regions longer than the data: an interrupt", await(&primary, 1));
    check_equal("regions longer than the data: still active", ended(&primary), BM_IRQ | ACTIVE);
    stop(&primary);
    check_equal("regions longer than the data: stopped", ended(&primary), BM_IRQ);
    check_equal("regions longer than the data: the bytes", good(0, 512, 4), 512);
    check_equal("regions longer than the data: no more of them", buffer[512], 0xEE);
    clear();
    region(0, 0, 512, true);
    start(&primary, READ_DMA, 200, 2, TO_MEMORY);
    sti();
    delay_us(3000);
    cli();
    check_equal("regions shorter than the data: no interrupt", primary.interrupts, 0);
    check_equal("regions shorter than the data: not active", ended(&primary), 0);
    stop(&primary);
    check("regions shorter than the data: SRST helps", soft_reset(&primary));
    table[0] = (struct prd){0xE0000000, 512, 0x8000};
    start(&primary, READ_DMA, 200, 1, TO_MEMORY);
    sti();
    delay_us(3000);
    cli();
    check_equal("a region at nothing: the error bit", ended(&primary), BM_ERROR);
    stop(&primary);
    outb(primary.master + BM_STATUS, BM_ERROR | BM_IRQ);
    soft_reset(&primary);
    region(0, 0, 512, true);
    start(&primary, READ_DMA, 200, 1, TO_MEMORY);
    check("afterwards all is well", await(&primary, 1) && ended(&primary) == BM_IRQ && good(0, 512, 4) == 512);
    stop(&primary);
}

/* ---- the CD-ROM --------------------------------------------------------------------------------------------------------------- */

/* Sends a packet; its data and its end are the caller's. */
static void packet(const uint8_t bytes[12], unsigned limit, bool by_dma) {
    struct channel *c = &secondary;
    forget(c);
    select(c, 0xA0);
    outb(c->command + FEATURES, by_dma);
    outb(c->command + MID, (uint8_t)limit);
    outb(c->command + HIGH, (uint8_t)(limit >> 8));
    outb(c->command + COMMAND, PACKET);
    wait_until((inb(c->control) & (BSY | DRQ)) == DRQ);
    write_words(c, bytes, 6);
}
static unsigned byte_count(void) { return inb(secondary.command + MID) | (unsigned)inb(secondary.command + HIGH) << 8; }

/* Whether a packet without data succeeds. */
static bool plain(const uint8_t bytes[12]) {
    packet(bytes, 2048, false);
    return await(&secondary, 1) && !(secondary.status & ERR);
}
static unsigned sense(void) {
    static const uint8_t request[12] = {0x03, 0, 0, 0, 18};
    packet(request, 18, false);
    await(&secondary, 1);
    read_words(&secondary, words, 9);
    await(&secondary, 2);
    const uint8_t *data = (const uint8_t *)words;
    return (unsigned)(data[2] & 15) << 16 | data[12] << 8 | data[13];
}

static void cd_itself(void) {
    static const uint8_t ready[12] = {0};
    static const uint8_t unknown[12] = {0xF7};
    static const uint8_t capacity[12] = {0x25};
    check("CD: SRST", soft_reset(&secondary));
    check_equal("CD: the signature", byte_count(), 0xEB14);
    forget(&secondary);
    outb(secondary.command + COMMAND, IDENTIFY_PACKET);
    check("CD: IDENTIFY PACKET DEVICE", await(&secondary, 1) && secondary.status & DRQ);
    read_words(&secondary, words, 256);
    check_equal("CD: a removable CD-ROM with packets of 12 bytes", words[0] & 0xFF83, 0x8580);
    for (int i = 0; i < 4 && !plain(ready); i++) sense();
    check("CD: TEST UNIT READY", plain(ready));
    check_equal("CD: I/O and C/D in the interrupt reason", inb(secondary.command + COUNT) & 3, 3);
    check("CD: an unknown packet fails", !plain(unknown));
    check_equal("CD: the error register has the sense key", inb(secondary.command + ERROR) >> 4, 5);
    check_equal("CD: REQUEST SENSE: invalid operation code", sense(), 0x52000);
    packet(capacity, 8, false);
    await(&secondary, 1);
    check_equal("CD: READ CAPACITY gives 8 bytes", byte_count(), 8);
    read_words(&secondary, words, 4);
    check("CD: an interrupt for the status", await(&secondary, 2));
    const uint8_t *data = (const uint8_t *)words;
    check_equal("CD: its last sector", data[2] << 8 | data[3], CD_SECTORS - 1);
    check_equal("CD: 2048 bytes a sector", data[6] << 8 | data[7], 2048);
}

static bool zeros(unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++)
        if (buffer[i] != 0) return false;
    return buffer[bytes] == 0xEE;
}

static void cd_reads(void) {
    static const uint8_t read[12] = {0x28, 0, 0, 0, 0, 16, 0, 0, 2};
    static const uint8_t behind[12] = {0x28, 0, 0, 0, CD_SECTORS >> 8, CD_SECTORS & 0xFF, 0, 0, 1};
    clear();
    packet(read, 2048, false);
    check("CD: READ(10): an interrupt for the first block", await(&secondary, 1));
    check_equal("CD: READ(10): of the size of the limit", byte_count(), 2048);
    check_equal("CD: READ(10): I/O, not C/D", inb(secondary.command + COUNT) & 3, 2);
    read_words(&secondary, buffer, 1024);
    check("CD: READ(10): an interrupt for the second block", await(&secondary, 2));
    read_words(&secondary, buffer + 2048, 1024);
    check("CD: READ(10): an interrupt for the status", await(&secondary, 3) && !(secondary.status & (DRQ | ERR)));
    check("CD: READ(10): the bytes", zeros(4096));
    clear();
    region(0, 0, 3000, false);
    region(1, 3000, 1096, true);
    prepare(&secondary, TO_MEMORY);
    packet(read, 0, true);
    outb(secondary.master + BM_COMMAND, TO_MEMORY | START);
    check("CD: by DMA: one interrupt", await(&secondary, 1) && !(secondary.status & (DRQ | ERR)));
    check_equal("CD: by DMA: interrupt, not active", ended(&secondary), BM_IRQ);
    stop(&secondary);
    check("CD: by DMA: the bytes", zeros(4096));
    check("CD: behind the end", !plain(behind));
    check_equal("CD: behind the end: out of range", sense(), 0x52100);
}

void guest_main(void) {
    unsigned ide = find();
    if (!check("there is an IDE controller that masters the bus", ide != 0)) return;
    config_write(ide, 4, (config_read(ide, 4) & 0xFFFF) | 5);
    check_equal("I/O space and bus master are on", config_read(ide, 4) & 5, 5);
    check_equal("both channels are decoded", config_read(ide, 0x40) & 0x80008000, 0x80008000);
    primary.master = (uint16_t)(config_read(ide, 0x20) & 0xFFF0);
    secondary.master = primary.master + 8;
    pic_setup();
    on_vector(PIC_BASE + 14, on_primary);
    on_vector(PIC_BASE + 15, on_secondary);
    pic_mask((uint16_t)~(1u << 14 | 1u << 15 | 4));
    lapic_write(LAPIC_LVT_LINT0, DELIVER_EXTINT);
    registers();
    identify();
    pio();
    multiple();
    wide();
    errors();
    dma();
    unequal();
    cd_itself();
    cd_reads();
}
