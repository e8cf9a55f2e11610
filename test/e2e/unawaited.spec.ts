import { setImmediate as turn } from 'node:timers/promises';
import type { LoggerService } from '@nestjs/common';
import { afterEach, describe, expect, it } from '@jest/globals';
import { SseModule, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { AwayLog } from '../support/servers/away-log.js';
import { closeAll, platforms } from '../support/apps/platforms.js';

/** What was logged, with its level. */
class Lines implements LoggerService {
  readonly all: string[] = [];
  readonly log = () => undefined;
  readonly warn = (...words: unknown[]) => this.all.push(`warn ${words.join(' ')}`);
  readonly error = (...words: unknown[]) => this.all.push(`error ${words.join(' ')}`);

  /** Those that tell of a call. */
  of(call: string): string[] {
    return this.all.filter((line) => line.includes(call));
  }
}

async function* nothing(): AsyncGenerator<never> {}

type Call = (sse: SseService) => Promise<unknown>;

/** Each call that rejects when its log is away, or its app is closing. */
const calls: [name: string, call: Call][] = [
  ['publish()', (sse) => sse.publish('t', 1)],
  ['position()', (sse) => sse.position()],
  ['runs.start()', (sse) => sse.runs.start('a', nothing)],
  ['runs.stop()', (sse) => sse.runs.stop('a')],
  ['runs.status()', (sse) => sse.runs.status('a')],
];

// Jest fails a test that leaves a rejection unhandled, as Node would end the process.
describe('a promise of ours that nobody waits for', () => {
  afterEach(closeAll);

  const start = async () => {
    const away = new AwayLog();
    const lines = new Lines();
    const app = await platforms[0]!.create(
      { imports: [SseModule.forRoot({ log: () => away })] },
      { logger: lines },
    );
    return { away, lines, app, sse: app.get(SseService) };
  };

  it.each(calls)(
    'ends no process where %s fails as the log is away, and is logged with its number',
    async (name, call) => {
      const { away, lines, sse } = await start();
      away.isAway = true;
      for (let n = 0; n < 50; n += 1) {
        void call(sse);
      }
      await waitFor(() => lines.of(name).length > 0);
      await turn();
      await turn();
      expect(lines.of(name)).toHaveLength(1);
      expect(lines.of(name)[0]).toMatch(/^error .*nothing awaits/);
      away.isAway = false;
    },
  );

  it.each(calls)('ends no process where what follows %s has no handler either', async (name, call) => {
    const { away, lines, sse } = await start();
    away.isAway = true;
    void call(sse).then(() => 'next');
    void call(sse).finally(() => undefined);
    await waitFor(() => lines.of(name).length > 0);
    away.isAway = false;
  });

  it('is said to be the app’s closing where that is the reason, as a warning', async () => {
    const { lines, app, sse } = await start();
    await app.close();
    void sse.publish('t', 1);
    void sse.runs.start('a', nothing);
    await waitFor(() => lines.of('runs.start()').length > 0);
    expect(lines.of('publish()')).toEqual([expect.stringMatching(/^warn .*shutting down/)]);
    expect(lines.of('runs.start()')).toEqual([expect.stringMatching(/^warn .*shutting down/)]);
  });

  it('rejects for what a caller gets wrong, and throws nothing in its face', async () => {
    const { sse, lines } = await start();
    await expect(sse.publish(null as never, 1)).rejects.toMatchObject({ code: 'topic-invalid' });
    await expect(sse.publish({} as never, 1)).rejects.toMatchObject({ code: 'topic-invalid' });
    void sse.publish(undefined as never, 1);
    await waitFor(() => lines.of('publish()').length > 0);
  });
});
