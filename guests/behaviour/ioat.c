/*
 * The I/OAT engine (Intel Atom S1200 data sheet vol. 2, "DMA engine"): descriptor chains that copy, fill, XOR, make P+Q, and validate; completion write-back;
 * an interrupt per chain by MSI-X and by MSI; suspend, abort, reset; what bad descriptors end in. QEMU has no such device: there everything is skipped.
 */
#include "ioat.h"

#define VECTOR 0x50
#define BYTES  2000

static struct descriptor chain[40];
static volatile uint64_t completion __attribute__((aligned(64)));
static uint8_t source[8][BYTES], target[2][BYTES + 8];
static volatile unsigned interrupts;

static void on_interrupt(struct trap *trap) {
    (void)trap;
    interrupts++;
    lapic_eoi();
}

static unsigned find_capability(unsigned id) {
    unsigned at = config_read(CAPABILITIES) & 0xFF;
    for (unsigned i = 0; at != 0 && i < 48; i++) {
        if ((config_read(at) & 0xFF) == id) return at;
        at = config_read(at) >> 8 & 0xFF;
    }
    return 0;
}

/* ---- descriptors --------------------------------------------------------------------------------------------------- */

/* Descriptor n, linked to the next one. */
static struct descriptor *describe(unsigned n, uint32_t control, uint32_t size, const volatile void *from, const volatile void *to) {
    chain[n] = (struct descriptor){ size, control, address_of(from), address_of(to), address_of(&chain[n + 1]), { 0 } };
    return &chain[n];
}
/* With `sources` sources from source[0] on; more than five take a second descriptor. Returns how many descriptors it takes. */
static unsigned describe_xor(unsigned n, uint32_t operation, unsigned sources, const volatile void *to) {
    struct descriptor *d = describe(n, operation | D_SOURCES(sources) | D_COMPLETION, BYTES, source[0], to);
    for (unsigned i = 1; i < sources && i < 5; i++) d->more[i - 1] = address_of(source[i]);
    if (sources <= 5) return 1;
    chain[n + 1] = (struct descriptor){ 0, 0, 0, 0, address_of(&chain[n + 2]), { 0 } };
    uint64_t *extension = (uint64_t *)&chain[n + 1];
    for (unsigned i = 5; i < sources; i++) extension[i - 5] = address_of(source[i]);
    return 2;
}
static uint8_t times2(uint8_t value) { return (uint8_t)(value << 1 ^ (value & 0x80 ? 0x1D : 0)); }

static void fresh_memory(void) {
    for (unsigned n = 0; n < 8; n++)
        for (unsigned i = 0; i < BYTES; i++) source[n][i] = (uint8_t)(i * (2 * n + 3) + (i >> 8) + n);
    for (unsigned n = 0; n < 2; n++)
        for (unsigned i = 0; i < sizeof target[n]; i++) target[n][i] = 0;
    completion = 0xAAAA;
    interrupts = 0;
}
static unsigned equal_bytes(const uint8_t *a, const uint8_t *b, unsigned most) {
    unsigned n = 0;
    while (n < most && a[n] == b[n]) n++;
    return n;
}
static bool ends_in(unsigned state) { return wait_until(ioat_state() == state); }

/* ---- the tests ------------------------------------------------------------------------------------------------------ */

static void registers(void) {
    check_equal("version 3.3", ioat_read8(CBVER), 0x33);
    check_equal("one channel", ioat_read8(CHANCNT), 1);
    check_equal("transfers of up to 2^20 bytes", ioat_read8(XFERCAP), 20);
    check_equal("it can fill, XOR, and make P+Q", ioat_read(DMACAPABILITY) & 0x340, 0x340);
}

static void msix_on(void) {
    unsigned at = find_capability(CAP_MSIX);
    if (!check("there is MSI-X", at != 0)) return;
    check_equal("MSI-X: its table is where the capability says", config_read(at + 4), IOAT_MSIX_TABLE);
    ioat_write(IOAT_MSIX_TABLE, LAPIC_BASE);
    ioat_write(IOAT_MSIX_TABLE + 4, 0);
    ioat_write(IOAT_MSIX_TABLE + 8, VECTOR);
    ioat_write(IOAT_MSIX_TABLE + 12, 0);
    config_write16(at + 2, 0x8000);
    ioat_write8(INTRCTRL, INTR_ENABLE | INTR_PER_VECTOR);
    ioat_write16(CHANCTRL, CTRL_REARM | CTRL_ERROR_COMPLETION);
}

