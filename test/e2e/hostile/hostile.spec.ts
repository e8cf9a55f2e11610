import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { connect } from 'node:net';
import { waitFor } from 'nestjs-event-stream/testing';
import { isDeepStrictEqual } from 'node:util';
import { AppProcess, endProcesses } from '../../support/apps/app-process.js';
import { ask } from './client.js';
import type { Answer, Asked } from './client.js';
import {
  answersOf,
  comparable,
  handWrittenRows,
  isNest11,
  OF_A_STREAM,
  oddRows,
  plainRows,
  scopedRows,
  sseRows,
} from './table.js';
import type { Row, Running } from './table.js';

/** What an app has noted of a request. */
interface Seen {
  readonly body: string | null;
  readonly ends: string[];
  readonly logged: string[];
  readonly isSubscribed: boolean;
}

let house: AppProcess;
let running: Running[];

beforeAll(async () => {
  house = await AppProcess.start(new URL('house.app.ts', import.meta.url));
  running = await told<Running[]>('/houses');
});

afterAll(async () => {
  await endProcesses();
});

async function told<T>(path: string): Promise<T> {
  return (await (await fetch(house.base + path)).json()) as T;
}

function seenOf({ port }: Running, { request }: Answer): Promise<Seen> {
  return told<Seen>(`/seen?port=${port}&request=${encodeURIComponent(request)}`);
}

