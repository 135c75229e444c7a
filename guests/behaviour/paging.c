/*
 * Four-level paging (Intel SDM vol 3, chapter 4): permissions, error codes, accessed and dirty bits, large pages, what a
 * TLB may keep and what it must forget. The pages under test are mapped at 512 GiB; the first of them leads to `frames`.
 */
#include "guest.h"

#define BASE 0x8000000000UL
#define PAGE 4096UL

#define P 0x001UL
#define W 0x002UL
#define U 0x004UL
#define A 0x020UL
#define D 0x040UL
#define PS 0x080UL
#define G 0x100UL
#define NX (1UL << 63)

/* Page fault error code. */
#define E_P 0x01
#define E_W 0x02
#define E_U 0x04
#define E_RSVD 0x08
#define E_FETCH 0x10

#define CR0_WP (1UL << 16)
#define CR4_PGE (1UL << 7)
#define CR4_SMEP (1UL << 20)
#define CR4_SMAP (1UL << 21)
#define EFER 0xC0000080
#define EFER_NXE (1UL << 11)

extern uint64_t page_map_level4[512], page_directory_low[512];
static volatile uint64_t pointers[512] __attribute__((aligned(4096)));
static volatile uint64_t directory[512] __attribute__((aligned(4096)));
static volatile uint64_t table[512] __attribute__((aligned(4096)));
static uint8_t frames[4][4096] __attribute__((aligned(4096)));

volatile uint64_t address;
SNIPPET(read_it, "mov address, %rax", "mov (%rax), %ecx");
SNIPPET(write_it, "mov address, %rax", "movl $7, (%rax)");
SNIPPET(read_8, "mov address, %rax", "mov (%rax), %rcx");
SNIPPET(run_it, "mov address, %rax", "call *%rax");
SNIPPET(compare_exchange, "mov address, %rdx\nmov $0x1111, %eax\nmov $0x2222, %ecx", "lock cmpxchg %ecx, (%rdx)");
SNIPPET(stac_read, "mov address, %rax\n.byte 0x0F, 0x01, 0xCB", "mov (%rax), %ecx\n.byte 0x0F, 0x01, 0xCA");
SNIPPET(push_it, "mov %rsp, %rbx\nmov address, %rsp", "push %rax\nmov %rbx, %rsp");

static volatile uint8_t *at(unsigned page) { return (volatile uint8_t *)(BASE + page * PAGE); }
static uint64_t frame(unsigned n) { return (uint64_t)frames[n]; }

static void flush_all(void) { write_cr3(read_cr3()); }

/* Page 0 of the test range with these flags, everything above it permissive. */
static void map(uint64_t flags) {
    page_map_level4[1] = (uint64_t)pointers | P | W | U;
    pointers[0] = (uint64_t)directory | P | W | U;
    directory[0] = (uint64_t)table | P | W | U;
    for (unsigned i = 0; i < 512; i++) table[i] = 0;
    table[0] = frame(0) | flags;
    address = BASE;
    flush_all();
}

static void expect_fault(const char *text, struct caught c, uint64_t error) {
    bool ok = c.vector == PF && c.error == error && c.cr2 == address;
    if (!check(text, ok)) printf("    vector %d, error 0x%lx, CR2 0x%lx\n", c.vector, c.error, c.cr2);
}

static void expect_none(const char *text, struct caught c) {
    if (!check(text, c.vector == -1)) printf("    vector %d, error 0x%lx, CR2 0x%lx\n", c.vector, c.error, c.cr2);
}

static void error_codes(void) {
    map(0);
    expect_fault("absent: read", catch(read_it), 0);
    expect_fault("absent: write", catch(write_it), E_W);
    expect_fault("absent: fetch", catch(run_it), E_FETCH);
    expect_fault("absent: read in ring 3", catch_user(read_it, 2), E_U);
    expect_fault("absent: write in ring 3", catch_user(write_it, 2), E_U | E_W);
    expect_fault("absent: fetch in ring 3", catch_user(run_it, 2), E_U | E_FETCH);
    directory[0] = 0;
    flush_all();
    expect_fault("absent in the directory", catch(read_it), 0);
    map(P | W | U);
    page_map_level4[1] = 0;
    flush_all();
    expect_fault("absent in the top level", catch_user(write_it, 2), E_U | E_W);
}

static void permissions(void) {
    map(P | U);
    expect_none("read-only: read in ring 3", catch_user(read_it, 2));
    expect_fault("read-only: write in ring 3", catch_user(write_it, 2), E_P | E_W | E_U);
    expect_fault("read-only: write in ring 0 with WP", catch(write_it), E_P | E_W);
    expect_fault("read-only: a CMPXCHG that would not write is a write", catch(compare_exchange), E_P | E_W);
    write_cr0(read_cr0() & ~CR0_WP);
    expect_none("read-only: write in ring 0 without WP", catch(write_it));
    expect_fault("read-only: write in ring 3 without WP", catch_user(write_it, 2), E_P | E_W | E_U);
    write_cr0(read_cr0() | CR0_WP);
    map(P | W);
    expect_none("supervisor page: ring 0", catch(write_it));
    expect_fault("supervisor page: read in ring 3", catch_user(read_it, 2), E_P | E_U);
    expect_fault("supervisor page: write in ring 3", catch_user(write_it, 2), E_P | E_U | E_W);
    map(P | W | U);
    page_map_level4[1] &= ~W;
    flush_all();
    expect_fault("the top level read-only makes all read-only", catch(write_it), E_P | E_W);
    map(P | W | U);
    directory[0] &= ~U;
    flush_all();
    expect_fault("a supervisor directory entry makes all below it so", catch_user(read_it, 2), E_P | E_U);
}

