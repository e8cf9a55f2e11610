import { setImmediate as afterPromises } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import type { PostgresContext } from './context.js';
import { postgresSettings } from './options.js';
import { Outbox } from './outbox.js';

/** A context whose pauses end when the test says so. */
class ScriptedContext {
  readonly closed = new AbortController();
  readonly pauses: { ms: number; end: () => void }[] = [];
  drains = 0;

  readonly context = {
    closed: this.closed.signal,
    commands: {
      pause: (ms: number) => new Promise<void>((end) => this.pauses.push({ ms, end })),
    },
    drain: () => Promise.resolve(void (this.drains += 1)),
  } as unknown as PostgresContext;

  get lengths(): number[] {
    return this.pauses.map(({ ms }) => ms);
  }

  /** Ends the present pause, until the next one has begun. */
  async endPause(): Promise<void> {
    this.pauses.at(-1)!.end();
    await afterPromises();
  }
}

describe('the outbox', () => {
  const settings = postgresSettings({ url: 'postgres://localhost/app' });
  const record = { topic: 'a', data: '1', isJson: true };
  const transaction = () => Promise.resolve([]);

  it('checks soon for a publish that comes while it checks seldom', async () => {
    const scripted = new ScriptedContext();
    const outbox = new Outbox(settings, scripted.context);
    await outbox.add(transaction, [record]);
    for (let pause = 0; pause < 8; pause += 1) {
      await scripted.endPause();
    }
    expect(scripted.lengths).toEqual([2, 4, 8, 16, 32, 64, 128, 256, 512]);
    expect(scripted.drains).toBe(8);

    await outbox.add(transaction, [record]);
    await afterPromises();
    expect(scripted.lengths.slice(9)).toEqual([2]);
    await scripted.endPause();
    expect(scripted.drains).toBe(9);
    scripted.closed.abort();
    scripted.pauses.at(-1)!.end();
  });
});
