/*
 * The Sound Blaster 16 at 0x220 (Creative, Sound Blaster Series Hardware Programming Guide), interrupt 5, channels 1 and 5 of the
 * 8237A: DSP, single-cycle and auto-initialise transfers of 8 and 16 bits, interrupts and their acknowledgement, mixer.
 */
#include "guest.h"

enum { MIXER_ADDRESS = 0x224, MIXER_DATA = 0x225, DSP_RESET = 0x226, DSP_READ = 0x22A, DSP_WRITE = 0x22C,
       DSP_STATUS = 0x22E, DSP_ACK16 = 0x22F };

static void dsp(uint8_t value) {
    wait_until((inb(DSP_WRITE) & 0x80) == 0);
    outb(DSP_WRITE, value);
}
static unsigned answer(void) { return wait_until(inb(DSP_STATUS) & 0x80) ? inb(DSP_READ) : 0x100; }

static uint8_t mixer(uint8_t reg) {
    outb(MIXER_ADDRESS, reg);
    return inb(MIXER_DATA);
}
static void set_mixer(uint8_t reg, uint8_t value) {
    outb(MIXER_ADDRESS, reg);
    outb(MIXER_DATA, value);
}

static volatile unsigned interrupts;
static volatile uint8_t source;
static void sound_interrupt(struct trap *trap) {
    (void)trap;
    interrupts++;
    source = mixer(0x82) & 3;
    if (source & 1) inb(DSP_STATUS);
    if (source & 2) inb(DSP_ACK16);
    lapic_eoi();
}

#define BUFFER 0x40000UL
/* Memory to device, single mode; 8 bits on channel 1, 16 on channel 5. */
static void channel(unsigned wide, bool autoinitialize, unsigned transfers) {
    uint16_t base = wide ? 0xC0 : 0, shift = wide ? 1 : 0;
    uint32_t address = BUFFER >> shift;
    outb((uint16_t)(base + (0xA << shift)), 5);
    outb((uint16_t)(base + (0xC << shift)), 0);
    outb((uint16_t)(base + (0xB << shift)), (uint8_t)(0x49 | (autoinitialize ? 0x10 : 0)));
    outb((uint16_t)(base + (2 << shift)), (uint8_t)address);
    outb((uint16_t)(base + (2 << shift)), (uint8_t)(address >> 8));
    outb((uint16_t)(base + (3 << shift)), (uint8_t)(transfers - 1));
    outb((uint16_t)(base + (3 << shift)), (uint8_t)((transfers - 1) >> 8));
    outb(wide ? 0x8B : 0x83, BUFFER >> 16);
    outb((uint16_t)(base + (0xA << shift)), 1);
}
static unsigned count8(void) {
    outb(0xC, 0);
    unsigned low = inb(3);
    return low | (unsigned)inb(3) << 8;
}

static void processor(void) {
    outb(DSP_RESET, 1);
    delay_us(10);
    outb(DSP_RESET, 0);
    check_equal("reset: AA comes", answer(), 0xAA);
    dsp(0xE1);
    unsigned major = answer(), minor = answer();
    check("version 4.xx", major == 4 && minor < 100);
    dsp(0xE0);
    dsp(0x5A);
    check_equal("identification: the complement", answer(), 0xA5);
    dsp(0xE4);
    dsp(0x3C);
    dsp(0xE8);
    check_equal("test register", answer(), 0x3C);
    dsp(0xD1);
    dsp(0xD8);
    check_equal("speaker on", answer(), 0xFF);
    dsp(0xD3);
    dsp(0xD8);
    check_equal("speaker off", answer(), 0x00);
}

static void mixer_registers(void) {
    check_equal("mixer: interrupt 5", mixer(0x80) & 15, 2);
    check_equal("mixer: channels 1 and 5", mixer(0x81), 0x22);
    set_mixer(0x30, 0xA8);
    set_mixer(0x31, 0x58);
    check("mixer: master volume", mixer(0x30) == 0xA8 && mixer(0x31) == 0x58);
    set_mixer(0, 0);
    check_equal("mixer: reset", mixer(0x30), 0xC0);
}

static void transfers(void) {
    for (unsigned i = 0; i < 0x1000; i++) ((volatile uint8_t *)BUFFER)[i] = (uint8_t)(0x80 + (i & 63));
    on_vector(0x35, sound_interrupt);
    ioapic_route(5, 0x35, 0);
    sti();

    channel(0, false, 256);
    dsp(0x41); /* 44100 a second: a block of 256 lasts 5.8 ms */
    dsp(0xAC);
    dsp(0x44);
    dsp(0x14);
    dsp(255);
    dsp(0);
    check("8 bits, single cycle: one interrupt at the end", wait_until(interrupts == 1) && source == 1);
    check_equal("8 bits, single cycle: the channel is through", count8(), 0xFFFF);
    check("8 bits, single cycle: terminal count", inb(8) & 2);

    interrupts = 0;
    channel(0, true, 512);
    dsp(0xC6);
    dsp(0x20);
    dsp(255);
    dsp(0);
    check("8 bits, auto-initialise: an interrupt per block", wait_until(interrupts >= 4) && source == 1);
    dsp(0xD0);
    delay_us(2000);
    unsigned paused = count8();
    delay_us(3000);
    check("pause: the count stands still", count8() == paused);
    dsp(0xD4);
    check("continue: it moves again", wait_until(count8() != paused));
    dsp(0xDA);
    /* Longer than a block: QEMU takes sound in pieces of 10 ms. */
    delay_us(30000);
    interrupts = 0;
    delay_us(9000);
    check_equal("exit auto-initialise: it ends with the block", interrupts, 0);

    interrupts = 0;
    channel(1, false, 512);
    dsp(0xB0);
    dsp(0x30);
    dsp(0xFF);
    dsp(0x01);
    check("16 bits, stereo, single cycle: one interrupt at the end", wait_until(interrupts == 1) && source == 2);
    check("16 bits: terminal count", inb(0xD0) & 2);

    interrupts = 0;
    dsp(0xF2);
    check("F2: an interrupt by command", wait_until(interrupts == 1) && source == 1);
    cli();
}

void guest_main(void) {
    outb(DSP_RESET, 1);
    delay_us(10);
    outb(DSP_RESET, 0);
    delay_us(500);
    if (inb(DSP_STATUS) == 0xFF && inb(DSP_READ) != 0xAA) {
        skip("no Sound Blaster");
        return;
    }
    lapic_setup();
    processor();
    mixer_registers();
    transfers();
}
