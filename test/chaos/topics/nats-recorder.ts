import { setTimeout as pause } from 'node:timers/promises';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import type { JetStreamManager, StreamInfo } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { BranchRecorder } from './branch-recorder.js';
import { FOREIGN } from './history.js';
import type { Entry } from './history.js';
import { entryOf, epochsIn, EVENT_HEADER, NatsTap, STREAM } from './nats-tap.js';

const TRIES = 40;
const AGAIN_MS = 250;
const FETCH_MS = 2_000;

/**
 * Writes down what the stream of events holds, message by message and past every fault, on a connection of its own: it
 * knows nothing of the engine but the stream's name, its description and a header. What the stream loses before it is
 * looked at, and an epoch that is over by then, its tap has heard.
 */
export class NatsRecorder extends BranchRecorder {
  readonly #ports: readonly number[];
  #connecting: Promise<NatsConnection> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  readonly tap = new NatsTap();
  /** The life of the server in which all was read last. */
  #life = 0;
  /** The sequence up to which all was read last. */
  #readTo = 0;

  constructor(ports: readonly number[]) {
    super();
    this.#ports = ports;
  }

  /** Reads what has come. A server that is away is waited for. */
  look(): Promise<void> {
    const look = this.#last.then(async () => {
      for (let tries = 1; ; tries += 1) {
        try {
          await this.#look(await this.#connected());
          return;
        } catch (error) {
          if (tries === TRIES) {
            throw error;
          }
          await pause(AGAIN_MS);
        }
      }
    });
    // The caller gets the failure by `look`. The next look only waits for the end.
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
    await (await this.#connecting)?.close();
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
    const { life } = this.tap;
    const { streams } = await jetstreamManager(connection, { timeout: 1_000 });
    const info = await streams.info(STREAM);
    const [epoch, ...former] = epochsOf(info) as [string, ...string[]];
    const { first_seq: firstHeld, last_seq: last, messages } = info.state;
    const first = messages > 0 ? firstHeld : last + 1;
    const branch = this.branches.at(-1);
    if (life !== this.#life) {
      this.addHeard(this.#heardIn(this.#life));
    }
    const anchor =
      branch?.epoch === epoch && branch.last >= first && branch.last <= last
        ? await streams.getMessage(STREAM, { seq: branch.last })
        : undefined;
    const isKnown = (each: string) => each === epoch || this.branches.some((one) => one.epoch === each);
    const goesOn =
      this.tap.epochs.every(isKnown) &&
      anchor &&
      entryOf(anchor.header.get(EVENT_HEADER), { subject: anchor.subject, payload: anchor.data }).nonce ===
        branch!.entries.get(branch!.last)?.nonce;
    // What was heard may have gaps.
    const from = goesOn ? Math.max(first, this.#readTo + 1) : first;
    const entries = from <= last ? await this.#read(connection, from, last) : [];
    const after = await streams.info(STREAM);
    const isSame = epochsOf(after)[0] === epoch && life === this.tap.life;
    if (!isSame || after.state.last_seq < last || entries.length < last - from + 1) {
      throw new Error('The stream was replaced, or trimmed, while it was read.');
    }
    // Two instances may replace an epoch in the same moment: that of one of them is over before all is read.
    this.absorbFormer(former.toReversed(), last, entries, first);
    for (const each of this.tap.epochs) {
      if (!isKnown(each)) {
        this.absorb(each, last, entries, first);
      }
    }
    this.absorb(epoch, last, entries, first);
    for (const { n, sequence } of entries) {
      // To clients it is a hole: they are told as where all up to it was trimmed.
      if (n === FOREIGN) {
        this.branches.at(-1)!.losses.push({ at: this.lookedAt, upTo: sequence });
      }
    }
    this.tap.entries = this.tap.entries.filter((one) => one.life === life && one.sequence > last);
    this.#life = life;
    this.#readTo = last;
    this.lookedAt = startedAt;
  }

  /** In their order. */
  #heardIn(life: number): Entry[] {
    return this.tap.entries.filter((one) => one.life === life).sort((a, b) => a.sequence - b.sequence);
  }

  async #read(connection: NatsConnection, from: number, to: number): Promise<Entry[]> {
    const consumer = await jetstream(connection).consumers.get(STREAM, { opt_start_seq: from });
    const entries: Entry[] = [];
    for await (const message of await consumer.fetch({ max_messages: to - from + 1, expires: FETCH_MS })) {
      const { seq: sequence, subject, data: payload } = message;
      entries.push({ ...entryOf(message.headers?.get(EVENT_HEADER), { subject, payload }), sequence });
      if (message.seq >= to) {
        break;
      }
    }
    return entries;
  }
}

/** Its epoch, and those that it comes after. */
function epochsOf({ config }: StreamInfo): string[] {
  const epochs = epochsIn(config.description);
  if (epochs.length === 0) {
    throw new Error(`The stream has no epoch: ${config.description}`);
  }
  return epochs;
}
