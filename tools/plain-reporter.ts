/**
 * A vitest reporter whose only output is the last line: `N passed, N failed`, with `, N skipped` when any were.
 */
import type { Reporter, TestModule } from "vitest/node";

export default class PlainReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0 };
    for (const module of modules) {
      let tests = 0;
      for (const test of module.children.allTests()) {
        tests++;
        const { state } = test.result();
        if (state === "passed") counts.passed++;
        else if (state === "failed") counts.failed++;
        else counts.skipped++;
      }
      // A file that could not be loaded has no tests.
      if (tests === 0 && !module.ok()) counts.failed++;
    }
    const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
    // After everything that other reporters still write.
    setTimeout(() => process.stdout.write(`${counts.passed} passed, ${counts.failed} failed${skipped}\n`), 0);
  }
}
