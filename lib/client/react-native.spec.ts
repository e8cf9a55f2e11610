import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ScriptedFetch, ScriptedStream, settled } from '../../test/support/clients/scripted-fetch.js';
import { SseClient } from './index.js';

/** Signals as React Native has them up to 0.86: aborted or not, without a reason. */
class PlainSignal extends EventTarget {
  aborted = false;
}
class PlainAbortController {
  readonly signal = new PlainSignal();

  abort(): void {
    if (!this.signal.aborted) {
      this.signal.aborted = true;
      this.signal.dispatchEvent(new Event('abort'));
    }
  }
}

/** Decodes each chunk by itself, as the decoders of older runtimes do. */
const NativeDecoder = globalThis.TextDecoder;
class PlainTextDecoder {
  decode(bytes?: Uint8Array, options?: object): string {
    if (options) {
      throw new TypeError('Failed to decode: the "stream" option is unsupported.');
    }
    return new NativeDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  }
}

describe('the client in React Native, with a fetch that streams', () => {
  const names = ['AbortController', 'TextDecoder', 'crypto'] as const;
  const own = names.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)!] as const);
  const substitutes = {
    AbortController: PlainAbortController,
    TextDecoder: PlainTextDecoder,
    crypto: undefined,
  };
  let scripted: ScriptedFetch;
  let stream: ScriptedStream;
  let client: SseClient;

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick', 'setImmediate'] });
    jest.spyOn(Math, 'random').mockReturnValue(1);
    scripted = new ScriptedFetch();
    stream = new ScriptedStream();
    scripted.answer(stream.response);
    client = new SseClient({ baseUrl: 'http://host/', fetch: scripted.fetch });
    for (const name of names) {
      Object.defineProperty(globalThis, name, {
        value: substitutes[name],
        configurable: true,
        writable: true,
      });
    }
  });
  afterEach(() => {
    own.forEach(([name, descriptor]) => Object.defineProperty(globalThis, name, descriptor));
    jest.restoreAllMocks();
    jest.useRealTimers();
  });

  it('follows, notices a dead connection, comes back, and ends with nothing left', async () => {
    const log: unknown[] = [];
    const feed = client.follow('/feed', undefined, {
      state: async () => 'state',
      onState: (state) => log.push(state),
      onError: ({ code }) => log.push(code),
    });
    feed.on('message', (data) => log.push(data));
    await settled();
    stream.write(
      ': heartbeat 1000\nevent: cursor\ndata: {"snapshots":0}\nid: e-0-00000000\n\ndata: 1\nid: e-1-00000000\n\n',
    );
    await settled();
    await jest.advanceTimersByTimeAsync(5_000);
    await settled();
    expect(log).toEqual(['state', 1, 'silent']);
    expect(scripted.requests[1]!.headers.get('last-event-id')).toBe('e-1-00000000');
    feed.close();
    await settled();
    expect(feed.status).toBe('closed');
    expect(jest.getTimerCount()).toBe(0);
  });

  it('reads text whose characters are cut by the network, whatever the decoder can do', async () => {
    const texts: unknown[] = [];
    const feed = client.follow('/feed');
    feed.on('message', (data) => texts.push(data));
    await settled();
    const text = 'a é € 😀 \uFEFF ü';
    const bytes = new TextEncoder().encode(`\uFEFFdata: ${JSON.stringify(text)}\n\n`.repeat(2).slice(0, -1));
    for (const byte of bytes) {
      stream.writeBytes(Uint8Array.of(byte));
      await settled();
    }
    stream.writeBytes(new TextEncoder().encode('\n'));
    await settled();
    feed.close();
    // The mark at the beginning is none of the data; the one before the second event makes an unknown field of it.
    expect(texts).toEqual([text]);
  });

  it('asks for the id of a run that it cannot make', () => {
    expect(() => client.run({ attach: '/run' })).toThrow(/run\(\) needs the option `id`/);
  });
});
