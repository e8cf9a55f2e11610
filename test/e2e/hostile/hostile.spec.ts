import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { connect } from 'node:net';
import { waitFor } from 'nestjs-event-stream/testing';
import { isDeepStrictEqual } from 'node:util';
import { AppProcess, endProcesses } from '../../support/app-process.js';
import { ask } from './client.js';
import type { Answer, Asked } from './client.js';

/** A row of the table: what is asked of both apps, and how the answers may differ. */
interface Row extends Omit<Asked, 'request'> {
  readonly name: string;
  /** Asked that often, by a client that keeps its cookies. */
  readonly times?: number;
  /** What the module makes of plain Nest's answer. Each is a line of the README's "What differs on `@Sse()` routes". */
  readonly differs?: (plain: Answer) => Partial<Answer>;
}

interface Running {
  readonly platform: string;
  readonly order: string;
  readonly withModule: boolean;
  readonly port: number;
  readonly tcpPort: number;
}

/** What an app has noted of a request. */
interface Seen {
  readonly body: string | null;
  readonly ends: string[];
  readonly logged: string[];
  readonly isSubscribed: boolean;
}

/** README, "an empty stream on Nest 11": plain Nest answers it as it answers nothing, on Fastify by a reply. */
const asEventStream = ({ headers }: Answer) => {
  const ofReply = 'content-length' in headers ? ['content-length', 'x-cache'] : [];
  const kept = Object.entries(headers).filter(([name]) => !ofReply.includes(name));
  return { events: [], headers: { ...Object.fromEntries(kept), ...STREAM_HEADERS_OF_NEST_11 } };
};
const STREAM_HEADERS_OF_NEST_11 = {
  'content-type': 'text/event-stream',
  'cache-control': 'private, no-cache, no-store, must-revalidate, max-age=0, no-transform',
  pragma: 'no-cache',
  expire: '0',
  'x-accel-buffering': 'no',
  connection: 'keep-alive',
  'transfer-encoding': 'chunked',
};

const sseRows: Row[] = [
  { name: 'events of all shapes', path: 'events' },
  { name: 'a promise of events', path: 'promise' },
  { name: 'an instance that a serializer strips', path: 'users' },
  { name: 'several such instances', path: 'bare-users' },
  {
    name: 'no events',
    path: 'empty',
    differs: (plain) => (isEventStream(plain) ? {} : asEventStream(plain)),
  },
  { name: 'a stream that its client leaves', path: 'ticks', leaveAt: 5 },
  { name: 'closeOn(request)', path: 'closing', leaveAt: 3 },
  { name: 'large events to a client that takes gzip', path: 'large', headers: { 'accept-encoding': 'gzip' } },
  { name: 'POST', path: 'post', method: 'POST', differs: () => ({ status: 200 }) },
  { name: 'the context of the request, later', path: 'context' },
  { name: "headers of the app's own, and a cookie", path: 'headers' },
  { name: 'a session', path: 'session', times: 3 },
  { name: 'a cookie of the client', path: 'cookie', headers: { cookie: 'taste=sweet' } },
  { name: 'a guard that says no', path: 'guarded' },
  { name: 'a guard that says yes', path: 'guarded', headers: { authorization: 'token' } },
  { name: 'a query that is validated', path: 'page?size=3' },
  { name: 'a query that is refused', path: 'page?size=99' },
  { name: 'a query with a field too many', path: 'page?size=3&more=1' },
  { name: 'a parameter that is parsed', path: 'int/7' },
  { name: 'a parameter that is refused', path: 'int/seven' },
  { name: 'a pipe that looks up', path: 'orders/1' },
  { name: 'a pipe that finds nothing', path: 'orders/unknown' },
  { name: "a decorator of the app's own", path: 'decorated' },
  { name: 'a handler that throws', path: 'throws' },
  { name: 'a handler that rejects', path: 'rejects' },
  { name: 'a stream that fails at once', path: 'early-error' },
  { name: 'a stream that fails at once, by mistake', path: 'crash' },
  { name: 'a stream that fails later', path: 'late-error' },
  { name: 'a filter of the app', path: 'teapot' },
  { name: 'a limit of requests', path: 'limited', times: 2 },
  { name: 'a cache', path: 'counted', times: 2 },
];

