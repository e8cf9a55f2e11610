import { describe, expect, it } from '@jest/globals';
import { waitFor } from '../../testing/index.js';
import type { NatsLink } from './link.js';
import { Reader } from './reader.js';
import type { ReaderOwner } from './reader.js';

type Callback = (error: null, message: object) => void;

/** A connection whose losses a test makes, and whose answers it gives. */
class ScriptedLink {
  /** The consumers that were asked for: the answer to each. */
  readonly asked: { from: number; answer: () => void }[] = [];
  losses = 0;
  readonly connection = {
    subscribe: (_subject: string, { callback }: { callback: Callback }) => {
      this.#callback = callback;
      return { unsubscribe: () => undefined };
    },
    isClosed: () => false,
  };
  readonly #listeners = new Set<(isConnected: boolean) => void>();
  #callback: Callback = () => undefined;

  inbox(): string {
    return 'inbox';
  }

  send(): boolean {
    return true;
  }

  onConnection(listener: (isConnected: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  request(ask: (manager: object) => Promise<unknown>): Promise<unknown> {
    const add = (_stream: string, { opt_start_seq: from }: { opt_start_seq: number }) =>
      new Promise<void>((resolve) => this.asked.push({ from, answer: resolve }));
    return ask({ consumers: { add } });
  }

  /** Loses the connection, and makes another one, maybe to a server that has lost what it had. */
  reconnect(): void {
    this.losses += 1;
    this.#listeners.forEach((listener) => listener(false));
    this.#listeners.forEach((listener) => listener(true));
  }

  deliver(sequence: number): void {
    const reply = `$JS.ACK.s.c.1.${sequence}.1.1700000000000000000.0`;
    this.#callback(null, { subject: 'a', reply, data: new Uint8Array(), headers: undefined });
  }
}

/** What a reader asks its log, and what the log says. */
const start = (link: ScriptedLink) => {
  const verifying: (() => void)[] = [];
  const heard: number[] = [];
  const owner: ReaderOwner = {
    verify: () =>
      new Promise((resolve) =>
        verifying.push(() => resolve({ after: 7, isUnchanged: true, isBehind: false })),
      ),
    onMessages: (messages) => {
      heard.push(...messages.map(({ sequence }) => sequence));
      return undefined;
    },
    onState: () => undefined,
  };
  const reader = new Reader(link as unknown as NatsLink, 's', owner);
  reader.start();
  return { reader, verifying, heard };
};

describe('a reader on NATS whose connection is lost', () => {
  it('while its place is verified, verifies it again: the answers are of two servers', async () => {
    const link = new ScriptedLink();
    const { reader, verifying } = start(link);
    link.reconnect();
    verifying[0]!();
    await waitFor(() => verifying.length + link.asked.length > 1);
    expect([verifying.length, link.asked.length]).toEqual([2, 0]);
    verifying[1]!();
    await waitFor(() => link.asked.length === 1);
    expect(link.asked[0]!.from).toBe(8);
    link.asked[0]!.answer();
    await reader.stop();
  });

  it('while its consumer is made, takes nothing from it, and verifies its place again', async () => {
    const link = new ScriptedLink();
    const { reader, verifying, heard } = start(link);
    verifying[0]!();
    await waitFor(() => link.asked.length === 1);
    link.reconnect();
    link.deliver(8);
    link.asked[0]!.answer();
    await waitFor(() => verifying.length === 2);
    expect(heard).toEqual([]);
    verifying[1]!();
    await waitFor(() => link.asked.length === 2);
    link.asked[1]!.answer();
    link.deliver(8);
    await waitFor(() => heard.length === 1);
    await reader.stop();
  });
});
