/**
 * An ATA disk: the commands of the General, 48-bit Address, Power Management and Host Protected Area feature sets. T13/1410D, chapter 8; obsolete commands
 * and CHS addresses after ATA-3 (X3T10/2008D).
 *
 * Decisions. Time: 50 µs from a command to the first sector (a fast disk's cache), 200 µs for a flush. A command is looked at as a whole before anything
 * moves: when part of it lies behind the end nothing moves, and the address registers show the first sector that is not there. Writes to a disk that cannot
 * be written end with WP and ABRT. A software reset reverts what SET FEATURES and SET MULTIPLE have set, unless subcommand 66h forbids it; transfer modes stay.
 * Without the write cache every write is durable when it ends. Not modelled: SMART, security, queues, power-up in standby, READ/WRITE BUFFER and LONG.
 */
import type { CauseId, Ns } from "../../base/units.ts";
import {
  ATA_COMMAND as C,
  ATA_DEVICE,
  ATA_ERROR,
  ATA_FAMILY,
  ATA_FEATURE,
  ATA_SECTOR,
  ATA_SIGNATURE,
  ATA_STATUS,
  ATA_WITHOUT_RETRY,
} from "./ata.regs.ts";
import { AtaDrive, type AtaDriveOptions, type DriveState, freshDrive } from "./ata-drive.ts";
import { identifyData, type Words } from "./ata-identify.ts";

const ACCESS_NS: Ns = 50_000;
const FLUSH_NS: Ns = 200_000;

/** Most sectors of a block of READ and WRITE MULTIPLE. */
export const MAX_MULTIPLE = 16;
/** Ultra DMA 0 to 5. */
const ULTRA_MODES = 0x3f;
const LAST_ULTRA = 5;
const HEADS = 16;
const SECTORS_PER_TRACK = 63;
const MAX_CYLINDERS = 16_383;
/** Most sectors by addresses of 28 bits, and by words 60 and 61. */
const SECTORS_28 = 0x0fffffff;
const WORD = 2 ** 32;

export type DiskOwn = {
  heads: number;
  sectors: number;
  cylinders: number;
  /** Sectors per block, 0: SET MULTIPLE MODE was not given. */
  multiple: number;
  writeCache: boolean;
  lookAhead: boolean;
  /** Settings survive a software reset. */
  keep: boolean;
  /** Sectors that the host may use, until power off and after it. */
  usable: number;
  usableForGood: number;
  /** The command before this one was READ NATIVE MAX ADDRESS. */
  nativeRead: boolean;
};

const fresh: DiskOwn = {
  ...{ heads: HEADS, sectors: SECTORS_PER_TRACK, cylinders: 0, multiple: 0, writeCache: true, lookAhead: true },
  ...{ keep: false, usable: 0, usableForGood: 0, nativeRead: false },
};
export const freshDisk = (): DriveState & { own: DiskOwn } => freshDrive(MAX_MULTIPLE * ATA_SECTOR, { ...fresh });

export type AtaDiskOptions = AtaDriveOptions & { readonly serial: string; readonly model: string };

/** How a command that moves sectors does it. */
type Transfer = {
  readonly write: boolean;
  readonly wide: boolean;
  readonly by: "sectors" | "multiple" | "dma" | "verify";
};

const transfer = (by: Transfer["by"], write: boolean, wide: boolean): Transfer => ({ by, write, wide });
const TRANSFERS: { readonly [command: number]: Transfer } = {
  [C.readSectors]: transfer("sectors", false, false),
  [C.readSectorsExt]: transfer("sectors", false, true),
  [C.writeSectors]: transfer("sectors", true, false),
  [C.writeSectorsExt]: transfer("sectors", true, true),
  [C.readMultiple]: transfer("multiple", false, false),
  [C.readMultipleExt]: transfer("multiple", false, true),
  [C.writeMultiple]: transfer("multiple", true, false),
  [C.writeMultipleExt]: transfer("multiple", true, true),
  [C.readDma]: transfer("dma", false, false),
  [C.readDmaExt]: transfer("dma", false, true),
  [C.writeDma]: transfer("dma", true, false),
  [C.writeDmaExt]: transfer("dma", true, true),
  [C.verify]: transfer("verify", false, false),
  [C.verifyExt]: transfer("verify", false, true),
};