const plainRows: Row[] = [
  { name: 'JSON with a session', path: 'json', times: 2 },
  { name: 'a serialized instance', path: 'user' },
  { name: 'a cache', path: 'counted', times: 2 },
  { name: 'a guard that says no', path: 'guarded' },
  { name: 'a query that is validated', path: 'page?size=3', method: 'POST' },
  { name: 'a 404', path: 'missing' },
  { name: 'HEAD', path: 'head', method: 'HEAD' },
];

const handWrittenRows: Row[] = [
  { name: 'events of all shapes', path: 'events' },
  { name: 'a handler that opens it later', path: 'later' },
  { name: 'POST', path: 'post', method: 'POST' },
  { name: "headers of the app's own, and a cookie", path: 'headers' },
  { name: 'a session', path: 'session', times: 3 },
  { name: 'the context of the request, later', path: 'context' },
  { name: 'closeOn(request)', path: 'closing', leaveAt: 3 },
  { name: 'a guard that says no', path: 'guarded' },
  { name: 'a guard that says yes', path: 'guarded', headers: { authorization: 'token' } },
  { name: 'a pipe that looks up', path: 'orders/1' },
  { name: 'a pipe that finds nothing', path: 'orders/unknown' },
  { name: 'a handler that throws', path: 'throws' },
  { name: 'stream()', path: 'answer', method: 'POST' },
  { name: 'stream() with a cookie', path: 'answer-with-cookie', method: 'POST' },
  { name: 'stream() that fails at once', path: 'refused', method: 'POST' },
];

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

/** Asks as often as the row says; a client keeps what cookies it was given. */
async function answersOf(
  { port }: Running,
  prefix: string,
  { times = 1, name, ...asked }: Row,
): Promise<Answer[]> {
  const answers: Answer[] = [];
  const cookies = new Map<string, string>();
  for (let n = 0; n < times; n += 1) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { ...(cookie ? { cookie } : {}), ...asked.headers };
    const request = `${prefix} ${name} ${n}`;
    const answer = await ask(port, { ...asked, request, path: `/api/v1/${prefix}/${asked.path}`, headers });
    for (const [name, value] of answer.cookies.map((text) => /^([^=]*)=([^;]*)/.exec(text)!.slice(1))) {
      cookies.set(name!, value!);
    }
    answers.push(answer);
  }
  return answers;
}

// When, how often, and for how long: of no answer in particular.
const OF_THE_MOMENT = ['date', 'keep-alive', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'retry-after'];
// What connect() and stream() commit themselves, and tutorials in other words.
const OF_A_STREAM = ['content-type', 'cache-control', 'x-accel-buffering', 'connection', 'transfer-encoding'];

function headersOf({ headers }: Answer, without: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => ![...OF_THE_MOMENT, ...without].includes(name)),
  );
}

/** Names and attributes, and the values that the app gave them: a session's is random. */
function cookiesOf({ cookies }: Answer): string[] {
  return cookies.map((cookie) =>
    cookie.replace(/^(connect\.sid|sessionId)=[^;]*/, '$1=').replace(/Expires=[^;]*/, ''),
  );
}

const isEventStream = ({ headers }: Answer) =>
  headers['content-type']?.startsWith('text/event-stream') === true;

/** What both apps must agree on. */
function comparable(answer: Answer, without: readonly string[] = []) {
  return {
    status: answer.status,
    headers: headersOf(answer, without),
    cookies: cookiesOf(answer),
    body: isEventStream(answer) ? withoutCounters(answer) : answer.text,
    ending: answer.ending,
  };
}

/** Plain Nest numbers events that have no id: README, "`id` where there is none". */
function withoutCounters({ events }: Answer) {
  return events.map((event) => ({ ...event, id: /^\d+$/.test(event.id ?? '') ? undefined : event.id }));
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
      if (row.leaveAt !== undefined) wanted.events = wanted.events.slice(0, Number(row.leaveAt));
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
    if (wanted!.body === expected.text && received.ending === 'end') expect(seen!.body).toBe(received.text);
  }

  describe('@Sse() routes are as without the module:', () => {
    it.each(sseRows)('$name', async (row) => {
      await expectSame('sse', row);
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
    while (!/"isDisposed":true/.test(text)) text += String((await once(socket, 'data'))[0]);
    return (JSON.parse(text.slice(text.indexOf('#') + 1)) as { response: unknown }).response;
  } finally {
    socket.destroy();
  }
}
