/**
 * Fault reasons. Document: VT-d specification, 7.1.3 "Fault Conditions and Remapping Hardware Behavior" (tables of legacy mode, scalable mode and interrupt
 * remapping), and appendix A of rev. 1.2 for the first block.
 */
export const FAULT = {
  none: 0,
  // Legacy mode.
  rootNotPresent: 0x1,
  contextNotPresent: 0x2,
  contextInvalid: 0x3,
  beyondWidth: 0x4,
  noWrite: 0x5,
  noRead: 0x6,
  pagingAccess: 0x7,
  rootAccess: 0x8,
  contextAccess: 0x9,
  rootReserved: 0xa,
  contextReserved: 0xb,
  pagingReserved: 0xc,
  // Interrupt remapping.
  requestReserved: 0x20,
  indexBeyondTable: 0x21,
  irteNotPresent: 0x22,
  irteAccess: 0x23,
  irteReserved: 0x24,
  compatibleBlocked: 0x25,
  sourceInvalid: 0x26,
  postedAccess: 0x27,
  postedReserved: 0x28,
  // Scalable mode: root, context, PASID tables.
  tableMode: 0x30,
  legacyPasid: 0x31,
  smRootAccess: 0x38,
  smRootNotPresent: 0x39,
  smRootReserved: 0x3a,
  smContextAccess: 0x40,
  smContextNotPresent: 0x41,
  smContextReserved: 0x42,
  smContextInvalid: 0x43,
  pasidDisabled: 0x45,
  pasidTooLarge: 0x46,
  ridPasidError: 0x48,
  directoryAccess: 0x50,
  directoryNotPresent: 0x51,
  directoryReserved: 0x52,
  pasidAccess: 0x58,
  pasidNotPresent: 0x59,
  pasidReserved: 0x5a,
  pasidInvalid: 0x5b,
  executeDisabled: 0x5c,
  supervisorDisabled: 0x5d,
  // Scalable mode: first level.
  firstAccess: 0x70,
  firstNotPresent: 0x71,
  firstReserved: 0x72,
  firstRootAccess: 0x73,
  nestedBeyondWidth: 0x74,
  nestedRootRead: 0x75,
  nestedRead: 0x76,
  nestedWrite: 0x77,
  // Scalable mode: second level.
  secondAccess: 0x78,
  secondNotPresent: 0x79,
  secondReserved: 0x7a,
  // Scalable mode: the result.
  notCanonical: 0x80,
  userDenied: 0x81,
  executeDenied: 0x82,
  smBeyondWidth: 0x84,
  smNoWrite: 0x85,
  smNoRead: 0x86,
  interruptAddress: 0x87,
} as const;

/**
 * Reasons that are reported even when the context, PASID-table or interrupt entry asks not to (fault processing disable): those that are found before
 * there is such an entry. The tables call the others "qualified".
 */
const UNQUALIFIED: readonly number[] = [
  ...[FAULT.rootNotPresent, FAULT.rootAccess, FAULT.contextAccess, FAULT.rootReserved],
  ...[FAULT.requestReserved, FAULT.indexBeyondTable, FAULT.irteAccess, FAULT.compatibleBlocked],
  ...[FAULT.tableMode, FAULT.legacyPasid],
  ...[FAULT.smRootAccess, FAULT.smRootNotPresent, FAULT.smRootReserved, FAULT.smContextAccess],
];

/** True when fault processing disable silences this reason. */
export const isQualified = (reason: number): boolean => !UNQUALIFIED.includes(reason);
