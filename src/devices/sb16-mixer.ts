/**
 * The CT1745 mixer of the Sound Blaster 16 (Creative, "Sound Blaster Series Hardware Programming Guide", chapter 4): registers that keep their value, the Sound
 * Blaster Pro's as a view of them. Volumes change nothing: what is recorded are the samples that go to the converter. Interrupt and DMA set-up are
 * the card's (sound-blaster16.ts).
 */
import { MIXER_MASK, MIXER_PRO, MIXER_RESET } from "./sb16.regs.ts";

export type MixerState = { address: number; registers: Uint8Array };

export class Sb16Mixer {
  readonly state: MixerState = { address: 0, registers: new Uint8Array(0x50) };

  reset(): void {
    this.state.registers.fill(0);
    for (const [register, value] of MIXER_RESET) this.state.registers[register] = value;
  }

  read(): number {
    const { address, registers } = this.state;
    const pro = MIXER_PRO[address];
    if (pro !== undefined) return (registers[pro[0]]! & 0xf0) | (registers[pro[1]]! >> 4);
    // The microphone's three bits.
    if (address === 0x0a) return registers[0x3a]! >> 5;
    return exists(address) ? registers[address]! : 0xff;
  }

  write(value: number): void {
    const { address, registers } = this.state;
    const pro = MIXER_PRO[address];
    if (pro !== undefined) {
      registers[pro[0]] = value & 0xf0;
      registers[pro[1]] = (value & 0x0f) << 4;
    } else if (address === 0x0a) registers[0x3a] = (value & 7) << 5;
    else if (exists(address)) registers[address] = value & MIXER_MASK(address);
  }
}

const exists = (register: number): boolean => register >= 0x30 && register <= 0x47;
