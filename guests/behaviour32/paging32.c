/* The two paging modes of 32-bit code (Intel SDM vol 3, 4.3 "32-bit paging" and 4.4 "PAE paging"). */
#include "guest32.h"

#define P 1
#define W 2
#define U 4
#define A 0x20
#define D 0x40
#define PS 0x80
#define E_P 1
#define E_W 2
#define E_U 4
#define E_RSVD 8
#define E_FETCH 0x10
#define CR0_PG 0x80000000u
#define CR0_WP 0x10000
#define CR4_PSE 0x10
#define CR4_PAE 0x20
#define BASE 0x40000000u /* where the pages under test are mapped */
#define EFER 0xC0000080
#define EFER_NXE (1 << 11)

static volatile uint32_t directory[1024] __attribute__((aligned(4096)));
static volatile uint32_t table[1024] __attribute__((aligned(4096)));
static volatile uint64_t pae_pointers[4] __attribute__((aligned(32)));
static volatile uint64_t pae_directories[2][512] __attribute__((aligned(4096))); /* of the first and the second GiB */
static volatile uint64_t pae_table[512] __attribute__((aligned(4096)));
static uint8_t page[4096] __attribute__((aligned(4096)));

SNIPPET(read_it, "mov $0x40000000, %eax", "mov (%eax), %ecx");
SNIPPET(write_it, "mov $0x40000000, %eax", "movl $7, (%eax)");
SNIPPET(run_it, "mov $0x40000000, %eax", "call *%eax");

static void flush(void) { write_cr3(read_cr3()); }

static void expect(const char *text, struct caught c, uint32_t error) {
    bool ok = c.vector == PF && c.error == error && c.cr2 == BASE;
    if (!check(text, ok)) printf("    vector %d, error 0x%x, CR2 0x%x\n", c.vector, c.error, c.cr2);
}

static void classic(void) {
    directory[0] = P | W | U | PS; /* the first 4 MiB one to one */
    directory[BASE >> 22] = (uint32_t)table | P | W | U;
    table[0] = (uint32_t)page | P | W | U;
    write_cr4(read_cr4() | CR4_PSE);
    write_cr3((uint32_t)directory);
    write_cr0(read_cr0() | CR0_PG | CR0_WP);
    check("32-bit paging is on, with a 4 MiB page", read_cr0() & CR0_PG);
    *(uint32_t *)page = 2026;
    check("a 4 KiB page", *(volatile uint32_t *)BASE == 2026);
    check("accessed in both levels", directory[BASE >> 22] & A && table[0] & A && !(table[0] & D));
    check("ring 3 writes", catch_user(write_it, 2).vector == -1 && table[0] & D);
    table[0] = (uint32_t)page | P | U;
    flush();
    expect("ring 3 writes a read-only page", catch_user(write_it, 2), E_P | E_W | E_U);
    expect("ring 0 with WP", catch(write_it), E_P | E_W);
    table[0] = (uint32_t)page | P | W;
    flush();
    expect("ring 3 reads a supervisor page", catch_user(read_it, 2), E_P | E_U);
    table[0] = 0;
    flush();
    expect("an absent page", catch(read_it), 0);
    expect("a fetch has no bit of its own here", catch(run_it), 0);
    directory[BASE >> 22] = 0x00100000 | P | W | U | PS | 1 << 21;
    flush();
    expect("a reserved bit of a 4 MiB entry", catch(read_it), E_P | E_RSVD);
    directory[BASE >> 22] = P | W | U | PS;
    flush();
    *(volatile uint32_t *)0x300000 = 0xCAFE;
    check("a 4 MiB page elsewhere", *(volatile uint32_t *)(BASE + 0x300000) == 0xCAFE);
    write_cr0(read_cr0() & ~CR0_PG);
    write_cr4(read_cr4() & ~CR4_PSE);
    check("paging off again", !(read_cr0() & CR0_PG));
}

SNIPPET(load_bad_pointers, "mov %cr3, %eax", "mov %eax, %cr3");

static void pae(void) {
    pae_pointers[0] = (uint32_t)pae_directories[0] | P;
    pae_pointers[1] = (uint32_t)pae_directories[1] | P;
    pae_directories[0][0] = P | W | U | PS; /* 2 MiB one to one */
    pae_directories[1][0] = (uint32_t)pae_table | P | W | U;
    pae_table[0] = (uint32_t)page | P | W | U;
    write_cr4(read_cr4() | CR4_PAE);
    write_cr3((uint32_t)pae_pointers);
    wrmsr(EFER, rdmsr(EFER) | EFER_NXE);
    write_cr0(read_cr0() | CR0_PG | CR0_WP);
    *(uint32_t *)page = 64;
    check("PAE paging: 2 MiB and 4 KiB pages", *(volatile uint32_t *)BASE == 64);
    pae_table[0] = (uint32_t)page | P | W | U | 1ULL << 63;
    flush();
    expect("NX: a fetch", catch(run_it), E_P | E_FETCH);
    expect("NX: a fetch in ring 3", catch_user(run_it, 2), E_P | E_FETCH | E_U);
    check("NX: a read", catch(read_it).vector == -1);
    pae_table[0] = (uint32_t)page | P | W | U | 1ULL << 51;
    flush();
    expect("a reserved address bit", catch(read_it), E_P | E_RSVD);
    pae_table[0] = 0;
    flush();
    expect("an absent page, written in ring 3", catch_user(write_it, 2), E_W | E_U);
    pae_table[0] = (uint32_t)page | P | W | U;
    pae_pointers[1] = 0;
    check("the four pointers are kept in the processor until CR3 is written", catch(read_it).vector == -1);
    flush();
    expect("then the second GiB is absent", catch(read_it), 0);
    pae_pointers[1] = (uint32_t)pae_directories[1] | P | W; /* bit 1 is reserved */
    struct caught c = catch(load_bad_pointers);
    check("a reserved bit of a pointer: #GP(0) when CR3 is loaded", c.vector == GP && c.error == 0);
    write_cr0(read_cr0() & ~CR0_PG);
    write_cr4(read_cr4() & ~CR4_PAE);
}

void guest_main(void) {
    classic();
    pae();
}
