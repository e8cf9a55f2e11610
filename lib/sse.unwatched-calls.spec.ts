import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { HttpAdapterHost } from '@nestjs/core';
import { waitFor } from 'nestjs-event-stream/testing';
import { AwayLog } from '../test/support/servers/away-log.js';
import { ConnectionRegistry } from './connection/index.js';
import { Limits } from './limits/index.js';
import { Runs } from './runs/index.js';
import { Admission } from './sse.admission.js';
import { ConnectionKeys } from './sse.connection-keys.js';
import { publicErrorOfRun } from './sse.failure.js';
import { HealthMonitor } from './sse.health.js';
import { resolveOptions } from './sse.options.js';
import { SseReporter } from './sse.reporter.js';
import { SseService } from './sse.service.js';
import { Topics } from './topics/index.js';
import { Revalidation, Revocations } from './trust/index.js';

/** Reports so far, each with its level. */
class Lines extends SseReporter {
  readonly all: string[] = [];

  override warn(message: string): void {
    this.all.push(`warn ${message}`);
  }

  override error(message: string): void {
    this.all.push(`error ${message}`);
  }

  override debug(): void {}
}

async function* nothing(): AsyncGenerator<never> {}

// Jest fails a test that leaves a rejection unhandled, just as Node would end the process.
describe('a call of the service that nothing awaits', () => {
  let away: AwayLog;
  let lines: Lines;
  let topics: Topics;
  let runs: Runs;
  let sse: SseService;

  beforeEach(async () => {
    away = new AwayLog();
    lines = new Lines();
    const options = resolveOptions({});
    topics = new Topics(away, options.topics, lines);
    await topics.start();
    const { maxConnections, drain } = options;
    const registry = new ConnectionRegistry({ maxConnections, drain, reporter: lines, following: topics });
    runs = new Runs(away, options.runs, {
      wheel: registry.wheel,
      reporter: lines,
      publicError: publicErrorOfRun,
    });
    const health = new HealthMonitor(topics.health, lines);
    const keys = new ConnectionKeys(options, new HttpAdapterHost(), lines);
    const revocations = new Revocations(away, {
      isEnabled: true,
      wheel: registry.wheel,
      reporter: lines,
      onRevoked: () => undefined,
    });
    const admission = new Admission(
      registry,
      keys,
      new Limits(options.limits, lines),
      revocations,
      new Revalidation(undefined, registry),
    );
    sse = new SseService(registry, options, lines, topics, health, runs, admission, undefined, revocations);
  });

  afterEach(async () => {
    away.isAway = false;
    await runs.close();
    await topics.close();
  });

  const calls: [string, () => Promise<unknown>][] = [
    ['publish()', () => sse.publish('t', 1)],
    ['position()', () => sse.position()],
    ['revoke()', () => sse.revoke('ada')],
    ['runs.start()', () => sse.runs.start('a', nothing)],
    ['runs.of().start()', () => sse.runs.of('ada').start('a', nothing)],
    ['runs.stop()', () => sse.runs.stop('a')],
    ['runs.status()', () => sse.runs.status('a')],
  ];

  it.each(calls)('is reported, and leaves no rejection to Node: %s', async (name, call) => {
    away.isAway = true;
    void call();
    void call().then(() => 'next');
    void call().finally(() => undefined);
    await waitFor(() => lines.all.length > 0);
    for (let n = 0; n < 3; n += 1) {
      await turn();
    }
    expect(lines.all).toEqual([`error ${name.replace('of().', '')} failed, and nothing awaits it.`]);
  });

  it.each(calls)('leaves the failure to a caller who awaits: %s', async (_name, call) => {
    away.isAway = true;
    await expect(call()).rejects.toThrow(/away|at the moment/);
    await expect(call().then(() => 'next')).rejects.toThrow(/away|at the moment/);
    expect(lines.all).toEqual([]);
  });

  it('is reported again for another reason, and counts what was left out', async () => {
    for (const topic of ['a b', 'a b', 'c d']) {
      void sse.publish(topic, 1);
    }
    await waitFor(() => lines.all.length > 0);
    away.isAway = true;
    void sse.publish('t', 1);
    await waitFor(() => lines.all.length > 1);
    expect(lines.all).toEqual([
      'error publish() failed, and nothing awaits it.',
      'error publish() failed, and nothing awaits it.',
    ]);
  });
});
