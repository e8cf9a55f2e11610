import { afterEach, describe, expect, it } from '@jest/globals';
import { endProcesses } from '../../support/apps/app-process.js';
import { reportText } from './print.js';
import { objectionsTo, runSoak } from './soak.js';

describe('the soak', () => {
  afterEach(endProcesses);

  it('finds what an app leaks with each client', async () => {
    const report = await runSoak({
      instances: [{ platform: 'express', log: 'memory', leaks: true }],
      rate: 1,
      seed: 1,
      samples: 8,
      everyMs: 0,
      followsBetween: 4,
    });
    const [instance] = report.instances;
    const found = instance!.trends.filter(({ grows }) => grows).map(({ measure }) => measure.name);
    expect(found).toEqual(expect.arrayContaining(['heap', 'descriptors', 'timers', 'listeners']));
    expect(objectionsTo(report)).toContain('A (express): heap grows');
    const text = reportText(report);
    expect(text).toMatch(/\| heap \|.*\| GROWS \|/);
    // What is not planted: nothing of this package is left when the clients have gone, and no event came twice.
    expect(instance!.left).toEqual({});
    expect(report.tally.faults).toEqual([]);
    expect(report.tally.events).toBeGreaterThan(0);
    expect(report.tally.compressed).toBeGreaterThan(0);
  }, 600_000);
});
