import { afterEach, describe, expect, it } from '@jest/globals';
import { HttpException, UnauthorizedException } from '@nestjs/common';
import type { SseStreamOptions, StreamFormat, StreamSource } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { toFormat } from '../../lib/runs/index.js';
import { Gate } from '../support/gate.js';
import { baseOf, closeAll, platforms } from '../support/platforms.js';
import { createAnswerApp } from './answer-app.js';
import { RecordingFetch } from './recording-fetch.js';
import { sdkClients } from './sdk-clients.js';
import type { Answer, SdkClient } from './sdk-clients.js';

// What could end a frame or a line, or be cut in two.
const TEXTS = ['Because', ' 🙂 of\n\n', 'data: [DONE]\r\n', 'line\u2028end: ', '收到', '\n:\n'];
const SECRET = 'the password is 1234';
const MASKED = 'Internal server error';

// None of the SDKs speaks HTTP/2.
const rows = platforms
  .filter(({ http2 }) => !http2)
  .flatMap((platform) => sdkClients.map((client) => ({ platform, client })));

/** All that a source yields for a text, with the protocol's last event where it has one. */
const itemsOf = ({ first, delta, last, end }: SdkClient) => [
  ...first,
  ...TEXTS.map(delta),
  ...last,
  ...(end ? [end] : []),
];

describe.each(rows)('$client.name, asking an app on $platform.name', ({ platform, client }) => {
  const { format, first, delta } = client;
  let abort = new AbortController();

  afterEach(async () => {
    abort.abort();
    abort = new AbortController();
    await closeAll();
  });

  async function ask(source: StreamSource, options: SseStreamOptions = {}) {
    const context = await createAnswerApp(platform, source, { format, ...options });
    const recording = new RecordingFetch();
    let answer: Answer | undefined;
    const asking = client
      .ask({ base: baseOf(context.app), fetch: recording.fetch, signal: abort.signal })
      .then((given) => (answer = given));
    return { ...context, recording, answer: () => answer, asking };
  }

  /** Begins an answer, and goes on when the client has had its beginning. */
  async function askForMore(then: () => unknown, options: SseStreamOptions = {}) {
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
    await waitFor(() => asked.recording.text.includes('"Be"'), {
      describe: () => `a beginning, and not ${JSON.stringify(asked.recording.text)}`,
    });
    return { ...asked, goOn: gate.open, isStopped: () => isStopped };
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
      { heartbeatMs: 10 },
    );

    expect(await asking).toEqual({ text: TEXTS.join('') });
    expect(recording.text).toMatch(/^retry: 3000\n/);
    expect(recording.text).not.toContain('\r');
    const frames = recording.text.replaceAll(/^:\n/gm, '');
    expect(frames.endsWith(client.endFrame)).toBe(true);
    expect(frames.split(client.endFrame)).toHaveLength(2);
    expect(recording.headers?.get('content-type')).toBe('text/event-stream; charset=utf-8');
    const { reason, events, bytes } = await end();
    expect({ reason, events }).toEqual({ reason: 'done', events: itemsOf(client).length });
    expect(bytes).toBe(Buffer.byteLength(frames) - 'retry: 3000\n'.length);
    await nothingLeft();
  });

  it('gets the end also where the source leaves it out', async () => {
    const items = [...first, ...TEXTS.map(delta), ...client.last];

    const { asking, recording } = await ask(async function* () {
      yield* items;
    });

    expect(await asking).toEqual({ text: TEXTS.join('') });
    expect(recording.text.endsWith(client.endFrame)).toBe(true);
  });

  it('is not disturbed by ids', async () => {
    const plain = toFormat(format);
    let id = 0;
    const withIds: StreamFormat = {
      ...plain,
      encode: (item) => ({ ...(plain.encode(item) as object), id: (id += 1) }),
    };

    const { asking, recording } = await ask(
      async function* () {
        yield* itemsOf(client);
      },
      { format: withIds },
    );

    expect(await asking).toEqual({ text: TEXTS.join('') });
    expect(recording.text).toContain(`\nid: ${TEXTS.length}\n`);
  });

  it('fails with an error that tells nothing where the source fails', async () => {
    const { asking, recording, goOn, errors, end, nothingLeft } = await askForMore(() => {
      throw new Error(SECRET);
    });
    goOn();

    const { text, error } = await asking;

    expect(text).toBe('Be');
    expect(error?.message).toContain(MASKED);
    expect(recording.text).toContain(client.errorFrames(MASKED));
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

  it('fails with the format’s error at maxConnectionMs', async () => {
    const { asking, end, nothingLeft } = await askForMore(() => undefined, { maxConnectionMs: 300 });

    const { text, error } = await asking;

    expect(text).toBe('Be');
    expect(error?.message).toContain('time limit');
    expect(await end()).toMatchObject({ reason: 'expired' });
    await nothingLeft();
  });

  it('is told that the app has stopped the answer', async () => {
    const { sse, asking, isStopped, recording, end, nothingLeft } = await askForMore(() => undefined);

    expect(sse.connections.close()).toBe(1);

    const { text, error } = await asking;
    expect(text).toBe('Be');
    expect(error !== undefined).toBe(client.failsOnAbort);
    expect(recording.text).toMatch(/abort|stopped/);
    expect(isStopped()).toBe(true);
    expect(await end()).toMatchObject({ reason: 'server' });
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
