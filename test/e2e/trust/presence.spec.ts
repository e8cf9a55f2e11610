import { afterEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { createPresenceApp } from './presence-app.js';

afterEach(closeAll);

const [express] = platforms;
const presence = { graceMs: 200 };

describe.each(platforms)('presence on $name', (platform) => {
  it('tells a page who is there: both endpoint styles, two tabs, a client that leaves', async () => {
    const { app, idsOf, sse } = await createPresenceApp(platform, { presence });
    const page = await open(app, '/rooms/1/people');
    const next = async () => JSON.parse((await page.next()).data) as unknown;
    expect(await next()).toEqual({ joined: [], updated: [], left: [], count: 0, isCurrent: true });

    const anna = { id: 'anna', data: { name: 'ANNA' } };
    const tabs = await Promise.all(['sse', 'connect'].map((path) => open(app, `/rooms/1/${path}?id=anna`)));
    expect(await next()).toEqual({ joined: [anna], updated: [], left: [], count: 1, isCurrent: true });
    await tabs[0]!.close();
    await waitFor(() => sse.connections.size === 2);
    await open(app, '/rooms/1/sse?id=ben');
    expect(await next()).toMatchObject({ joined: [{ id: 'ben' }], count: 2 });
    await tabs[1]!.close();
    expect(await next()).toEqual({ joined: [], updated: [], left: [anna], count: 1, isCurrent: true });
    expect(await idsOf('1')).toEqual(['ben']);
    expect(await idsOf('2')).toEqual([]);
  });

  it('counts no client that asked with HEAD, and refuses one past a bound', async () => {
    const { app, idsOf } = await createPresenceApp(platform, {
      presence: { ...presence, maxMembersPerTopic: 1 },
    });
    await (await open(app, '/rooms/1/connect?id=anna', { method: 'HEAD' })).close();
    await open(app, '/rooms/1/sse?id=ben');
    await waitFor(async () => (await idsOf('1')).length > 0);
    expect(await idsOf('1')).toEqual(['ben']);
    const refused = await open(app, '/rooms/1/sse?id=carl');
    expect(refused.status).toBe(500);
    expect((await open(app, '/rooms/2/sse?id=carl')).status).toBe(200);
  });
});

it('is asked for a topic, not for a pattern', async () => {
  const { sse } = await createPresenceApp(express!);
  const code = (topic: string) => {
    try {
      return sse.presence(topic).topic;
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  expect(['rooms.1', 'rooms.*', ''].map(code)).toEqual(['rooms.1', 'topic-invalid', 'topic-invalid']);
});
