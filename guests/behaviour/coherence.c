/*
 * What caches and store buffers do to a program that forgets about them. Memory and devices: dirty lines that a device does not see, stale lines that the
 * processor goes on reading, lines that are written back over a device's data (Intel SDM vol 3, 12.3, 12.5.5; PCI Express Base 3.0, 2.2.6.5 "No Snoop"),
 * write-combining buffers (12.3.1), uncached memory. The device is the I/OAT engine. Processors among themselves: the litmus tests of x86's memory
 * ordering (9.2.3).
 *
 * The command line says what machine this is, so that mistakes can be checked to show: machine=1 without caches, 2 with caches that devices snoop, 3 with
 * caches that they do not; buffers=1: stores wait in a store buffer. Without it, only the programs without mistakes are checked, which are right on any
 * machine.
 */
#include "ioat.h"

enum { UNKNOWN = 0, NO_CACHES = 1, COHERENT = 2, NONCOHERENT = 3 };
static unsigned machine, buffers;

#define LINE  64
#define BYTES 256

/* Whatever the device touches has its lines for itself. */
static struct descriptor chain[2];
static volatile uint64_t completion[8] __attribute__((aligned(LINE)));
static volatile uint8_t from[BYTES] __attribute__((aligned(LINE))), to[BYTES] __attribute__((aligned(LINE)));
static uint8_t big[2][0x20000] __attribute__((aligned(LINE)));

/* ---- caches --------------------------------------------------------------------------------------------------------- */

static void mfence(void) { __asm__ volatile("mfence" ::: "memory"); }
static void sfence(void) { __asm__ volatile("sfence" ::: "memory"); }
static void by_nothing(volatile uint8_t *at) { (void)at; }
static void by_clflush(volatile uint8_t *at) {
    for (unsigned i = 0; i < BYTES; i += LINE) __asm__ volatile("clflush (%0)" ::"r"(at + i) : "memory");
    mfence();
}
static void by_clflushopt(volatile uint8_t *at) {
    for (unsigned i = 0; i < BYTES; i += LINE) __asm__ volatile("clflushopt (%0)" ::"r"(at + i) : "memory");
    sfence();
}
static void by_clwb(volatile uint8_t *at) {
    for (unsigned i = 0; i < BYTES; i += LINE) __asm__ volatile("clwb (%0)" ::"r"(at + i) : "memory");
    sfence();
}
static void by_wbinvd(volatile uint8_t *at) {
    (void)at;
    __asm__ volatile("wbinvd" ::: "memory");
}
typedef void flush(volatile uint8_t *at);

static void fill(volatile uint8_t *at, uint8_t value) {
    for (unsigned i = 0; i < BYTES; i++) at[i] = value;
}
/* All bytes are this value; otherwise 0x100. */
static unsigned value_of(volatile uint8_t *at) {
    for (unsigned i = 1; i < BYTES; i++)
        if (at[i] != at[0]) return 0x100;
    return at[0];
}

/* ---- the device ----------------------------------------------------------------------------------------------------- */

/* The descriptors themselves are always flushed. */
static void start(unsigned first, unsigned count) {
    for (unsigned n = 0; n < 2; n++) __asm__ volatile("clflush (%0)" ::"r"(&chain[n]) : "memory");
    mfence();
    ioat_start(&chain[first], count, completion);
}
static void copy(volatile void *source, volatile void *destination, uint32_t flags) {
    chain[1] = (struct descriptor){ BYTES, OP_COPY | flags, address_of(source), address_of(destination), 0, { 0 } };
    start(1, 1);
    if (!wait_until(ioat_state() != ACTIVE) || ioat_state() != IDLE) die("the engine does not copy");
}

/* The outcome of a program with a mistake: `stale` where memory and caches are apart, `fresh` where they are not. */
static void mistake(const char *text, unsigned got, bool apart, unsigned stale, unsigned fresh) {
    if (machine == UNKNOWN) return;
    check_equal(text, got, apart ? stale : fresh);
}

