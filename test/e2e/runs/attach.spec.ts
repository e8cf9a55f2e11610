import { afterEach, describe, expect, it } from '@jest/globals';
import { closeAll, open, platforms } from '../../support/platforms.js';
import { createRunsApp } from './runs-app.js';

describe.each(platforms)('a run on $name', (platform) => {
  afterEach(closeAll);

  it('is streamed to who started it, to its end', async () => {
    const { app, source, controller, nothingLeft } = await createRunsApp(platform);
    source('a').push('one', { type: 'two', data: { n: 2 } });

    const stream = await open(app, '/runs/a', { method: 'POST' });
    const events = await stream.take(2);
    source('a').push('three').end();
    await stream.until(({ ending }) => ending !== undefined);

    expect(stream.status).toBe(200);
    expect(events.map(({ type, data }) => [type, data])).toEqual([
      ['message', 'one'],
      ['two', '{"n":2}'],
    ]);
    expect(stream.events.at(-1)?.data).toBe('three');
    expect(stream.ending).toBe('ended');
    expect(controller.ends).toEqual([{ reason: 'ended', events: 3, bytes: expect.any(Number) }]);
    await nothingLeft();
  });

  it('is given in full to who comes later, and made once', async () => {
    const { app, source } = await createRunsApp(platform, { format: 'json' });
    const first = open(app, '/runs/a', { method: 'POST' });
    void first.catch(() => undefined);
    source('a').push(1, 2, 3);
    const stream = await open(app, '/runs/a');
    await stream.take(3);
    source('a').push(4).end();
    await stream.until(({ ending }) => ending !== undefined);

    expect(stream.events.map(({ type, data }) => [type, data])).toEqual([
      ['message', '1'],
      ['message', '2'],
      ['message', '3'],
      ['message', '4'],
      ['done', 'null'],
    ]);
    expect(source('a').starts).toBe(1);
  });
});
