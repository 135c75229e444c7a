/** How many random steps each controller's fuzz target takes: 200 000 in the test command, 10 million in the nightly run. */
export const FUZZ_STEPS = process.env.IRETQ_NIGHTLY === undefined ? 200_000 : 10_000_000;
