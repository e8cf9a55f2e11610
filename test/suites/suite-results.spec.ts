import { describe, expect, it } from '@jest/globals';
import { findSpecs, judge, summarise } from './suite-results.mjs';

const suite = { tests: 2, minutes: 1 };
const here = { ci: false, root: '/repo' };
const inCi = { ci: true, root: '/repo' };

function report(...tests: [name: string, status: string][]) {
  const assertionResults = tests.map(([fullName, status]) => ({ fullName, status }));
  const status = tests.some(([, outcome]) => outcome === 'failed') ? 'failed' : 'passed';
  return { testResults: [{ name: '/repo/lib/a.spec.ts', status, message: '', assertionResults }] };
}
const twoPassed = report(['a', 'passed'], ['b', 'passed']);

describe('a suite', () => {
  it('passes with as many tests as the manifest expects', () => {
    const result = judge('unit', suite, { code: 0, report: twoPassed }, inCi);
    expect(result).toMatchObject({ passed: 2, failures: [], skipped: [], files: ['lib/a.spec.ts'] });
  });

  it('fails when tests have vanished, though jest is content', () => {
    const result = judge('unit', suite, { code: 0, report: report(['a', 'passed']) }, here);
    expect(result.failures).toEqual(['1 tests passed; test/suites/suites.json expects at least 2']);
    expect(judge('unit', suite, { code: 0, report: { testResults: [] } }, here).failures).toHaveLength(1);
  });

  it('fails by name with each test that fails, and with a file that none of its tests explains', () => {
    const failed = report(['a', 'passed'], ['b', 'passed'], ['c', 'failed']);
    failed.testResults.push({
      name: '/repo/lib/b.spec.ts',
      status: 'failed',
      message: '\n\u001b[31mNo module x\u001b[0m\nstack',
      assertionResults: [],
    });
    expect(judge('unit', suite, { code: 1, report: failed }, here).failures).toEqual([
      'lib/a.spec.ts › c',
      'lib/b.spec.ts: No module x',
    ]);
  });

  it('fails when it leaves the process open, runs out of time, writes no report, or jest says no', () => {
    const failures = (run: object) =>
      judge('unit', suite, { code: 0, report: twoPassed, ...run }, here).failures;
    expect(failures({ leftOpen: true })).toEqual([
      'the tests ended and the process did not: something was left open',
    ]);
    expect(failures({ timedOut: true })).toEqual(['still running after 1 minutes, and ended']);
    expect(failures({ report: undefined, code: 1 })[0]).toBe('jest left no report (exit code 1)');
    expect(failures({ code: 1 })).toEqual(['jest exited with 1']);
  });

  it('names a test that skips itself, and in CI fails for it', () => {
    const run = { code: 0, report: report(['a', 'passed'], ['b', 'passed'], ['c', 'pending']) };
    expect(judge('unit', suite, run, here)).toMatchObject({
      skipped: ['lib/a.spec.ts › c (pending)'],
      failures: [],
    });
    expect(judge('unit', suite, run, inCi).failures).toEqual(['skipped: lib/a.spec.ts › c (pending)']);
  });
});

describe('the summary', () => {
  const result = {
    name: 'unit',
    minimum: 2,
    passed: 2,
    skipped: [] as string[],
    failures: [] as string[],
    files: [],
    seconds: 1,
  };
  const lastLine = (text: string) => text.split('\n').at(-1);

  it('closes with the count', () => {
    expect(lastLine(summarise([result, { ...result, passed: 5 }], []).text)).toBe('7 passed, 0 failed');
  });

  it('names what failed and what was skipped', () => {
    const { text, failed } = summarise(
      [{ ...result, failures: ['x'], skipped: ['needs nginx'] }],
      ['test/lost.spec.ts'],
    );
    expect(failed).toBe(2);
    expect(lastLine(text)).toBe('2 passed, 2 failed, 1 skipped');
    expect(text).toContain('FAILED:\n  unit: x\n  test/lost.spec.ts: a spec that no suite runs');
    expect(text).toContain('SKIPPED, so nothing is known of:\n  unit: needs nginx');
  });
});

it('finds the specs of lib/ and test/, and none in node_modules or the throw-away apps', () => {
  const specs = findSpecs(new URL('../..', import.meta.url).pathname);
  expect(specs).toContain('test/suites/suite-results.spec.ts');
  expect(specs.filter((file) => /node_modules\/|test\/package\/apps\//.test(file))).toEqual([]);
});
