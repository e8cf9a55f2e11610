import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import type { JetStreamManager, JsMsg, StreamInfo } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { BranchRecorder } from './branch-recorder.js';
import { FOREIGN } from './history.js';
import type { Entry } from './history.js';

export const STREAM = 'sse-topics';
const HEADER = 'Sse-Event';
const TRIES = 40;
const AGAIN_MS = 250;
const FETCH_MS = 2_000;
const GLIMPSE_MS = 20;

/**
 * Writes down what the stream of events holds, message by message and past every fault, on a connection of its own: it
 * knows nothing of the engine but the stream's name, its description and a header.
 */
export class NatsRecorder extends BranchRecorder {
  readonly #ports: readonly number[];
  #connecting: Promise<NatsConnection> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  /** Epochs that were there, in their order, since all was read. */
  readonly #glimpsed: string[] = [];
  readonly #stopped = new AbortController();

  constructor(ports: readonly number[]) {
    super();
    this.#ports = ports;
    void this.#glimpse();
  }

  /** Reads what has come. A server that is away is waited for. */
  look(): Promise<void> {
    const look = this.#last.then(async () => {
      for (let tries = 1; ; tries += 1) {
        try {
          await this.#look(await this.#connected());
          return;
        } catch (error) {
          if (tries === TRIES) throw error;
          await pause(AGAIN_MS);
        }
      }
    });
    this.#last = look.catch(() => undefined);
    return look;
  }

  async manager(): Promise<JetStreamManager> {
    return jetstreamManager(await this.#connected());
  }

  /** Publishes, as another program does, what is no event: its topic cannot be one. */
  async publishForeign(topic: string, payload: string): Promise<void> {
    await (await this.#connected()).request(`sse.topics.events.${topic}`, payload, { timeout: FETCH_MS });
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#last;
    await (await this.#connecting)?.close();
  }

  /** Looks for nothing but the epoch, often. */
  async #glimpse(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      try {
        const { streams } = await jetstreamManager(await this.#connected(), {
          timeout: 500,
          checkAPI: false,
        });
        const [epoch] = epochsOf(await streams.info(STREAM));
        if (epoch !== this.#glimpsed.at(-1) && epoch !== this.branches.at(-1)?.epoch)
          this.#glimpsed.push(epoch!);
      } catch {
        // It is away, which is what this is about.
      }
      await pause(GLIMPSE_MS);
    }
  }

  async #connected(): Promise<NatsConnection> {
    this.#connecting ??= connect({
      servers: this.#ports.map((port) => `127.0.0.1:${port}`),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
    });
    return this.#connecting;
  }

  async #look(connection: NatsConnection): Promise<void> {
    const startedAt = performance.now();
    const { streams } = await jetstreamManager(connection, { timeout: 1_000 });
    const info = await streams.info(STREAM);
    const [epoch, ...former] = epochsOf(info) as [string, ...string[]];
    const { first_seq: firstHeld, last_seq: last, messages } = info.state;
    const first = messages > 0 ? firstHeld : last + 1;
    const branch = this.branches.at(-1);
    const anchor =
      branch?.epoch === epoch && branch.last >= first && branch.last <= last
        ? await streams.getMessage(STREAM, { seq: branch.last })
        : undefined;
    const hasGlimpsed = this.#glimpsed.some((each) => each !== epoch);
    const goesOn =
      !hasGlimpsed &&
      anchor &&
      nonceIn(anchor.header.get(HEADER)) === branch!.entries.get(branch!.last)?.nonce;
    const from = goesOn ? branch!.last + 1 : first;
    const entries = from <= last ? await this.#read(connection, from, last) : [];
    const after = await streams.info(STREAM);
    if (epochsOf(after)[0] !== epoch || after.state.last_seq < last || entries.length < last - from + 1) {
      throw new Error('The stream was replaced, or trimmed, while it was read.');
    }
    // Two instances may replace an epoch in the same moment: that of one of them is over before all is read.
    const known = former.indexOf(branch?.epoch ?? '');
    const told = former.slice(0, Math.max(0, known)).toReversed();
    const unseen = new Set([...told, ...this.#glimpsed.splice(0)]);
    for (const each of unseen) {
      if (each !== epoch && !this.branches.some((one) => one.epoch === each)) {
        this.absorb(each, last, entries, first);
      }
    }
    this.absorb(epoch, last, entries, first);
    for (const { n, sequence } of entries) {
      // To clients it is a hole: they are told as where all up to it was trimmed.
      if (n === FOREIGN) this.branches.at(-1)!.losses.push({ at: this.lookedAt, upTo: sequence });
    }
    this.lookedAt = startedAt;
  }

  async #read(connection: NatsConnection, from: number, to: number): Promise<Entry[]> {
    const consumer = await jetstream(connection).consumers.get(STREAM, { opt_start_seq: from });
    const entries: Entry[] = [];
    for await (const message of await consumer.fetch({ max_messages: to - from + 1, expires: FETCH_MS })) {
      const header = message.headers?.get(HEADER);
      entries.push({
        sequence: message.seq,
        // One of another program has a place as well.
        nonce: header ? nonceIn(header) : nonceOf(message),
        n: header ? Number(/"n":(\d+)/.exec(message.string())?.[1] ?? Number.NaN) : FOREIGN,
      });
      if (message.seq >= to) break;
    }
    return entries;
  }
}

/** Its epoch, and those that it comes after. */
function epochsOf({ config }: StreamInfo): string[] {
  const [, epoch, former = ''] =
    /\bepoch ([0-9a-z]+)(?:, after([0-9a-z ]+))?/.exec(config.description ?? '') ?? [];
  if (epoch === undefined) throw new Error(`The stream has no epoch: ${config.description}`);
  return [epoch, ...former.split(' ').filter(Boolean)];
}

function nonceOf({ subject, data }: Pick<JsMsg, 'subject' | 'data'>): string {
  return createHash('sha256').update(subject).update('\n').update(data).digest('hex').slice(0, 8);
}

function nonceIn(header = ''): string {
  return header.split(' ')[0]!;
}
