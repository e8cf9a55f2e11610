import { createRequire } from 'node:module';
import { ask } from './client.js';
import type { Answer, Asked } from './client.js';

/** A row of the table: what is asked of both apps, and how the answers may differ. */
export interface Row extends Omit<Asked, 'request'> {
  readonly name: string;
  /** Asked that often, by a client that keeps its cookies. */
  readonly times?: number;
  /** Where plain Nest 11 has a fault of its own: it ends the response before the filter answers. */
  readonly notOnNest11?: boolean;
  /** What the module makes of plain Nest's answer. Each is a line of "What differs on `@Sse()` routes". */
  readonly differs?: (plain: Answer) => Partial<Answer>;
}

// Jest maps it to the major that the suite runs on.
export const isNest11 = createRequire(import.meta.url)
  .resolve('@nestjs/core')
  .includes('nest11');

export interface Running {
  readonly platform: string;
  readonly order: string;
  readonly withModule: boolean;
  readonly port: number;
  readonly tcpPort: number;
}

/** lib/routes/README.md, "an empty stream on Nest 11": plain Nest answers it as it answers nothing, on Fastify by a reply. */
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

export const sseRows: Row[] = [
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

// lib/routes/README.md, "`null`, `undefined`, …": plain Nest sends it as an event without data.
const NULL_EVENT = { type: 'message', data: 'null', id: undefined };

export const oddRows: Row[] = [
  { name: 'a mixin', path: 'mixed' },
  { name: 'an override that calls super', path: 'overridden' },
  { name: 'a method named by a symbol', path: 'symbol' },
  { name: 'no version', path: 'neutral' },
  { name: '@HttpCode()', path: 'accepted' },
  { name: '@Redirect()', path: 'redirected' },
  { name: 'a header twice', path: 'doubled-headers' },
  { name: 'a guard that sets headers late', path: 'late-guard' },
  { name: 'retry()', path: 'retried' },
  { name: 'bufferCount()', path: 'buffered' },
  { name: 'switchMap()', path: 'switched' },
  { name: 'an interceptor that replaces the handler', path: 'replaced' },
  { name: 'share()', path: 'shared' },
  { name: 'an interceptor that subscribes later', path: 'delayed' },
  { name: 'an interceptor that awaits', path: 'awaited' },
  { name: 'take()', path: 'taken' },
  { name: 'catchError()', path: 'caught' },
  { name: 'an error that is mapped', path: 'mapped-error' },
  { name: 'an interceptor that throws', path: 'refusing-interceptor' },
  { name: 'concatMap() of promises', path: 'ordered' },
  { name: 'delayWhen()', path: 'paced' },
  { name: "a filter that writes to Node's response", path: 'bare-filter' },
  { name: 'a filter that answers late', path: 'late-filter', notOnNest11: true },
  { name: 'a handler that throws a text', path: 'throws-text' },
  { name: 'a stream that fails with undefined', path: 'fails-with-nothing' },
  { name: 'a stream that fails later with null', path: 'fails-late-with-nothing' },
  { name: 'a handler that returns a text', path: 'returns-text' },
  {
    name: 'a handler that returns nothing',
    path: 'returns-nothing',
    differs: () => ({ events: [NULL_EVENT] }),
  },
  {
    name: 'a promise of nothing',
    path: 'returns-promise-of-nothing',
    differs: () => ({ events: [NULL_EVENT] }),
  },
  { name: '@Next()', path: 'next' },
  { name: '@Res() without passthrough', path: 'whole-response' },
  { name: 'a status that is set late', path: 'late-status' },
  { name: '@All() beside it', path: 'any' },
  { name: 'a 404 beside it', path: 'missing' },
];

export const scopedRows: Row[] = [
  { name: 'events', path: 'events' },
  { name: 'a handler that throws', path: 'throws' },
  { name: 'a handler that rejects', path: 'late-throws' },
];

export const plainRows: Row[] = [
  { name: 'JSON with a session', path: 'json', times: 2 },
  { name: 'a serialized instance', path: 'user' },
  { name: 'a cache', path: 'counted', times: 2 },
  { name: 'a guard that says no', path: 'guarded' },
  { name: 'a query that is validated', path: 'page?size=3', method: 'POST' },
  { name: 'a 404', path: 'missing' },
  { name: 'HEAD', path: 'head', method: 'HEAD' },
];

/** lib/routes/README.md, "Fastify's onSend hooks": a bare `write` on Fastify loses the cookies of `@fastify/cookie`. */
function withCookie({ cookies }: Answer): Partial<Answer> {
  return cookies.length === 0 ? { cookies: ['seen=1; SameSite=Lax'] } : {};
}

export const handWrittenRows: Row[] = [
  { name: 'events of all shapes', path: 'events' },
  { name: 'a handler that opens it later', path: 'later' },
  { name: 'POST', path: 'post', method: 'POST' },
  { name: "headers of the app's own, and a cookie", path: 'headers', differs: withCookie },
  { name: 'a session', path: 'session', times: 3 },
  { name: 'the context of the request, later', path: 'context' },
  { name: 'closeOn(request)', path: 'closing', leaveAt: 3 },
  { name: 'a guard that says no', path: 'guarded' },
  { name: 'a guard that says yes', path: 'guarded', headers: { authorization: 'token' } },
  { name: 'a pipe that looks up', path: 'orders/1' },
  { name: 'a pipe that finds nothing', path: 'orders/unknown' },
  { name: 'a handler that throws', path: 'throws' },
  { name: 'stream()', path: 'answer', method: 'POST' },
  { name: 'stream() with a cookie', path: 'answer-with-cookie', method: 'POST', differs: withCookie },
  { name: 'stream() that fails at once', path: 'refused', method: 'POST' },
];

/** Asks as often as the row says; a client keeps what cookies it was given. */
export async function answersOf(
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
export const OF_A_STREAM = [
  'content-type',
  'cache-control',
  'x-accel-buffering',
  'connection',
  'transfer-encoding',
];

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
export function comparable(answer: Answer, without: readonly string[] = []) {
  return {
    status: answer.status,
    headers: headersOf(answer, without),
    cookies: cookiesOf(answer),
    body: isEventStream(answer) ? withoutCounters(answer) : answer.text,
    ending: answer.ending,
  };
}

/** Plain Nest numbers events that have no id: lib/routes/README.md, "an event without an `id`". */
function withoutCounters({ events }: Answer) {
  return events.map((event) => ({ ...event, id: /^\d+$/.test(event.id ?? '') ? undefined : event.id }));
}