static void copies(void) {
    fresh_memory();
    describe(0, OP_COPY, 1000, source[0], target[0]);
    describe(1, OP_COPY, 7, source[1] + 1, target[0] + 1000);
    describe(2, OP_COPY | D_INTERRUPT | D_COMPLETION, 993, source[2], target[0] + 1007);
    describe(3, OP_COPY | D_COMPLETION, 8, source[3], target[1]);
    ioat_start(chain, 3, &completion);
    sti();
    check("copy: one interrupt for the chain", wait_until(interrupts > 0));
    delay_us(20);
    cli();
    check_equal("copy: and not more", interrupts, 1);
    check_equal("copy: the status in memory is the last descriptor's address, and idle", completion, address_of(&chain[2]) | IDLE);
    check_equal("copy: the register says the same", ioat_read(CHANSTS), (uint32_t)(address_of(&chain[2]) | IDLE));
    check_equal("copy: the first piece", equal_bytes(target[0], source[0], 1000), 1000);
    check_equal("copy: the second", equal_bytes(target[0] + 1000, source[1] + 1, 7), 7);
    check_equal("copy: the third", equal_bytes(target[0] + 1007, source[2], 993), 993);
    check_equal("copy: nothing behind it", target[0][BYTES], 0);
    check_equal("copy: a descriptor that was not counted out waits", target[1][0], 0);
    ioat_write16(DMACOUNT, 4);
    check("copy: counting on goes on", wait_until(completion == (address_of(&chain[3]) | IDLE)));
    check_equal("copy: its bytes", equal_bytes(target[1], source[3], 8), 8);
}

static void rearming(void) {
    fresh_memory();
    describe(0, OP_COPY | D_NULL | D_INTERRUPT, 1, NULL, NULL);
    check("interrupt: until software re-arms, the channel has it disabled", ioat_read16(CHANCTRL) & 1);
    ioat_start(chain, 1, &completion);
    check("interrupt: a null descriptor ends like any other", ends_in(IDLE));
    sti_nop_cli();
    check_equal("interrupt: not re-armed, none comes", interrupts, 0);
    ioat_write16(CHANCTRL, CTRL_REARM | CTRL_ERROR_COMPLETION);
    sti_nop_cli();
    check_equal("interrupt: re-armed, it does", interrupts, 1);
    ioat_write16(CHANCTRL, CTRL_REARM | CTRL_ERROR_COMPLETION);
}