export class AtaDisk extends AtaDrive<DiskOwn> {
  readonly answersForDevice1 = true;
  protected readonly signature = ATA_SIGNATURE.disk;
  protected readonly resetStatus = ATA_STATUS.drdy.mask | ATA_STATUS.dsc.mask;
  protected readonly knowsDeviceReset = false;
  readonly #options: AtaDiskOptions;
  /** Sectors of the medium. */
  readonly #native: number;

  constructor(state: DriveState & { own: DiskOwn }, options: AtaDiskOptions) {
    super(state, options);
    this.#options = options;
    this.#native = Math.floor(this.medium!.bytes / ATA_SECTOR);
    this.forget();
    this.powerOn();
  }

  /** A disk fresh from the factory, as at the first power on of a machine. */
  forget(): void {
    this.state.own.usableForGood = this.#native;
  }

  protected override resetOwn(hard: boolean): void {
    const { own } = this.state;
    if (hard) {
      own.keep = false;
      own.usable = own.usableForGood;
      own.nativeRead = false;
    }
    if (own.keep) return;
    own.multiple = 0;
    own.writeCache = own.lookAhead = true;
    if (hard) this.#geometry(HEADS, SECTORS_PER_TRACK, MAX_CYLINDERS);
  }

  #geometry(heads: number, sectors: number, limit: number): void {
    const { own } = this.state;
    own.heads = heads;
    own.sectors = sectors;
    own.cylinders = Math.max(1, Math.min(limit, Math.floor(own.usable / (heads * sectors))));
  }

  protected override extraTime(code: number): Ns {
    const command = ATA_WITHOUT_RETRY[code] ?? code;
    if (command === C.flush || command === C.flushExt) return FLUSH_NS;
    const found = TRANSFERS[command];
    return found === undefined || (found.write && found.by !== "dma") ? 0 : ACCESS_NS;
  }

  protected override dataDone(cause: CauseId): void {
    const s = this.state;
    if (s.toHost && TRANSFERS[ATA_WITHOUT_RETRY[s.command] ?? s.command]?.by !== "dma") {
      this.completeQuietly();
      return;
    }
    if (!s.toHost) this.#written();
    this.complete(cause);
  }

  #written(): void {
    if (!this.state.own.writeCache) this.medium!.flush();
  }

  protected override execute(code: number): void {
    const command = ATA_WITHOUT_RETRY[code] ?? code;
    const { own } = this.state;
    const { nativeRead } = own;
    own.nativeRead = command === C.readNativeMax || command === C.readNativeMaxExt;
    this.state.toHost = true;
    const found = TRANSFERS[command];
    if (found !== undefined) this.#transfer(found);
    else if (command === C.setMax || command === C.setMaxExt) this.#setMax(command === C.setMaxExt, nativeRead);
    else this.#other(command);
  }

  #other(command: number): void {
    const s = this.state;
    switch (command) {
      case C.identify:
        s.buffer.set(this.#identify());
        this.sendBlocks(0, ATA_SECTOR, false, ATA_SECTOR);
        return;
      case C.setFeatures:
        this.#setFeatures();
        return;
      case C.setMultiple:
        this.#setMultiple();
        return;
      case C.initializeParameters:
        this.#initializeParameters();
        return;
      case C.flush:
      case C.flushExt:
        this.medium!.flush();
        this.complete();
        return;
      case C.readNativeMax:
        this.#showAddress(Math.min(this.#native, SECTORS_28) - 1, false);
        this.complete();
        return;
      case C.readNativeMaxExt:
        this.#showAddress(this.#native - 1, true);
        this.complete();
        return;
      default:
        this.#power(command);
    }
  }

  /** Power management; seeks; whatever is not known. */
  #power(command: number): void {
    const s = this.state;
    switch (command) {
      case C.standby:
        s.standby = true;
        this.complete();
        return;
      case C.idle:
        s.standby = false;
        this.complete();
        return;
      default:
        if (this.powerCommand(command)) return;
        if ((command & 0xf0) === ATA_FAMILY.recalibrate) this.complete();
        else if ((command & 0xf0) === ATA_FAMILY.seek) this.#seek();
        else this.abort();
    }
  }

  // --- sectors ------------------------------------------------------------------------------------------------------------------------------------------

  #transfer({ by, write, wide }: Transfer): void {
    const s = this.state;
    const { own } = s;
    const block = by === "multiple" ? own.multiple : 1;
    const sector = this.#address(wide);
    const asked = wide ? s.count & 0xffff : s.count & 0xff;
    const sectors = asked === 0 ? (wide ? 0x10000 : 0x100) : asked;
    if (block === 0 || (wide && !ATA_DEVICE.lba.on(s.device))) this.abort();
    else if (sector < 0 || sector + sectors > own.usable) this.#notFound(sector, wide);
    else if (write && this.medium!.readOnly) this.fail(ATA_ERROR.wp.mask | ATA_ERROR.abrt.mask);
    else {
      s.standby = false;
      const [position, bytes] = [sector * ATA_SECTOR, sectors * ATA_SECTOR];
      if (by === "verify") this.complete();
      else if (by === "dma") this.startDma(position, bytes, true, !write);
      else if (write) this.receiveBlocks(position, bytes, block * ATA_SECTOR);
      else this.sendBlocks(position, bytes, true, block * ATA_SECTOR);
    }
  }

  /** The first sector that is not there. */
  #notFound(sector: number, wide: boolean): void {
    // CHS addresses that do not exist stay as they are.
    if (sector >= 0 && (wide || ATA_DEVICE.lba.on(this.state.device)))
      this.#showAddress(Math.max(sector, this.state.own.usable), wide);
    this.fail(ATA_ERROR.idnf.mask);
  }

  /** Number of the first sector; −1 for a place that the translation of CHS has not. */
  #address(wide: boolean): number {
    const s = this.state;
    const { heads, sectors, cylinders } = s.own;
    const low = (s.low & 0xff) | ((s.mid & 0xff) << 8) | ((s.high & 0xff) << 16);
    if (wide) return ((s.low >> 8) | (s.mid & 0xff00) | ((s.high & 0xff00) << 8)) * 2 ** 24 + low;
    const head = ATA_DEVICE.head.of(s.device);
    if (ATA_DEVICE.lba.on(s.device)) return head * 2 ** 24 + low;
    const cylinder = low >> 8;
    const number = s.low & 0xff;
    if (number === 0 || number > sectors || head >= heads || cylinder >= cylinders) return -1;
    return (cylinder * heads + head) * sectors + number - 1;
  }

  #showAddress(sector: number, wide: boolean): void {
    const s = this.state;
    const high = Math.floor(sector / 2 ** 24);
    const byte = (value: number, shift: number): number => (value >>> shift) & 0xff;
    const old = (shift: number): number => (wide ? byte(high, shift) << 8 : 0);
    s.low = byte(sector % WORD, 0) | old(0);
    s.mid = byte(sector % WORD, 8) | old(8);
    s.high = byte(sector % WORD, 16) | old(16);
    if (!wide) s.device = ATA_DEVICE.head.put(s.device, Math.min(high, ATA_DEVICE.head.max));
  }

  #seek(): void {
    const sector = this.#address(false);
    if (sector < 0 || sector >= this.state.own.usable) this.#notFound(sector, false);
    else this.complete();
  }

  // --- settings -----------------------------------------------------------------------------------------------------------------------------------------

  #setFeatures(): void {
    const { own } = this.state;
    if (this.wantsTransferMode) {
      this.setTransferMode(LAST_ULTRA);
      return;
    }
    switch (this.feature) {
      case ATA_FEATURE.enableWriteCache:
        own.writeCache = true;
        break;
      case ATA_FEATURE.disableWriteCache:
        own.writeCache = false;
        this.medium!.flush();
        break;
      case ATA_FEATURE.enableLookAhead:
        own.lookAhead = true;
        break;
      case ATA_FEATURE.disableLookAhead:
        own.lookAhead = false;
        break;
      case ATA_FEATURE.keepSettings:
        own.keep = true;
        break;
      case ATA_FEATURE.revertSettings:
        own.keep = false;
        break;
      default:
        this.abort();
        return;
    }
    this.complete();
  }

  /** A count of 0, or one that is no power of two, is refused, and disables the mode (8.49). */
  #setMultiple(): void {
    const count = this.state.count & 0xff;
    const known = count >= 1 && count <= MAX_MULTIPLE && (count & (count - 1)) === 0;
    this.state.own.multiple = known ? count : 0;
    if (known) this.complete();
    else this.abort();
  }

  #initializeParameters(): void {
    const sectors = this.state.count & 0xff;
    if (sectors === 0) {
      this.abort();
      return;
    }
    this.#geometry(ATA_DEVICE.head.of(this.state.device) + 1, sectors, 0xffff);
    this.complete();
  }

  /** SET MAX ADDRESS (8.47): right behind READ NATIVE MAX ADDRESS only; bit 0 of the count makes it last. */
  #setMax(wide: boolean, nativeRead: boolean): void {
    const { own, count, device } = this.state;
    const last = this.#address(wide);
    if (!nativeRead || !ATA_DEVICE.lba.on(device)) this.abort();
    else if (last >= this.#native) this.fail(ATA_ERROR.idnf.mask);
    else {
      own.usable = last + 1;
      if ((count & 1) !== 0) own.usableForGood = own.usable;
      this.complete();
    }
  }

  // --- identification -------------------------------------------------------------------------------------------------------------------------------------

  #identify(): Uint8Array {
    const { unit } = this;
    const { own, dmaMode } = this.state;
    const { serial, model } = this.#options;
    const { heads, sectors, cylinders, usable } = own;
    const physical = Math.max(1, Math.min(MAX_CYLINDERS, Math.floor(usable / (HEADS * SECTORS_PER_TRACK))));
    const reach = cylinders * heads * sectors;
    const short = Math.min(usable, SECTORS_28);
    const cached = (own.lookAhead ? 0x40 : 0) | (own.writeCache ? 0x20 : 0);
    const words: Words = {
      ...{ 0: 0x0040, 1: physical, 3: HEADS, 6: SECTORS_PER_TRACK, 47: 0x8000 | MAX_MULTIPLE, 53: 0x0007 },
      ...{ 54: cylinders, 55: heads, 56: sectors, 57: reach & 0xffff, 58: reach >>> 16 },
      ...{ 59: own.multiple === 0 ? 0 : 0x0100 | own.multiple, 60: short & 0xffff, 61: short >>> 16 },
      // NOP, host protected area, look-ahead, write cache, power management; FLUSH CACHE (EXT), 48-bit addresses.
      ...{ 82: 0x4468, 83: 0x7400, 84: 0x4000, 85: 0x4408 | cached, 86: 0x3400, 87: 0x4000 },
      ...{ 100: usable & 0xffff, 101: (usable % WORD) >>> 16, 102: Math.floor(usable / WORD) & 0xffff },
    };
    return identifyData({ unit, serial, model, dmaMode }, ULTRA_MODES, words);
  }
}
