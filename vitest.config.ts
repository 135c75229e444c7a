import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts", "tools/**/*.test.ts"],
    pool: "forks",
    // Nobody works at the machine while its CI runs: all processors, not all but one.
    maxWorkers: "100%",
    testTimeout: 120_000,
    reporters: ["default", "./tools/plain-reporter.ts"],
  },
});