describe.each([
  ['Express', 'no interceptors'],
  ['Express', 'all'],
  ['Express', 'all, in reverse'],
  ['Fastify', 'no interceptors'],
  ['Fastify', 'all'],
  ['Fastify', 'all, in reverse'],
])('on %s, with the layers of an app: %s', (platform, order) => {
  let plain: Running;
  let own: Running;

  beforeAll(() => {
    const find = (withModule: boolean) =>
      running.find(
        (app) => app.platform === platform && app.order === order && app.withModule === withModule,
      )!;
    plain = find(false);
    own = find(true);
  });

  /** Asks both, and compares what clients, loggers and the app's own streams have seen. */
  async function expectSame(prefix: string, row: Row, without: readonly string[] = []) {
    const [expected, received] = await Promise.all([
      answersOf(plain, prefix, row),
      answersOf(own, prefix, row),
    ]);
    for (const [index, answer] of received.entries()) {
      const wanted = { ...expected[index]!, ...row.differs?.(expected[index]!) };
      const given = {
        ...answer,
        ...(row.leaveAt === undefined ? {} : { events: answer.events.slice(0, Number(row.leaveAt)) }),
      };
      if (row.leaveAt !== undefined) {
        wanted.events = wanted.events.slice(0, Number(row.leaveAt));
      }
      expect(comparable(given, without)).toEqual(comparable(wanted, without));
      await expectSameNotes(expected[index]!, answer);
    }
  }

  /** What the loggers of both apps have written down of a request, when it is over. */
  async function expectSameNotes(expected: Answer, received: Answer): Promise<void> {
    let wanted: Seen;
    let seen: Seen;
    await waitFor(
      async () => {
        [wanted, seen] = await Promise.all([seenOf(plain, expected), seenOf(own, received)]);
        return (
          !seen.isSubscribed &&
          wanted.ends.every((logger) => seen.ends.includes(logger)) &&
          isDeepStrictEqual(seen.logged, wanted.logged)
        );
      },
      { timeoutMs: 5_000, describe: () => `${JSON.stringify(seen)} to be as ${JSON.stringify(wanted)}` },
    );
    // A body that its client has read to the end is whole in the logs as well.
    if (wanted!.body === expected.text && received.ending === 'end') {
      expect(seen!.body).toBe(received.text);
    }
  }

  describe('@Sse() routes are as without the module:', () => {
    it.each(sseRows)('$name', async (row) => {
      await expectSame('sse', row);
    });
  });

  describe('@Sse() routes of rarer shapes are as without the module:', () => {
    it.each(oddRows.filter(({ notOnNest11 }) => !(notOnNest11 && isNest11)))('$name', async (row) => {
      await expectSame('odd', row);
    });
  });

  describe('@Sse() routes of a controller for each request are as without the module:', () => {
    it.each(scopedRows)('$name', async (row) => {
      await expectSame('scoped', row);
    });
  });

  describe('plain routes are as without the module:', () => {
    it.each(plainRows)('$name', async (row) => {
      await expectSame('plain', row);
    });
  });

  describe('what plain Nest has no word for', () => {
    const item = (data: unknown) => ({ data: JSON.stringify(data) });
    const request = (asked: Omit<Asked, 'request'>) =>
      ask(own.port, { ...asked, request: `module ${asked.path}`, path: `/api/v1/module/${asked.path}` });
    const expectStream = (answer: Answer, ending: Answer['ending'] = 'end') =>
      expect(answer).toMatchObject({ status: 200, ending, headers: { 'x-layer': 'writeHead' } });

    it('an async generator, whose items pass through the interceptors', async () => {
      const answer = await request({ path: 'generator' });
      expectStream(answer);
      const secret = order === 'no interceptors' ? { password: 'secret' } : {};
      const user = { name: 'ann', ...secret };
      expect(answer.events).toEqual(
        order === 'all, in reverse'
          ? [
              { type: 'message', id: undefined, data: '{"data":"one","id":"1"}' },
              { type: 'message', id: undefined, data: JSON.stringify({ data: user, type: 'user' }) },
            ]
          : [
              { type: 'message', id: '1', data: 'one' },
              { type: 'user', id: undefined, data: JSON.stringify(user) },
            ],
      );
    });

    it('a POST', async () => {
      const answer = await request({ path: 'post', method: 'POST' });
      expectStream(answer);
      expect(answer.events).toMatchObject([0, 1, 2].map((n) => item({ n })));
    });

    it('@Connection() and @LastEventId() under pipes that validate everything', async () => {
      const answer = await request({ path: 'connection', headers: { 'last-event-id': 'seen-1' } });
      expectStream(answer);
      expect(answer.events).toMatchObject([{ data: 'after seen-1' }, ...[0, 1, 2].map((n) => item({ n }))]);
    });

    it.each(['follow', 'res-follow'])('%s, left and resumed', async (path) => {
      const texts = [1, 2, 3].map((n) => `${path}-${n}`);
      const publish = (text: string) => request({ path: `publish/${text}`, method: 'POST' });
      await publish(texts[0]!);
      await publish(texts[1]!);
      const first = await request({ path, leaveAt: `${texts[1]}\n` });
      expectStream(first, 'left');
      const { id } = first.events.findLast(({ data }) => data === texts[0])!;
      await publish(texts[2]!);
      const second = await request({ path, headers: { 'last-event-id': id! }, leaveAt: `${texts[2]}\n` });
      expect(second.events.map(({ data }) => data).filter((data) => data.startsWith(path))).toEqual(
        texts.slice(1),
      );
      expect(second.events.map(({ type }) => type)).not.toContain('reset');
    });

    it('heartbeats', async () => {
      expectStream(await request({ path: 'beats', leaveAt: '\n:\n:\n' }), 'left');
    });

    it('maxConnectionMs', async () => {
      const answer = await request({ path: 'rotated' });
      expectStream(answer);
      expect(answer.events).toMatchObject([{ data: 'one' }]);
    });

    it('stream() with a format, and one that breaks', async () => {
      const whole = await request({ path: 'json', method: 'POST' });
      expectStream(whole);
      expect(whole.events).toMatchObject([...[0, 1, 2].map((n) => item({ n })), {}]);
      const told = await request({ path: 'breaks-json', method: 'POST' });
      expectStream(told);
      expect(told.events.at(-1)).toMatchObject({ type: 'error' });
      const cut = await request({ path: 'breaks', method: 'POST' });
      expectStream(cut, 'cut');
    });

    it('runs: started, attached to by another, resumed and stopped', async () => {
      const first = await request({ path: 'runs/short', method: 'POST' });
      expectStream(first);
      const data = [0, 1, 2].map((n) => item({ n }));
      expect(first.events).toMatchObject(data);
      const { id } = first.events[0]!;
      const resumed = await request({ path: 'runs/short', headers: { 'last-event-id': id! } });
      expect(resumed.events).toMatchObject(data.slice(1));

      const started = await request({ path: 'runs/slow', method: 'POST', leaveAt: 2 });
      expectStream(started, 'left');
      const attached = request({ path: 'runs/slow' });
      const stopped = await request({ path: 'runs/slow', method: 'DELETE' });
      expect(stopped.text).toContain('"wasLive":true');
      expect((await attached).status).toBe(200);
    });

    it('stopReconnecting()', async () => {
      expect(await request({ path: 'stop' })).toMatchObject({ status: 204, ending: 'end', text: '' });
    });

    it('HEAD', async () => {
      for (const path of ['generator', 'beats', 'follow']) {
        const answer = await request({ path, method: 'HEAD' });
        expect(answer).toMatchObject({ status: 200, ending: 'end', text: '' });
        expect(answer.headers['content-type']).toContain('text/event-stream');
      }
    });

    it('no connection is left', async () => {
      await waitFor(async () => /"size":0/.test((await request({ path: 'connections' })).text), {
        timeoutMs: 5_000,
      });
    });
  });

  describe('streams that are written by hand keep what a bare res.write has:', () => {
    it.each(handWrittenRows)('$name', async (row) => {
      await expectSame('res', row, OF_A_STREAM);
    });
  });
});

