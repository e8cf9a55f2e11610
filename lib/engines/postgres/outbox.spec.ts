import { setImmediate as afterPromises } from 'node:timers/promises';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import type { PostgresContext } from './context.js';
import { postgresSettings } from './options.js';
import { Outbox } from './outbox.js';

/** A context whose pauses end when the test says so. */
class ScriptedContext {
  readonly closed = new AbortController();
  readonly pauses: { ms: number; end: () => void }[] = [];
  drains = 0;
  /** What each check takes, and of how many transactions it finds events. */
  check = { ms: 0, finds: 0 };
  #now = 0;

  constructor() {
    jest.spyOn(performance, 'now').mockImplementation(() => this.#now);
  }

  readonly context = {
    closed: this.closed.signal,
    commands: {
      pause: (ms: number) => new Promise<void>((end) => this.pauses.push({ ms, end })),
    },
    drain: () => {
      this.drains += 1;
      this.#now += this.check.ms;
      return Promise.resolve(this.check.finds);
    },
  } as unknown as PostgresContext;

  get lengths(): number[] {
    return this.pauses.map(({ ms }) => ms);
  }

  /** Ends the present pause, until the next one has begun. */
  async endPause(): Promise<void> {
    const { ms, end } = this.pauses.at(-1)!;
    this.#now += ms;
    end();
    await afterPromises();
  }

  close(): void {
    this.closed.abort();
    this.pauses.at(-1)!.end();
  }
}

describe('the outbox', () => {
  afterEach(() => {
    jest.restoreAllMocks();
  });

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
    scripted.close();
  });

  it('rests after a check that found events, for as long as it takes to leave the database to others', async () => {
    const scripted = new ScriptedContext();
    const outbox = new Outbox(settings, scripted.context);
    scripted.check = { ms: 1, finds: 3 };
    await outbox.add(transaction, [record]);
    await scripted.endPause();
    await outbox.add(transaction, [record]);
    await afterPromises();
    for (const check of [
      { ms: 5, finds: 3 },
      { ms: 500, finds: 3 },
      { ms: 500, finds: 0 },
    ]) {
      scripted.check = check;
      await scripted.endPause();
    }
    // The second pause is begun again by the publish, and is no shorter for it.
    expect(scripted.lengths).toEqual([2, 10, 10, 20, 100, 16]);
    expect(scripted.drains).toBe(4);
    scripted.close();
  });
});
