import { closed, FormerEpochs, newEpoch } from '../index.js';
import type { Appended, LogHead, RelayBatch, RelayPlace, RelayTarget } from '../../log/index.js';
import { formatPosition } from '../../wire/index.js';
import type { AppendContext } from './appends.js';
import { failureOf, RedisFailure } from './failure.js';
import { unavailable } from './redis.event-log.js';
import { RELAY, RENEW } from './relay-scripts.js';
import { argumentsOf } from './replies.js';
import { REPLACE_EPOCH } from './scripts.js';

/** A reply of the script: see `RELAY`. */
type Reply = readonly [outcome: string, epoch: string, third: string];

const ATTEMPTS = 5;

/**
 * The app's log on Redis, as the place to which the events of another log are relayed. The place in the source stands
 * beside the head of the log, and a script stores both in one step.
 */
export class RedisRelayTarget implements RelayTarget {
  readonly allowsDirect = true;
  readonly #context: AppendContext;
  readonly #onAcknowledged: (place: LogHead) => void;

  /** @param onAcknowledged - called with the newest position that Redis has acknowledged */
  constructor(context: AppendContext, onAcknowledged: (place: LogHead) => void) {
    this.#context = context;
    this.#onAcknowledged = onAcknowledged;
  }

  check(): void {
    // Redis takes what this package does.
  }

  async place(): Promise<RelayPlace> {
    const { meta } = this.#keys;
    const [epoch, source] = await this.#ask(async ({ commands }) => {
      try {
        return (await commands.send(['HMGET', meta, 'epoch', 'source'])) as (string | null)[];
      } catch (error) {
        // Another program has written the key: the next script begins the log.
        if (failureOf(error).reply === 'WRONGTYPE') {
          return [];
        }
        throw error;
      }
    });
    return { epoch: epoch ?? '', source: source || undefined };
  }

  async take(batch: RelayBatch, at: RelayPlace): Promise<Appended | undefined> {
    let failure: RedisFailure | undefined;
    try {
      return await this.#take(batch, at);
    } catch (error) {
      const { cause } = error as { cause?: unknown };
      failure = cause instanceof RedisFailure ? cause : undefined;
      throw error;
    } finally {
      this.#context.watch.onOutcome(failure);
    }
  }

  async renew(
    { epoch }: RelayPlace,
    { source = '', keep }: { source: string | undefined; keep: boolean },
  ): Promise<void> {
    const { events, meta } = this.#keys;
    await this.#ask(async ({ commands, knowledge }) => {
      const [former] = (await commands.send(['HMGET', meta, 'former'])) as (string | null)[];
      const known = knowledge.formerInPlaceOf(epoch, former ?? '');
      await commands.run(RENEW, [events, meta], [epoch, newEpoch(), known, source, keep ? '1' : '']);
    });
  }

  async note(): Promise<void> {
    // Redis has stored the place with the events.
  }

  get #keys() {
    return this.#context.keys.log();
  }

  async #take(batch: RelayBatch, at: RelayPlace): Promise<Appended | undefined> {
    const { events, meta } = this.#keys;
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const reply = await this.#ask(({ commands }) =>
        commands.run(RELAY, [events, meta], this.#argumentsOf(batch, at)),
      );
      const [outcome, epoch, third] = reply as Reply;
      if (outcome === 'ok') {
        return this.#taken(batch, epoch, Number(third));
      } else if (outcome === 'moved') {
        return undefined;
      } else if (outcome === 'broken') {
        await this.#mend(epoch, third);
      }
    }
    throw unavailable(new RedisFailure('the stream has entries past its head', { mayHaveRun: false }));
  }

  /** @throws SseError `log-unavailable`, `closed` */
  async #ask<T>(ask: (context: AppendContext) => Promise<T>): Promise<T> {
    const { closed: closing } = this.#context;
    if (closing.aborted) {
      throw closed(true);
    }
    try {
      return await ask(this.#context);
    } catch (error) {
      throw closing.aborted ? closed(false) : unavailable(error);
    }
  }

  #argumentsOf({ epoch, records }: RelayBatch, { source = '' }: RelayPlace): string[] {
    const { settings, knowledge } = this.#context;
    const { sequence, nonce } = records.at(-1)!;
    return [
      newEpoch(),
      knowledge.formerOfNext(),
      source,
      formatPosition({ epoch, sequence, nonce }),
      String(settings.maxEvents),
      String(settings.maxAgeMs ?? 0),
      String(Date.now()),
      ...records.flatMap((record) => [...argumentsOf(record, record.nonce), String(record.time)]),
    ];
  }

  #taken({ records }: RelayBatch, epoch: string, from: number): Appended {
    const taken = records.map((record, index) => ({ ...record, sequence: from + index }));
    const { sequence, nonce } = taken.at(-1)!;
    this.#onAcknowledged({ epoch, sequence, nonce });
    return { epoch, records: taken };
  }

  /** Gives the log a new epoch: the stream has entries past its head that look like its own. */
  async #mend(epoch: string, former: string): Promise<void> {
    const { events, meta } = this.#keys;
    await this.#ask(({ commands, knowledge }) => {
      const known = FormerEpochs.parse(former).merge(knowledge.former).with(epoch);
      return commands.run(REPLACE_EPOCH, [events, meta], [epoch, newEpoch(), String(known)]);
    });
  }
}
