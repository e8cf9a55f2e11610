import { afterEach, expect, it } from '@jest/globals';
import { AppProcess, endProcesses } from '../support/apps/app-process.js';
import { closeAll, open } from '../support/apps/platforms.js';

afterEach(async () => {
  await closeAll();
  await endProcesses();
});

it('a worker of a cluster warns, once, that its log is its own', async () => {
  const app = await AppProcess.start(new URL('cluster.app.ts', import.meta.url));
  const streams = [await open(app.base, '/'), await open(app.base, '/')];
  await Promise.all(streams.map((stream) => stream.next()));
  await app.until(({ output }) => output.includes('one of a cluster'));
  expect(app.output.split('one of a cluster')).toHaveLength(2);
});
