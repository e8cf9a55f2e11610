import { afterEach, describe, expect, it } from '@jest/globals';
import { HttpException, UnauthorizedException } from '@nestjs/common';
import type { RunSource, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { Gate } from '../support/gate.js';
import { baseOf, closeAll, platforms } from '../support/apps/platforms.js';
import { createAnswerApp, RUN } from './answer-app.js';
import type { AnswerOptions } from './answer-app.js';
import { RecordingFetch } from './recording-fetch.js';
import { sdkClients } from './sdk-clients.js';
import type { Answer, SdkClient } from './sdk-clients.js';

// What could end a frame or a line, or be cut in two.
const TEXTS = ['Because', ' 🙂 of\n\n', 'data: [DONE]\r\n', 'line\u2028end: ', '收到', '\n:\n'];
const SECRET = 'the password is 1234';
const MASKED = 'Internal server error';

/** How an answer is served, and what differs. */
const ways: {
  way: string;
  options: AnswerOptions;
  /** Ends at a limit. */
  limitOf(ms: number): AnswerOptions;
  /** The app stops the answer. */
  stop(sse: SseService): unknown;
  /** Why it ended. */
  reasons: { limit: string; stop: string };
  /** Whether each frame has an id, which the SDKs make nothing of. */
  hasIds: boolean;
  /** What its bytes are counted of. */
  bytesOf(frames: string, items: readonly unknown[]): number;
}[] = [
  {
    way: 'a stream',
    options: {},
    limitOf: (maxConnectionMs) => ({ connection: { maxConnectionMs } }),
    stop: (sse) => sse.connections.close(),
    reasons: { limit: 'expired', stop: 'server' },
    hasIds: false,
    bytesOf: (frames) => Buffer.byteLength(frames) - 'retry: 3000\n'.length,
  },
  {
    way: 'a run',
    options: { run: { onDisconnect: 'abort' } },
    limitOf: (timeoutMs) => ({ run: { timeoutMs } }),
    stop: (sse) => sse.runs.stop(RUN),
    reasons: { limit: 'timeout', stop: 'stop' },
    hasIds: true,
    bytesOf: (_frames, items) => Buffer.byteLength(items.map(asRecorded).join('')),
  },
];

// None of the SDKs speaks HTTP/2.
const rows = platforms
  .filter(({ http2 }) => !http2)
  .flatMap((platform) =>
    sdkClients.flatMap((client) => ways.map((served) => ({ platform, client, ...served }))),
  );

/** An item as a run records it: JSON in which no character ends a line for any client. */
function asRecorded(item: unknown): string {
  return JSON.stringify(item).replace(
    /[\u0085\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** All that a source yields for a text, with the protocol's last event where it has one. */
const itemsOf = ({ first, delta, last, end }: SdkClient) => [
  ...first,
  ...TEXTS.map(delta),
  ...last,
  ...(end ? [end] : []),
];

describe.each(rows)('$client.name, asking for $way on $platform.name', (row) => {
  const { platform, client } = row;
  const { format, first, delta } = client;
  let abort = new AbortController();

  afterEach(async () => {
    abort.abort();
    abort = new AbortController();
    await closeAll();
  });

  async function ask(source: RunSource, options: AnswerOptions = {}) {
    const context = await createAnswerApp(platform, source, { format, ...row.options, ...options });
    const recording = new RecordingFetch();
    let answer: Answer | undefined;
    const asking = client
      .ask({ base: baseOf(context.app), fetch: recording.fetch, signal: abort.signal })
      .then((given) => (answer = given));
    return { ...context, recording, answer: () => answer, asking };
  }

  /** Begins an answer, and goes on when the client has had its beginning. */
  async function askForMore(then: () => unknown, options: AnswerOptions = {}) {
    const gate = new Gate();
    let isStopped = false;
    const asked = await ask(async function* ({ signal }) {
      try {
        yield* first;
        yield delta('Be');
        await Promise.race([
          gate.opened,
          new Promise((resolve) => signal.addEventListener('abort', resolve)),
        ]);
        await then();
      } finally {
        isStopped = true;
      }
    }, options);
    await waitFor(() => asked.recording.text.includes('"Be"') || asked.answer(), {
      timeoutMs: 15_000,
      describe: () => `a beginning, and not ${JSON.stringify(asked.recording.text)}`,
    });
    return { ...asked, goOn: gate.open, isStopped: () => isStopped };
  }

  /** As {@link askForMore}, under a limit that leaves the time for the beginning, on however busy a machine. */
  async function askWithin(optionsOf: (ms: number) => AnswerOptions) {
    for (let ms = 50; ; ms *= 2) {
      const asked = await askForMore(() => undefined, optionsOf(ms));
      if (asked.recording.text.includes('"Be"')) {
        return asked;
      }
    }
  }

  it('gets a whole answer, over heartbeats, and the end', async () => {
    let heartbeats = () => 0;
    const source = async function* () {
      for (const item of itemsOf(client)) {
        const before = heartbeats();
        yield item;
        await waitFor(() => heartbeats() > before, { timeoutMs: 15_000 });
      }
    };
    const { asking, recording, end, nothingLeft } = await ask(
      () => {
        heartbeats = () => recording.heartbeats;
        return source();
      },
      { connection: { heartbeatMs: 10 } },
    );

    expect(await asking).toEqual({ text: TEXTS.join('') });
    expect(recording.text).toMatch(/^retry: 3000\n/);
    expect(recording.text).not.toContain('\r');
    const { frames } = recording;
    expect(frames.endsWith(client.endFrame)).toBe(true);
    expect(frames.split(client.endFrame)).toHaveLength(2);
    expect(new Set(recording.ids).size).toBe(row.hasIds ? frames.split('\n\n').length - 1 : 0);
    expect(recording.headers?.get('content-type')).toBe('text/event-stream; charset=utf-8');
    const items = itemsOf(client);
    const bytes = row.bytesOf(frames, items);
    expect(await end()).toMatchObject({ reason: 'done', events: items.length, bytes });
    await nothingLeft();
  });

  it('gets the end also where the source leaves it out', async () => {
    const items = [...first, ...TEXTS.map(delta), ...client.last];

    const { asking, recording } = await ask(async function* () {
      yield* items;
    });

    expect(await asking).toEqual({ text: TEXTS.join('') });
    expect(recording.frames.endsWith(client.endFrame)).toBe(true);
  });

  it('fails with an error that tells nothing where the source fails', async () => {
    const { asking, recording, goOn, errors, end, nothingLeft } = await askForMore(() => {
      throw new Error(SECRET);
    });
    goOn();

    const { text, error } = await asking;

    expect(text).toBe('Be');
    expect(error?.message).toContain(MASKED);
    expect(recording.frames).toContain(client.errorFrames(MASKED));
    expect(recording.text).not.toContain(SECRET);
    expect(errors.join()).toContain(SECRET);
    expect(await end()).toMatchObject({ reason: 'error', error: new Error(SECRET) });
    await nothingLeft();
  });

  it('is told the message of an HttpException', async () => {
    const { asking, goOn } = await askForMore(() => {
      throw new HttpException('slow down, please', 429);
    });
    goOn();

    expect((await asking).error?.message).toContain('slow down, please');
  });

  it('gets the status of a failure before the first item', async () => {
    const { asking, recording } = await ask(async () => {
      throw new UnauthorizedException('no key');
    });

    const { text, error } = await asking;

    expect(text).toBe('');
    expect(error?.message).toBeTruthy();
    expect(recording.status).toBe(401);
    expect(recording.headers?.get('content-type')).toMatch(/^application\/json\b/);
    expect(recording.headers?.has('x-vercel-ai-ui-message-stream')).toBe(false);
  });

  it('fails with the format’s error where the app closes', async () => {
    const { app, asking, isStopped, end } = await askForMore(() => undefined);

    await app.close();

    const { text, error } = await asking;
    expect(text).toBe('Be');
    expect(error?.message).toContain('The server is closing.');
    expect(isStopped()).toBe(true);
    expect(await end()).toMatchObject({ reason: 'shutdown', events: first.length + 1 });
  });

  it('fails with the format’s error at a limit in time', async () => {
    const { asking, end, nothingLeft } = await askWithin(row.limitOf);

    const { text, error } = await asking;

    expect(text).toBe('Be');
    expect(error?.message).toContain('time limit');
    expect(await end()).toMatchObject({ reason: row.reasons.limit });
    await nothingLeft();
  });

  it('is told that the app has stopped the answer', async () => {
    const { sse, asking, isStopped, recording, end, nothingLeft } = await askForMore(() => undefined);

    await row.stop(sse);

    const { text, error } = await asking;
    expect(text).toBe('Be');
    expect(error !== undefined).toBe(client.failsOnAbort);
    expect(recording.text).toMatch(/abort|stopped/);
    expect(isStopped()).toBe(true);
    expect(await end()).toMatchObject({ reason: row.reasons.stop });
    await nothingLeft();
  });

  it('stops the source when it aborts', async () => {
    const { asking, isStopped, end, nothingLeft } = await askForMore(() => undefined);

    abort.abort();

    await waitFor(isStopped);
    await asking;
    expect(await end()).toMatchObject({ reason: 'client' });
    await nothingLeft();
  });
});