describe('beside the routes', () => {
  const pairs = () =>
    running
      .filter(({ withModule }) => withModule)
      .map((own) => ({
        own,
        plain: running.find(
          (app) => !app.withModule && app.platform === own.platform && app.order === own.order,
        )!,
      }));

  it('has the same OpenAPI document, but for the routes of its own', async () => {
    for (const { own, plain } of pairs()) {
      const [ours, theirs] = await Promise.all([own, plain].map(({ port }) => documentOf(port)));
      const shared = Object.entries(ours!.paths).filter(([path]) => !path.startsWith('/api/v1/module/'));
      expect({ ...ours, paths: Object.fromEntries(shared) }).toEqual(theirs);
    }
  });

  it('answers over GraphQL, and messages over TCP', async () => {
    for (const { own, plain } of pairs()) {
      for (const { port, tcpPort } of [own, plain]) {
        expect(await greetingOf(port)).toEqual({ data: { greeting: 'hello' } });
        expect(await sumOf(tcpPort, [1, 2, 3])).toBe(6);
      }
    }
  });
});

// The last: it closes the apps.
it('has thrown nothing that nobody caught, and closes while streams are open', async () => {
  expect(await told('/crashes')).toEqual([]);
  const open = running
    .filter(({ withModule }) => withModule)
    .flatMap(({ port }) =>
      // Of another URL than before: the cache has an answer to that.
      ['sse/ticks?open', 'module/res-follow?open', 'module/beats?open'].map((path) =>
        ask(port, { request: `open ${path}`, path: `/api/v1/${path}` }),
      ),
    );
  await waitFor(async () => (await told<number>('/connections')) >= open.length);
  expect(await told('/close')).toEqual([]);
  for (const answer of await Promise.all(open)) {
    expect(answer).toMatchObject({ status: 200, ending: 'end' });
  }
});

async function documentOf(port: number): Promise<{ paths: object }> {
  return (await (await fetch(`http://127.0.0.1:${port}/docs-json`)).json()) as { paths: object };
}

async function greetingOf(port: number): Promise<unknown> {
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ query: '{ greeting }' });
  return (await fetch(`http://127.0.0.1:${port}/graphql`, { method: 'POST', headers, body })).json();
}

/** Nest's own format: the length of the JSON, and the JSON. */
async function sumOf(tcpPort: number, data: number[]): Promise<unknown> {
  const socket = connect(tcpPort, '127.0.0.1');
  try {
    const message = JSON.stringify({ pattern: 'sum', data, id: '1' });
    socket.write(`${message.length}#${message}`);
    let text = '';
    while (!/"isDisposed":true/.test(text)) {
      text += String((await once(socket, 'data'))[0]);
    }
    return (JSON.parse(text.slice(text.indexOf('#') + 1)) as { response: unknown }).response;
  } finally {
    socket.destroy();
  }
}
