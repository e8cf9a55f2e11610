import { afterEach, describe, expect, it } from '@jest/globals';
import { openSse } from 'nestjs-event-stream/testing';
import { AppProcess, endProcesses } from '../../support/apps/app-process.js';

describe.each(['Express', 'Fastify'])('a process with streams that are not awaited, on %s', (adapter) => {
  afterEach(endProcesses);

  it('gets no uncaught error from their failures, and lives', async () => {
    const process = await AppProcess.start(new URL('stream-process.app.ts', import.meta.url), adapter);
    const answers: Record<string, unknown> = {};

    for (const path of ['/early', '/early-http', '/no-source', '/no-response', '/late']) {
      const answer = await openSse(process.base, path);
      answers[path] = [answer.status, await answer.ended];
      await answer.close();
    }
    for (const producer of ['teardown', 'return', 'cancel', 'abort', 'readable', 'late-readable']) {
      const stream = await openSse(process.base, `/leave/${producer}`);
      await stream.next();
      await stream.close();
    }

    const alive = await openSse(process.base, '/alive');
    expect(await alive.body()).toBe('alive');
    await alive.close();
    expect(process.output).toMatch(/^listening on \d+\n$/);
    expect(process.exitCode).toBeUndefined();
    expect(answers).toEqual({
      '/early': [500, 'complete'],
      '/early-http': [429, 'complete'],
      '/no-source': [500, 'complete'],
      '/no-response': [200, 'complete'],
      '/late': [200, 'aborted'],
    });
  });
});