static void no_execute(void) {
    frames[0][0] = 0xC3; /* RET */
    map(P | W | U);
    expect_none("a page without NX runs", catch(run_it));
    map(P | W | U | NX);
    expect_fault("NX: fetch in ring 0", catch(run_it), E_P | E_FETCH);
    expect_fault("NX: fetch in ring 3", catch_user(run_it, 2), E_P | E_FETCH | E_U);
    expect_none("NX: reading is allowed", catch(read_it));
    map(P | W | U);
    pointers[0] |= NX;
    flush_all();
    expect_fault("NX in an upper level holds for all below", catch(run_it), E_P | E_FETCH);
    map(P | W | U | NX);
    wrmsr(EFER, rdmsr(EFER) & ~EFER_NXE);
    flush_all();
    expect_fault("without EFER.NXE the bit is reserved", catch(read_it), E_P | E_RSVD);
    wrmsr(EFER, rdmsr(EFER) | EFER_NXE);
}

static void reserved_bits(void) {
    map(P | W | U | 1UL << 51);
    expect_fault("reserved: an address bit beyond the processor's", catch(read_it), E_P | E_RSVD);
    expect_fault("reserved: write in ring 3", catch_user(write_it, 2), E_P | E_RSVD | E_W | E_U);
    map(P | W | U);
    page_map_level4[1] |= PS;
    flush_all();
    expect_fault("reserved: the page size bit in the top level", catch(read_it), E_P | E_RSVD);
    map(P | W | U);
    directory[0] = P | W | U | PS | 1 << 13;
    flush_all();
    expect_fault("reserved: low address bits of a 2 MiB page", catch(read_it), E_P | E_RSVD);
}

static void addresses(void) {
    map(P | W | U);
    address = BASE + PAGE - 3;
    struct caught c = catch(read_8);
    check("an access across the end of the page: CR2 is the next page's first byte", c.vector == PF && c.cr2 == BASE + PAGE);
    table[1] = frame(1) | P | W | U;
    expect_none("with the next page mapped it is one access", catch(read_8));
    frames[0][PAGE - 1] = 0xB8; /* MOV EAX, imm32: its end is on the next page */
    table[1] = 0;
    invlpg(at(1));
    address = BASE + PAGE - 1;
    c = catch(run_it);
    check("a fetch across the end: CR2 is on the next page, RIP at the instruction",
          c.vector == PF && c.error == E_FETCH && c.cr2 == BASE + PAGE && c.rip == BASE + PAGE - 1);
    address = BASE + 2 * PAGE;
    c = catch_user(push_it, 2);
    check("a PUSH to an absent page: CR2 below the stack pointer, which is as before",
          c.vector == PF && c.error == (E_W | E_U) && c.cr2 == BASE + 2 * PAGE - 8 && c.rsp == BASE + 2 * PAGE);
}

static uint64_t rcx_at_fault;
static void map_next(struct trap *trap) {
    rcx_at_fault = trap->rcx;
    table[(read_cr2() - BASE) / PAGE] = frame((unsigned)((read_cr2() - BASE) / PAGE)) | P | W | U;
}

static void restart(void) {
    map(P | W | U);
    on_vector(PF, map_next);
    uint8_t *to = (uint8_t *)BASE + PAGE - 10;
    uint64_t count = 32;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(0x5A) : "memory");
    on_vector(PF, NULL);
    check("REP STOSB across a fault: RCX has what is left", rcx_at_fault == 22);
    check("and goes on after it", count == 0 && frames[1][0] == 0x5A && frames[1][21] == 0x5A && frames[0][PAGE - 10] == 0x5A);
}

static void accessed_and_dirty(void) {
    map(P | W | U);
    page_map_level4[1] &= ~(A | D);
    catch(read_it);
    check("a read sets the accessed bit on every level",
          page_map_level4[1] & A && pointers[0] & A && directory[0] & A && table[0] & A);
    check("and no dirty bit", !(table[0] & D));
    catch(write_it);
    check("a write sets the page's dirty bit", table[0] & D);
    table[0] &= ~(A | D);
    invlpg(at(0));
    catch(read_it);
    check("cleared and invalidated, accessed is set anew", table[0] & A && !(table[0] & D));
    map(P | U);
    catch(write_it);
    check("a write that faults leaves dirty clear", !(table[0] & D));
    map(P | W | U);
    directory[0] = P | W | U | PS;
    flush_all();
    catch(write_it);
    check("a 2 MiB page has accessed and dirty in its directory entry", (directory[0] & (A | D)) == (A | D));
}