/* ---- a device that reads ---------------------------------------------------------------------------------------------- */

static unsigned device_reads(flush *before, uint32_t flags) {
    fill(from, 0x11);
    by_clflush(from);
    fill(to, 0);
    by_clflush(to);
    fill(from, 0x22);
    before(from);
    copy(from, to, flags);
    by_clflush(to);
    return value_of(to);
}

/* ---- a device that writes ----------------------------------------------------------------------------------------------- */

static unsigned device_writes(bool dirty, flush *before, flush *after, uint32_t flags) {
    fill(from, 0x22);
    by_clflush(from);
    fill(to, 0x11);
    by_clflush(to);
    if (dirty) fill(to, 0x33);
    else if (value_of(to) != 0x11) die("memory does not keep what was flushed"); /* now it is cached */
    before(to);
    copy(from, to, flags);
    after(to);
    return value_of(to);
}

static void stale_data(void) {
    bool apart = machine == NONCOHERENT, cached = machine == COHERENT || machine == NONCOHERENT;
    struct cpuid leaf7 = cpuid(7, 0);
    mistake("a device reads what is dirty in a cache: not flushed", device_reads(by_nothing, 0), apart, 0x11, 0x22);
    mistake("the same with No Snoop", device_reads(by_nothing, D_SOURCE_NO_SNOOP), cached, 0x11, 0x22);
    check_equal("a device reads what CLFLUSH wrote back", device_reads(by_clflush, D_SOURCE_NO_SNOOP), 0x22);
    if (leaf7.ebx >> 23 & 1) check_equal("by CLFLUSHOPT", device_reads(by_clflushopt, D_SOURCE_NO_SNOOP), 0x22);
    if (leaf7.ebx >> 24 & 1) check_equal("by CLWB", device_reads(by_clwb, D_SOURCE_NO_SNOOP), 0x22);
    check_equal("by WBINVD", device_reads(by_wbinvd, D_SOURCE_NO_SNOOP), 0x22);

    mistake("the processor reads a line that a device has overwritten: not invalidated",
            device_writes(false, by_nothing, by_nothing, 0), apart, 0x11, 0x22);
    mistake("the same with No Snoop", device_writes(false, by_nothing, by_nothing, D_DESTINATION_NO_SNOOP), cached, 0x11, 0x22);
    check_equal("invalidated behind the DMA, it reads what the device wrote",
                device_writes(false, by_nothing, by_clflush, D_DESTINATION_NO_SNOOP), 0x22);
    check_equal("invalidated before the DMA, too", device_writes(false, by_clflush, by_nothing, D_DESTINATION_NO_SNOOP), 0x22);
    /* CLWB leaves the line where it is. */
    if (leaf7.ebx >> 24 & 1)
        mistake("CLWB does not invalidate", device_writes(false, by_nothing, by_clwb, 0), apart, 0x11, 0x22);

    mistake("a dirty line is written back over what a device wrote", device_writes(true, by_nothing, by_clflush, 0), apart, 0x33, 0x22);
    mistake("the same with No Snoop", device_writes(true, by_nothing, by_clflush, D_DESTINATION_NO_SNOOP), cached, 0x33, 0x22);
    check_equal("written back before the DMA, it does no harm", device_writes(true, by_clflush, by_clflush, D_DESTINATION_NO_SNOOP), 0x22);
}

/* ---- other memory types --------------------------------------------------------------------------------------------------- */

#define COMBINING_AT 0xC8000000u /* PAT entry 1 */
#define UNCACHED_AT  0xC8200000u /* PAT entry 3 */
#define COMBINING_MEMORY 0x2000000u
#define UNCACHED_MEMORY  0x2200000u
#define PAT 0x277

static void map_types(void) {
    extern uint64_t page_directory_high[512];
    by_wbinvd(NULL);
    wrmsr(PAT, (rdmsr(PAT) & ~0xFF00ull) | 0x0100); /* write combining */
    page_directory_high[(COMBINING_AT - 0xC0000000u) >> 21] = COMBINING_MEMORY | 0x8F;
    page_directory_high[(UNCACHED_AT - 0xC0000000u) >> 21] = UNCACHED_MEMORY | 0x9F;
    write_cr3(read_cr3());
}