static void fills(void) {
    fresh_memory();
    uint8_t pattern[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    describe(0, OP_FILL | D_COMPLETION, 1003, NULL, target[0])->source = 0x0807060504030201;
    ioat_start(chain, 1, &completion);
    check("fill: ends", ends_in(IDLE));
    unsigned good = 0;
    while (good < 1003 && target[0][good] == pattern[good % 8]) good++;
    check_equal("fill: eight bytes over and over", good, 1003);
    check_equal("fill: and no more", target[0][1003], 0);
}

static void sums(void) {
    for (unsigned sources = 2; sources <= 8; sources += 3) { /* 2, 5, 8 */
        fresh_memory();
        unsigned count = describe_xor(0, OP_XOR, sources, target[0]);
        ioat_start(chain, count, &completion);
        check("XOR: ends", ends_in(IDLE));
        unsigned good = 0;
        for (; good < BYTES; good++) {
            uint8_t sum = 0;
            for (unsigned n = 0; n < sources; n++) sum ^= source[n][good];
            if (target[0][good] != sum) break;
        }
        check_equal("XOR: all bytes", good, BYTES);
        count = describe_xor(0, OP_XOR_VALIDATE, sources, target[0]);
        ioat_start(chain, count, &completion);
        check("XOR: the validation finds it good", ends_in(IDLE) && ioat_read(CHANERR) == 0);
        target[0][BYTES - 1] ^= 0x10;
        ioat_start(chain, count, &completion);
        check("XOR: the validation finds a wrong bit, and halts", ends_in(HALTED));
        check_equal("XOR: with the P error", ioat_read(CHANERR), 0x10000);
        ioat_write(CHANERR, 0xFFFFFFFF);
    }
}

static void syndromes(void) {
    fresh_memory();
    struct descriptor *d = describe(0, OP_PQ | D_SOURCES(3), BYTES, source[0], target[0]);
    d->more[0] = address_of(source[1]);
    d->more[1] = address_of(source[2]);
    d->more[2] = 0x040201; /* coefficients 1, 2, 4 */
    d->more[3] = address_of(target[1]);
    ioat_start(chain, 1, &completion);
    check("P+Q: ends", ends_in(IDLE));
    unsigned good = 0;
    for (; good < BYTES; good++) {
        uint8_t a = source[0][good], b = source[1][good], c = source[2][good];
        if (target[0][good] != (a ^ b ^ c) || target[1][good] != (a ^ times2(b) ^ times2(times2(c)))) break;
    }
    check_equal("P+Q: all bytes of both", good, BYTES);
    target[1][5] ^= 1;
    d->control = OP_PQ_VALIDATE | D_SOURCES(3);
    ioat_start(chain, 1, &completion);
    check("P+Q: the validation finds Q wrong", ends_in(HALTED) && ioat_read(CHANERR) == 0x20000);
    ioat_write(CHANERR, 0xFFFFFFFF);
}

static void commands(void) {
    fresh_memory();
    for (unsigned n = 0; n < 32; n++) describe(n, OP_COPY, 50, source[0] + n * 50, target[0] + n * 50);
    ioat_start(chain, 32, &completion);
    ioat_write8(CHANCMD, CMD_SUSPEND);
    check("suspend: the channel comes to rest", ends_in(SUSPENDED));
    unsigned moved = equal_bytes(target[0], source[0], 1600);
    check("suspend: between two descriptors", moved < 1600 && moved % 50 == 0);
    delay_us(20);
    check_equal("suspend: and stays there", equal_bytes(target[0], source[0], 1600), moved);
    ioat_write16(DMACOUNT, 32);
    check("suspend: counting out goes on", ends_in(IDLE));
    check_equal("suspend: to the end", equal_bytes(target[0], source[0], 1600), 1600);

    fresh_memory();
    for (unsigned n = 0; n < 32; n++) describe(n, OP_COPY, 50, source[0] + n * 50, target[0] + n * 50);
    ioat_start(chain, 32, &completion);
    ioat_write8(CHANCMD, CMD_ABORT);
    check_equal("abort: halted at once", ioat_state(), HALTED);
    check_equal("abort: the status is in memory", completion & 7, HALTED);
    delay_us(20);
    check("abort: nothing moves any more", equal_bytes(target[0], source[0], 1600) < 1600);
    ioat_start(chain, 32, &completion);
    ioat_write8(CHANCMD, CMD_RESET);
    check_equal("reset: over at once", ioat_read8(CHANCMD), 0);
    check("reset: the channel is as after power-up",
          ioat_state() == HALTED && ioat_read(CHANERR) == 0 && ioat_read16(DMACOUNT) == 0 && ioat_read(CHAINADDR) == 0);
    ioat_write16(CHANCTRL, CTRL_REARM | CTRL_ERROR_COMPLETION);

    fresh_memory();
    describe(0, OP_COPY, 50, source[0], target[0])->next = address_of(chain);
    ioat_start(chain, 1000, &completion);
    check("a descriptor that is linked to itself is done as often as it was counted out", ends_in(IDLE));
}

static void ends_with(const char *text, unsigned count, uint32_t error) {
    completion = 0xAAAA;
    ioat_start(chain, count, &completion);
    check_equal(text, ends_in(HALTED) ? ioat_read(CHANERR) : 0, error);
    check_equal("  and tells memory so", completion & 7, HALTED);
    ioat_write(CHANERR, 0xFFFFFFFF);
}

static void errors(void) {
    fresh_memory();
    describe(0, OP_COPY, 0, source[0], target[0]);
    ends_with("error: a length of nothing", 1, 0x800);
    describe(0, OP_COPY, 0x100001, source[0], target[0]);
    ends_with("error: a length beyond the limit", 1, 0x800);
    describe(0, OP_COPY, 64, (void *)0xD0000000, target[0]);
    ends_with("error: a source where nothing is", 1, 0x100);
    describe(0, OP_COPY, 64, source[0], (void *)0xD0000000);
    ends_with("error: a destination where nothing is", 1, 0x200);
    describe(0, OP_COPY, 64, source[0], target[0])->source = 1ull << 52;
    ends_with("error: a source of more than 52 bits", 1, 0x1);
    describe(0, OP_COPY, 64, source[0], target[0])->destination = 1ull << 60;
    ends_with("error: a destination of more than 52 bits", 1, 0x2);
    describe(0, 0x55000000, 64, source[0], target[0]);
    ends_with("error: an operation that there is not", 1, 0x400);
    describe(0, OP_COPY, 64, source[0], target[0])->next = address_of(chain) + 8;
    ends_with("error: a link that is not aligned", 2, 0x8);
    describe(0, OP_COPY, 64, source[0], target[0])->next = 0xD0000000;
    ends_with("error: a link to nowhere", 2, 0x4);
    describe_xor(0, OP_XOR, 8, target[0]);
    ends_with("error: half a descriptor counted out", 1, 0x40000);
    describe(0, OP_COPY, 64, (void *)0xFEE00000, target[0]);
    ends_with("error: a source among the interrupt messages", 1, 0x100);
    config_write16(COMMAND, C_MEMORY);
    describe(0, OP_COPY, 64, source[0], target[0]);
    ioat_start(chain, 1, &completion);
    check_equal("error: without bus mastering the chain cannot be read", ends_in(HALTED) ? ioat_read(CHANERR) & 0x10 : 0, 0x10);
    config_write16(COMMAND, C_MEMORY | C_MASTER);
    ioat_write(CHANERR, 0xFFFFFFFF);
    ioat_write16(CHANCTRL, CTRL_REARM | CTRL_ERROR_COMPLETION | CTRL_ERROR_INTERRUPT);
    sti_nop_cli();
    interrupts = 0;
    describe(0, OP_COPY, 0, source[0], target[0]);
    ends_with("error: once more, with its interrupt", 1, 0x800);
    sti_nop_cli();
    check_equal("  which came", interrupts, 1);
    ioat_write16(CHANCTRL, CTRL_REARM);
    fresh_memory();
    describe(0, OP_COPY, 64, source[0], target[0]);
    ioat_start(chain, 1, &completion);
    check("after all of these it works", ends_in(IDLE) && equal_bytes(target[0], source[0], 65) == 64);
}

static void msi(void) {
    config_write16(find_capability(CAP_MSIX) + 2, 0);
    unsigned at = find_capability(CAP_MSI);
    if (!check("there is MSI", at != 0)) return;
    config_write(at + 4, LAPIC_BASE);
    config_write(at + 8, 0);
    config_write16(at + 12, VECTOR);
    config_write16(at + 2, 1);
    ioat_write8(INTRCTRL, INTR_ENABLE);
    fresh_memory();
    describe(0, OP_COPY | D_INTERRUPT, 64, source[0], target[0]);
    ioat_start(chain, 1, &completion);
    sti();
    check("MSI: the chain's interrupt", wait_until(interrupts > 0));
    cli();
    check_equal("MSI: channel 0 wants attention", ioat_read(ATTNSTATUS), 1);
    check_equal("MSI: reading that has cleared it", ioat_read(ATTNSTATUS), 0);
}

void guest_main(void) {
    if (!ioat_setup()) {
        skip("I/OAT: the machine has no such engine");
        return;
    }
    on_vector(VECTOR, on_interrupt);
    registers();
    msix_on();
    copies();
    rearming();
    fills();
    sums();
    syndromes();
    commands();
    errors();
    msi();
}
