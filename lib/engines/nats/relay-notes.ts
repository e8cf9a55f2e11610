import { LEASE_HEADER } from './lease.js';
import type { NatsContext } from './nats.event-log.js';
import type { NatsStream } from './stream.js';
import { subjectTokenOf } from './subject.js';

/** The place in the source that the stream of events had, when a message was its last. */
export interface RelayNote {
  readonly epoch: string;
  readonly last: number;
  readonly source: string | undefined;
  /** Places in messages up to this sequence do not count: this one was set after them, with a new epoch. */
  readonly since: number;
}

// No named log has this name: those of runs begin with `run`.
const NAME = 'log:relay';
/** A claim that never expires, so that no sweep of leases deletes it. */
const CLAIM = 'relay 0 Infinity claimed';

/**
 * The newest place in the source that an instance has noted. It is kept among the leases, in the stream of which each
 * subject has its newest message. It may be older than the stream of events, and never is newer, unless that stream has
 * fallen back.
 */
export class RelayNotes {
  readonly #context: NatsContext;
  readonly #stream: NatsStream;
  readonly #subject: string;
  #newest: RelayNote | undefined;
  #hasStream = false;

  /** @param base - the prefix of the subjects of leases */
  constructor(context: NatsContext, stream: NatsStream, base: string) {
    this.#context = context;
    this.#stream = stream;
    this.#subject = `${base}.${subjectTokenOf(NAME)}`;
  }

  /**
   * Reads the note of an epoch; undefined if there is none.
   *
   * @param isFresh - whether it must be the newest, and not one that this process has read before
   */
  async read(epoch: string, isFresh = false): Promise<RelayNote | undefined> {
    if (isFresh || this.#newest?.epoch !== epoch) {
      const message = await this.#stream.message({ last_by_subj: this.#subject });
      const note = message && noteOf(message.data);
      this.#newest = note?.epoch === epoch ? note : undefined;
    }
    return this.#newest;
  }

  async write(note: RelayNote): Promise<void> {
    const { epoch, last, source, since } = note;
    const known = this.#newest;
    if (known?.epoch === epoch && known.last === last && known.source === source) {
      return;
    }
    if (!this.#hasStream) {
      await this.#stream.ensure();
      this.#hasStream = true;
    }
    const data = Buffer.from(JSON.stringify([epoch, last, source ?? null, since]));
    const message = { subject: this.#subject, data, headers: [[LEASE_HEADER, CLAIM]] as const };
    await this.#context.publisher.publish(this.#stream.name, message, performance.now());
    this.#newest = note;
  }
}

/** Reads a note; undefined if another program has written it. */
function noteOf(data: Uint8Array): RelayNote | undefined {
  try {
    const [epoch, last, source, since] = JSON.parse(Buffer.from(data).toString()) as unknown[];
    const isNote =
      typeof epoch === 'string' &&
      isSequence(last) &&
      isSequence(since) &&
      (source === null || typeof source === 'string');
    return isNote ? { epoch, last, source: source ?? undefined, since } : undefined;
  } catch {
    return undefined;
  }
}

function isSequence(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
