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

/**
 * Writes down what the stream of events holds, message by message and past every fault, on a connection of its own: it
 * knows nothing of the engine but the stream's name, its description and a header.
 */
export class NatsRecorder extends BranchRecorder {
  readonly #ports: readonly number[];
  #connection: NatsConnection | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(ports: readonly number[]) {
    super();
    this.#ports = ports;
  }

  /** Reads what has come. A server that is away is waited for. */
  look(ports = this.#ports): Promise<void> {
    this.#waiting += 1;
    const look = this.#last.then(async () => {
      this.#waiting -= 1;
      for (let tries = 1; ; tries += 1) {
        try {
          await (ports === this.#ports ? this.#look(await this.#connected()) : this.#lookAt(ports));
          return;
        } catch (error) {
          // The next one looks, maybe elsewhere.
          if (tries === TRIES || this.#waiting > 0) throw error;
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
    await this.#last;
    await this.#connection?.close();
  }

  async #connected(): Promise<NatsConnection> {
    this.#connection ??= await connect({
      servers: this.#ports.map((port) => `127.0.0.1:${port}`),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
    });
    return this.#connection;
  }

  /** Another server, which has the files. */
  async #lookAt(ports: readonly number[]): Promise<void> {
    const connection = await connect({ servers: ports.map((port) => `127.0.0.1:${port}`) });
    try {
      await this.#look(connection);
    } finally {
      await connection.close();
    }
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
    const goesOn = anchor && nonceIn(anchor.header.get(HEADER)) === branch!.entries.get(branch!.last)?.nonce;
    const from = goesOn ? branch!.last + 1 : first;
    const entries = from <= last ? await this.#read(connection, from, last) : [];
    const after = await streams.info(STREAM);
    if (epochsOf(after)[0] !== epoch || after.state.last_seq < last || entries.length < last - from + 1) {
      throw new Error('The stream was replaced, or trimmed, while it was read.');
    }
    // Two instances may replace an epoch in the same moment: that of one of them is over before it is seen.
    const known = former.findIndex((each) => each === branch?.epoch);
    for (const unseen of former.slice(0, Math.max(0, known)).toReversed()) {
      this.absorb(unseen, last, entries, first);
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