static void large_pages(void) {
    map(P | W | U);
    directory[1] = 0x200000 | P | W | U | PS;
    *(volatile uint32_t *)0x234567 = 0xCAFE;
    check("a 2 MiB page", *(volatile uint32_t *)(BASE + 0x234567) == 0xCAFE);
    if (cpuid(0x80000001, 0).edx & 1 << 26) {
        pointers[1] = P | W | U | PS;
        check("a 1 GiB page", *(volatile uint32_t *)(BASE + 0x40000000 + 0x234567) == 0xCAFE);
        pointers[1] = 0;
    } else {
        skip("1 GiB pages: CPUID says that there are none");
    }
    directory[1] = 0;
    invlpg((void *)(BASE + 0x3FF000));
    address = BASE + 0x200000;
    expect_fault("INVLPG of any of its addresses forgets a 2 MiB page", catch(read_it), 0);
}

static uint32_t value(unsigned page) { return *(volatile uint32_t *)at(page); }

static void translation_cache(void) {
    map(P | W | U);
    *(uint32_t *)frames[0] = 10;
    *(uint32_t *)frames[1] = 11;
    *(uint32_t *)frames[2] = 12;
    address = BASE + PAGE;
    catch(read_it);
    table[1] = frame(1) | P | W | U;
    check("an absent entry is not remembered: mapping needs no INVLPG", value(1) == 11);
    table[1] = frame(2) | P | W | U;
    uint32_t v = value(1);
    check("a changed entry: the old or the new until INVLPG", v == 11 || v == 12);
    invlpg(at(1));
    check("after INVLPG the new", value(1) == 12);
    table[1] = frame(1) | P | W | U;
    flush_all();
    check("after MOV to CR3 the new", value(1) == 11);
    table[1] &= ~W;
    invlpg(at(1));
    expect_fault("taking a right away works after INVLPG", catch(write_it), E_P | E_W);
    table[1] |= W;
    expect_none("giving a right needs none: the fault's retry walks again", catch(write_it));

    write_cr4(read_cr4() | CR4_PGE);
    table[2] = frame(0) | P | W | U | G;
    check("a global page", value(2) == 10);
    table[2] = frame(2) | P | W | U | G;
    flush_all();
    v = value(2);
    check("a global page: MOV to CR3 may keep it", v == 10 || v == 12);
    invlpg(at(2));
    check("a global page: INVLPG forgets it", value(2) == 12);
    table[2] = frame(0) | P | W | U | G;
    write_cr4(read_cr4() & ~CR4_PGE);
    check("a global page: clearing CR4.PGE forgets it", value(2) == 10);
}

static void aliases(void) {
    map(P | W | U);
    table[1] = frame(0) | P | W | U;
    volatile uint8_t *code = at(1);
    uint64_t result;
    code[0] = 0xB8; /* MOV EAX, 1; RET */
    code[1] = 1;
    code[2] = code[3] = code[4] = 0;
    code[5] = 0xC3;
    __asm__ volatile("call *%1" : "=a"(result) : "r"(BASE) : "memory");
    bool first = result == 1;
    code[1] = 2;
    __asm__ volatile("call *%1" : "=a"(result) : "r"(BASE) : "memory");
    check("code changed through another address runs as changed", first && result == 2);
}

/* The guest's own first 2 MiB become supervisor pages meanwhile, or ring 0 could not run. */
static void supervisor_protection(void) {
    struct cpuid features = cpuid(7, 0);
    bool smep = features.ebx & 1 << 7, smap = features.ebx & 1 << 20;
    if (!smep || !smap) {
        skip("SMEP and SMAP: CPUID says that there are none");
        return;
    }
    frames[0][0] = 0xC3;
    map(P | W | U);
    page_directory_low[0] &= ~U;
    flush_all();
    write_cr4(read_cr4() | CR4_SMEP);
    expect_fault("SMEP: ring 0 must not run a user page", catch(run_it), E_P | E_FETCH);
    expect_none("SMEP: ring 0 may read it", catch(read_it));
    table[0] = frame(0) | P | W;
    invlpg(at(0));
    expect_none("SMEP: ring 0 may run a supervisor page", catch(run_it));
    table[0] = frame(0) | P | W | U;
    invlpg(at(0));
    write_cr4((read_cr4() & ~CR4_SMEP) | CR4_SMAP);
    expect_fault("SMAP: ring 0 must not read a user page", catch(read_it), E_P);
    expect_fault("SMAP: nor write it", catch(write_it), E_P | E_W);
    expect_none("SMAP: with RFLAGS.AC it may", catch(stac_read));
    expect_none("SMAP: running it is another matter", catch(run_it));
    page_directory_low[0] |= U;
    flush_all();
    write_cr4(read_cr4() & ~CR4_SMAP);
}

void guest_main(void) {
    error_codes();
    permissions();
    no_execute();
    reserved_bits();
    addresses();
    restart();
    accessed_and_dirty();
    large_pages();
    translation_cache();
    aliases();
    supervisor_protection();
}
