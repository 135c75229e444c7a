/*
 * The I/OAT engine for guests: found by its id with configuration mechanism 1, its registers at an address of our own, channel 0. Intel Atom S1200 data
 * sheet vol. 2, "DMA engine".
 */
#ifndef IOAT_H
#define IOAT_H

#include "guest.h"

#define CONFIG_ADDRESS 0xCF8
#define CONFIG_DATA    0xCFC
#define CONFIG_ENABLE  0x80000000u
enum { COMMAND = 0x04, STATUS = 0x06, BAR0 = 0x10, BAR1 = 0x14, CAPABILITIES = 0x34 };
#define C_MEMORY 0x002
#define C_MASTER 0x004
#define CAP_MSI  0x05
#define CAP_MSIX 0x11

#define IOAT_ID   0x0C508086u
#define IOAT_BASE 0xE0000000u
#define IOAT_MSIX_TABLE 0x1000
/* Registers of all channels, then those of channel 0. */
enum { CHANCNT = 0x00, XFERCAP = 0x01, INTRCTRL = 0x03, ATTNSTATUS = 0x04, CBVER = 0x08, DMACAPABILITY = 0x10,
       CHANCTRL = 0x80, CHANCMD = 0x84, DMACOUNT = 0x86, CHANSTS = 0x88, CHAINADDR = 0x90, CHANCMP = 0x98, CHANERR = 0xA8 };
#define INTR_ENABLE     0x1
#define INTR_PER_VECTOR 0x8
#define CTRL_REARM            0x01
#define CTRL_ERROR_COMPLETION 0x04
#define CTRL_ERROR_INTERRUPT  0x10
#define CMD_SUSPEND 0x04
#define CMD_ABORT   0x08
#define CMD_RESET   0x20
enum { ACTIVE = 0, IDLE = 1, SUSPENDED = 2, HALTED = 3 };

struct descriptor {
    uint32_t size, control;
    uint64_t source, destination, next;
    uint64_t more[4]; /* XOR: sources 2 to 5; P+Q: sources 2 and 3, coefficients, Q */
} __attribute__((aligned(64)));
#define D_INTERRUPT            0x01u
#define D_SOURCE_NO_SNOOP      0x02u
#define D_DESTINATION_NO_SNOOP 0x04u
#define D_COMPLETION           0x08u
#define D_NULL                 0x20u
#define D_SOURCES(n) (((n) - 2u) << 5)
#define OP_COPY         0x00000000u
#define OP_FILL         0x01000000u
#define OP_XOR          0x87000000u
#define OP_XOR_VALIDATE 0x88000000u
#define OP_PQ           0x89000000u
#define OP_PQ_VALIDATE  0x8A000000u

static unsigned ioat; /* bus, device and function, shifted for CONFIG_ADDRESS */

static inline uint32_t config_read(unsigned reg) {
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | ioat | (reg & 0xFC));
    return inl(CONFIG_DATA) >> (reg & 3) * 8;
}
static inline void config_write(unsigned reg, uint32_t value) {
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | ioat | (reg & 0xFC));
    outl(CONFIG_DATA, value);
}
static inline void config_write16(unsigned reg, uint16_t value) {
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | ioat | (reg & 0xFC));
    outw((uint16_t)(CONFIG_DATA + (reg & 2)), value);
}

static inline uint64_t address_of(const volatile void *at) { return (uint64_t)(uintptr_t)at; }
static inline uint8_t ioat_read8(unsigned reg) { return *(volatile uint8_t *)(uintptr_t)(IOAT_BASE + reg); }
static inline uint16_t ioat_read16(unsigned reg) { return *(volatile uint16_t *)(uintptr_t)(IOAT_BASE + reg); }
static inline uint32_t ioat_read(unsigned reg) { return mmio_read(IOAT_BASE + reg); }
static inline void ioat_write8(unsigned reg, uint8_t value) { *(volatile uint8_t *)(uintptr_t)(IOAT_BASE + reg) = value; }
static inline void ioat_write16(unsigned reg, uint16_t value) { *(volatile uint16_t *)(uintptr_t)(IOAT_BASE + reg) = value; }
static inline void ioat_write(unsigned reg, uint32_t value) { mmio_write(IOAT_BASE + reg, value); }
static inline void ioat_write64(unsigned reg, uint64_t value) {
    ioat_write(reg, (uint32_t)value);
    ioat_write(reg + 4, (uint32_t)(value >> 32));
}
static inline unsigned ioat_state(void) { return ioat_read(CHANSTS) & 7; }

/* Finds the function, puts its registers at IOAT_BASE and lets it master the bus. False: there is none. */
static inline bool ioat_setup(void) {
    extern uint64_t page_directory_high[512];
    for (unsigned device = 0; device < 32; device++) {
        ioat = device << 11;
        if (config_read(0) == IOAT_ID) {
            config_write16(COMMAND, 0);
            config_write(BAR0, IOAT_BASE);
            config_write(BAR1, 0);
            config_write16(COMMAND, C_MEMORY | C_MASTER);
            page_directory_high[(IOAT_BASE - 0xC0000000u) >> 21] = IOAT_BASE | 0x9F;
            write_cr3(read_cr3());
            return true;
        }
    }
    return false;
}

/* Starts the chain at `first` as far as `count` descriptors. The status goes to `completion`. */
static inline void ioat_start(const volatile struct descriptor *first, unsigned count, volatile uint64_t *completion) {
    ioat_write64(CHANCMP, address_of(completion));
    ioat_write64(CHAINADDR, address_of(first));
    ioat_write16(DMACOUNT, (uint16_t)count);
}
#endif