/* Without touching a device or memory of another type: that would drain the buffers, too. */
static void spin(unsigned turns) {
    while (turns--) pause();
}

/*
 * The engine is at work on something long, and comes to our data 16 µs later: no doorbell stands between the stores and its reading. Half a line is
 * written, so that the buffer does not leave by itself.
 */
static unsigned combined(void (*drain)(void)) {
    volatile uint8_t *data = (volatile uint8_t *)COMBINING_AT;
    for (unsigned i = 0; i < LINE; i++) data[i] = 0x11;
    sfence();
    fill(to, 0);
    by_clflush(to);
    chain[0] = (struct descriptor){ sizeof big[0], OP_COPY, address_of(big[0]), address_of(big[1]), address_of(&chain[1]), { 0 } };
    chain[1] = (struct descriptor){ LINE / 2, OP_COPY, COMBINING_MEMORY, address_of(to), 0, { 0 } };
    start(0, 2);
    for (unsigned i = 0; i < LINE / 2; i++) data[i] = 0x22;
    drain();
    spin(20000);
    unsigned value = to[0];
    if (!wait_until(ioat_state() == IDLE)) die("the engine does not copy");
    by_clflush(to);
    return to[LINE / 2 - 1] == to[0] ? to[0] : value;
}
static void no_drain(void) {}

static void memory_types(void) {
    bool cached = machine == COHERENT || machine == NONCOHERENT;
    map_types();
    mistake("a write-combining buffer that nobody drains", combined(no_drain), cached, 0x11, 0x22);
    check_equal("drained by SFENCE", combined(sfence), 0x22);
    volatile uint8_t *uncached = (volatile uint8_t *)UNCACHED_AT;
    fill(uncached, 0x11);
    fill(uncached + 0x1000, 0);
    fill(uncached, 0x22);
    copy((volatile void *)UNCACHED_MEMORY, (volatile void *)(UNCACHED_MEMORY + 0x1000), D_SOURCE_NO_SNOOP | D_DESTINATION_NO_SNOOP);
    check_equal("uncached memory needs nothing", value_of(uncached + 0x1000), 0x22);
}

/* ---- processors among themselves -------------------------------------------------------------------------------------------- */

#define CPUS 4
static volatile unsigned x __attribute__((aligned(LINE))), y __attribute__((aligned(LINE)));
static volatile unsigned seen[4 * 16] __attribute__((aligned(LINE))); /* by reader, a line each */
static volatile unsigned arrived __attribute__((aligned(LINE))), turn __attribute__((aligned(LINE)));
static unsigned rounds, taking_part;
static void (*volatile part_of[CPUS])(void);
#define SEEN(n) seen[(n) * 16]

static void barrier(void) {
    unsigned now = turn;
    if (__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST) == taking_part) {
        arrived = 0;
        __atomic_add_fetch(&turn, 1, __ATOMIC_SEQ_CST);
    } else
        while (turn == now) pause();
}
static unsigned next_random(unsigned *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}
/* Waits of different length before and behind the part: on this machine and on any other, orders vary. */
static void work(void) {
    unsigned me = cpu_index(), random = me * 7919 + 1;
    for (unsigned n = 0; n < rounds; n++) {
        barrier();
        spin(next_random(&random) % 400);
        part_of[me]();
        spin(next_random(&random) % 800);
        barrier();
        barrier(); /* CPU 0 has looked at the outcome */
    }
}

