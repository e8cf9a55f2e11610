import { describe, expect, it } from '@jest/globals';
import { ContentReports } from './content-reports.js';

describe('ContentReports', () => {
  const create = () => {
    const messages: string[] = [];
    const clock = { now: 0 };
    const reporter = {
      warn: () => undefined,
      error: (message: string) => messages.push(message),
      debug: () => undefined,
    };
    return { messages, clock, reports: new ContentReports(reporter, () => clock.now) };
  };
  const error = new Error('too large');

  it('reports the first of a route at once, and the others once a minute, by their number', () => {
    const { messages, clock, reports } = create();

    for (let n = 0; n < 1_000; n += 1) {
      reports.report('GET /a', error);
    }
    reports.report('GET /b', error);
    clock.now = 59_999;
    reports.report('GET /a', error);
    clock.now = 60_000;
    reports.report('GET /a', error);
    reports.report('GET /a', error);

    expect(messages).toEqual([
      'An event of GET /a could not be sent and was left out: too large',
      'An event of GET /b could not be sent and was left out: too large',
      'An event of GET /a could not be sent and was left out: too large So were 1000 since the last message.',
    ]);
  });

  it('is bounded, whatever routes there are', () => {
    const { messages, reports } = create();

    for (let n = 0; n < 1_000; n += 1) {
      reports.report(`GET /${n}`, error);
    }

    expect(messages).toHaveLength(101);
    expect(messages.at(-1)).toContain('Another route');
  });
});
