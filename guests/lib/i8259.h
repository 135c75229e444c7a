/* The 8259A pair. */
#ifndef I8259_H
#define I8259_H

#include <stdint.h>

#define PIC1 0x20
#define PIC2 0xA0
#define PIC_BASE 0x20 /* vectors 0x20-0x2F after pic_setup */
void pic_setup(void);          /* cascade at IRQ 2, vectors PIC_BASE.., everything masked */
void pic_mask(uint16_t mask);  /* bit n: IRQ n masked */
void pic_eoi(unsigned irq);
uint16_t pic_irr(void);
uint16_t pic_isr(void);

#endif
