/** What a suite's jest report amounts to, and the lines that say so. */
import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';

/**
 * @param {{ code: number | null, report?: object, leftOpen?: boolean, timedOut?: boolean }} run
 * @param {{ ci: boolean, root: string }} context - `ci`: a test that skips itself is a failure
 */
export function judge(name, suite, run, { ci, root }) {
  const failures = [];
  const skipped = [];
  const files = [];
  let passed = 0;

  for (const file of run.report?.testResults ?? []) {
    const path = relative(root, file.name);
    files.push(path);
    for (const test of file.assertionResults) {
      if (test.status === 'passed') {
        passed += 1;
      } else if (test.status === 'failed') {
        failures.push(`${path} › ${test.fullName}`);
      } else {
        skipped.push(`${path} › ${test.fullName} (${test.status})`);
      }
    }
    // An import that throws, or an afterAll: no test of the file carries the error.
    if (file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed')) {
      failures.push(`${path}: ${firstLine(file.message)}`);
    }
  }

  if (run.timedOut) {
    failures.push(`still running after ${suite.minutes} minutes, and ended`);
  } else if (run.leftOpen) {
    failures.push('the tests ended and the process did not: something was left open');
  } else if (run.report === undefined) {
    failures.push(`jest left no report (exit code ${run.code})`);
  } else if (run.code !== 0 && failures.length === 0) {
    failures.push(`jest exited with ${run.code}`);
  }

  if (passed < suite.tests) {
    failures.push(`${passed} tests passed; test/suites/suites.json expects at least ${suite.tests}`);
  }
  if (ci) {
    failures.push(...skipped.map((test) => `skipped: ${test}`));
  }
  return { name, minimum: suite.tests, passed, skipped, failures, files };
}

/** @returns {{ text: string, failed: number }} `text` closes with `N passed, N failed` */
export function summarise(results, unrunSpecs) {
  const failures = results.flatMap(({ name, failures }) => failures.map((failure) => `${name}: ${failure}`));
  failures.push(...unrunSpecs.map((file) => `${file}: a spec that no suite runs`));
  const skipped = results.flatMap(({ name, skipped }) => skipped.map((test) => `${name}: ${test}`));
  const passed = results.reduce((sum, result) => sum + result.passed, 0);

  const lines = ['', 'suite        passed  at least  failed  skipped  seconds'];
  for (const { name, passed, minimum, failures, skipped, seconds } of results) {
    const columns = [
      [passed, 8],
      [minimum, 10],
      [failures.length, 8],
      [skipped.length, 9],
      [seconds.toFixed(1), 9],
    ];
    lines.push(name.padEnd(11) + columns.map(([value, width]) => String(value).padStart(width)).join(''));
  }
  if (skipped.length > 0) {
    lines.push('', 'SKIPPED, so nothing is known of:', ...skipped.map((line) => `  ${line}`));
  }
  if (failures.length > 0) {
    lines.push('', 'FAILED:', ...failures.map((line) => `  ${line}`));
  }
  lines.push(
    '',
    `${passed} passed, ${failures.length} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`,
  );
  return { text: lines.join('\n'), failed: failures.length };
}

/** Every spec of lib/ and test/, relative to the root. */
export function findSpecs(root) {
  const walk = (folder) =>
    readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) {
        return entry.name === 'node_modules' || path === 'test/package/apps' ? [] : walk(path);
      }
      return path.endsWith('.spec.ts') ? [path] : [];
    });
  return ['lib', 'test'].flatMap(walk);
}

function firstLine(message) {
  const [line = 'the file failed'] = message
    .replace(/\u001b\[[0-9;]*m/g, '')
    .split('\n')
    .map((text) => text.trim())
    .filter((text) => text !== '');
  return line;
}
