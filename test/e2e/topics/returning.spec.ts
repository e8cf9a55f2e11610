import { afterEach, describe, expect, it } from '@jest/globals';
import { memory } from 'nestjs-event-stream';
import type { EventLogFactory } from 'nestjs-event-stream';
import { Crowd } from '../../support/clients/crowd.js';
import { baseOf, closeAll, platforms } from '../../support/apps/platforms.js';
import { createTopicsApp, nothingLeft } from './topics-app.js';

const CLIENTS = 1_000;
const EVENTS = 5_000;
/** The events of the topic that they follow: one of so many. */
const EACH = 50;

/** memory(), and where each page began that it was asked for. */
function countingLog(asked: number[]): EventLogFactory {
  return () => {
    const store = memory()();
    const page = store.log.page.bind(store.log);
    store.log.page = (from, limit) => {
      asked.push(from);
      return page(from, limit);
    };
    return store;
  };
}

describe.each(platforms)('many clients that come back at once, on $name', (platform) => {
  afterEach(closeAll);

  it('get what they have missed out of few pages, wherever below the ring each of them was', async () => {
    const asked: number[] = [];
    const context = await createTopicsApp(platform, { log: countingLog(asked), ringEvents: 500 });
    context.follow((connection) => connection.follow('wanted'));
    const topicOf = (sequence: number) => (sequence % EACH === 0 ? 'wanted' : 'other');
    const ids = await Promise.all(
      Array.from({ length: EVENTS }, (_, n) => context.sse.publish(topicOf(n + 1), { data: n + 1 })),
    );
    const places = Array.from({ length: CLIENTS }, (_, n) => 1 + n * 4);

    const paths = places.map((sequence) => `/connect?lastEventId=${ids[sequence - 1]!}`);
    const crowd = await Crowd.open(baseOf(context.app), platform.http2, paths);
    await crowd.until(({ data }) => data.at(-1) === String(EVENTS));

    const wanted = Array.from({ length: EVENTS / EACH }, (_, n) => (n + 1) * EACH);
    const missed = places.map((place) => wanted.filter((sequence) => sequence > place).map(String));
    expect(crowd.members.map(({ data }) => data)).toEqual(missed);
    expect(context.counts).toMatchObject({ log: CLIENTS, ring: 0, new: 0 });
    // There are nine blocks below the ring. On a busy machine some are asked for anew.
    expect(asked.length).toBeGreaterThanOrEqual(9);
    expect(asked.length).toBeLessThan(50);
    crowd.leave();
    await nothingLeft(context);
  });
});
