import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts", "tools/**/*.test.ts"],
    pool: "forks",
    testTimeout: 120_000,
    reporters: ["default", "./tools/plain-reporter.ts"],
  },
});
