/** Why a machine stopped for good, and the exit status of the command that ran it. */
export type ExitKind =
  | "power-off"
  | "guest-exit"
  | "reset"
  | "triple-fault"
  | "idle"
  | "time-limit"
  | "instruction-limit"
  | "interrupted"
  | "host-error";

export type Exit = {
  readonly kind: ExitKind;
  /** 0 powered off; odd: the guest's own; 70 triple fault; 72 a limit was reached (or nothing could happen any more). */
  readonly status: number;
  /** One line for people. */
  readonly detail: string;
};

export const STATUS = { usage: 64, image: 66, tripleFault: 70, limit: 72, io: 74 } as const;
