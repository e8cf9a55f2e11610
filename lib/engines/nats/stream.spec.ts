import { beforeEach, describe, expect, it } from '@jest/globals';
import { API_ERRORS } from './failure.js';
import type { NatsLink } from './link.js';
import { NatsStream } from './stream.js';

const QUERY = { last_by_subj: 'a' };

function notFound(): Error {
  return Object.assign(new Error('stream not found'), {
    name: 'JetStreamApiError',
    code: API_ERRORS.streamNotFound,
  });
}

// nats-server 2.9.10 panics if it is asked for a message of a stream that it is just making.
describe('a message of a stream on NATS', () => {
  let asked: string[];
  let isThere: boolean;
  let link: { losses: number; request: (ask: (manager: object) => Promise<unknown>) => Promise<unknown> };
  let stream: NatsStream;

  beforeEach(() => {
    asked = [];
    isThere = true;
    const answer = async (what: string) => {
      asked.push(what);
      if (!isThere) {
        throw notFound();
      }
      return null;
    };
    const streams = {
      info: async () => (await answer('info')) ?? {},
      getMessage: () => answer('message'),
    };
    link = { losses: 0, request: (ask) => ask({ streams }) };
    const plan = { config: { name: 'sse-topics-leases' }, check: () => undefined };
    stream = new NatsStream(link as unknown as NatsLink, plan);
  });

  it('is not asked for before the server has told of the stream', async () => {
    isThere = false;
    expect(await stream.message(QUERY)).toBeUndefined();
    expect(asked).toEqual(['info']);
    isThere = true;
    await stream.message(QUERY);
    expect(asked).toEqual(['info', 'info', 'message']);
  });

  it('is asked for at once from then on', async () => {
    await stream.message(QUERY);
    await stream.message(QUERY);
    expect(asked).toEqual(['info', 'message', 'message']);
  });

  it.each([
    ['the connection was lost', () => (link.losses += 1)],
    ['the stream was gone', () => stream.message(QUERY)],
  ])('is not asked for after %s, before the server has told of the stream again', async (_what, happen) => {
    await stream.message(QUERY);
    isThere = false;
    await happen();
    asked.length = 0;
    await stream.message(QUERY);
    expect(asked).toEqual(['info']);
  });
});
