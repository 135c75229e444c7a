/**
 * Names of address spaces, by which cached translations are told apart (VT-d specification 6.2.1 "Tagging of Cached Translations"): the domain id, and for
 * first-level and nested translation the PASID. One exact number, so that a look-up compares once.
 */

const PASIDS = 2 ** 20;
const UNIT = 2 * PASIDS;

/** The domain's second-level address space. */
export const domainSpace = (domain: number): number => domain * UNIT;
/** The first-level address space of a PASID in a domain. */
export const pasidSpace = (domain: number, pasid: number): number => domain * UNIT + PASIDS + pasid;
export const domainOf = (space: number): number => Math.floor(space / UNIT);
/** A first-level or nested address space. */
export const isFirstLevel = (space: number): boolean => space % UNIT >= PASIDS;

/** Spreads spaces over the places of a cache. */
export const saltOf = (space: number): number =>
  Math.imul((space % UNIT) + Math.floor(space / UNIT), 0x9e3779b1) >>> 16;

/** Permissions of a translation: for requests with user privilege, and the same three bits above for supervisor privilege. */
export const RIGHTS = { read: 1, write: 2, execute: 4 } as const;
export const SUPERVISOR_SHIFT = 3;