static unsigned forbidden;
static bool (*outcome)(void);
static unsigned litmus(unsigned cpus, void (*const parts[])(void), bool (*is_forbidden)(void)) {
    taking_part = cpus;
    rounds = machine == UNKNOWN ? 20 : 60; /* QEMU takes long when the host is busy */
    forbidden = 0;
    outcome = is_forbidden;
    for (unsigned i = 0; i < cpus; i++) part_of[i] = parts[i];
    for (unsigned i = 1; i < cpus; i++) run_on(i, work);
    unsigned random = 12345;
    for (unsigned n = 0; n < rounds; n++) {
        x = y = 0;
        for (unsigned i = 0; i < 4; i++) SEEN(i) = 0;
        barrier();
        spin(next_random(&random) % 400);
        part_of[0]();
        spin(next_random(&random) % 800);
        barrier();
        if (outcome()) forbidden++;
        mfence();
        barrier();
    }
    for (unsigned i = 1; i < cpus; i++) wait_for_cpu(i);
    return forbidden;
}

static void sb0(void) { x = 1; SEEN(0) = y; }
static void sb1(void) { y = 1; SEEN(1) = x; }
static void sb0_fenced(void) { x = 1; mfence(); SEEN(0) = y; }
static void sb1_fenced(void) { y = 1; mfence(); SEEN(1) = x; }
static void sb0_locked(void) { __atomic_exchange_n(&x, 1, __ATOMIC_SEQ_CST); SEEN(0) = y; }
static void sb1_locked(void) { __atomic_exchange_n(&y, 1, __ATOMIC_SEQ_CST); SEEN(1) = x; }
static bool sb(void) { return SEEN(0) == 0 && SEEN(1) == 0; }
static void mp0(void) { x = 1; y = 1; }
static void mp1(void) { SEEN(0) = y; SEEN(1) = x; }
static bool mp(void) { return SEEN(0) == 1 && SEEN(1) == 0; }
static void lb0(void) { SEEN(0) = x; y = 1; }
static void lb1(void) { SEEN(1) = y; x = 1; }
static bool lb(void) { return SEEN(0) == 1 && SEEN(1) == 1; }
static void iriw0(void) { x = 1; }
static void iriw1(void) { y = 1; }
static void iriw2(void) { SEEN(0) = x; SEEN(1) = y; }
static void iriw3(void) { SEEN(2) = y; SEEN(3) = x; }
static bool iriw(void) { return SEEN(0) == 1 && SEEN(1) == 0 && SEEN(2) == 1 && SEEN(3) == 0; }
/* A processor sees its own store at once. */
static void own0(void) { x = 1; SEEN(0) = x; }
static void own1(void) { y = 1; SEEN(1) = y; }
static bool own(void) { return SEEN(0) == 0 || SEEN(1) == 0; }

#define LITMUS(cpus, is_forbidden, ...) litmus(cpus, (void (*const[])(void)){ __VA_ARGS__ }, is_forbidden)

static void orders(void) {
    if (!start_cpus(CPUS)) return;
    unsigned times = LITMUS(2, sb, sb0, sb1);
    if (machine != UNKNOWN)
        check(buffers ? "store buffering without a fence: both loads may come before both stores, and do"
                      : "store buffering without store buffers: never",
              (times > 0) == (buffers != 0));
    check_equal("store buffering with MFENCE: never", LITMUS(2, sb, sb0_fenced, sb1_fenced), 0);
    check_equal("store buffering with locked instructions: never", LITMUS(2, sb, sb0_locked, sb1_locked), 0);
    check_equal("message passing: stores are seen in their order", LITMUS(2, mp, mp0, mp1), 0);
    check_equal("load buffering: stores are not seen before older loads", LITMUS(2, lb, lb0, lb1), 0);
    check_equal("independent readers see two stores in the same order", LITMUS(4, iriw, iriw0, iriw1, iriw2, iriw3), 0);
    check_equal("a processor sees its own stores at once", LITMUS(2, own, own0, own1), 0);
}

void guest_main(void) {
    machine = (unsigned)command_number("machine", UNKNOWN);
    buffers = (unsigned)command_number("buffers", 0);
    orders();
    if (!ioat_setup()) {
        skip("stale data: the machine has no I/OAT engine");
        return;
    }
    stale_data();
    memory_types();
}
