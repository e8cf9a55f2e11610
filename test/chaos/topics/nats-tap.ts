import { createHash } from 'node:crypto';
import type { Wiretap } from '../../support/faults/fault-proxy.js';
import { FOREIGN } from './history.js';
import type { Entry } from './history.js';

export const STREAM = 'sse-topics';
export const EVENT_HEADER = 'Sse-Event';
const EVENTS = 'sse.topics.events.';
const LINE_END = '\r\n';

/** A message of the stream that instances were told of, and the life of the server in which they were. */
export interface HeardEntry extends Entry {
  readonly life: number;
}

interface Message {
  readonly subject: string;
  readonly reply: string;
  readonly headers: string;
  readonly payload: Buffer;
}

/**
 * What the server says to the instances, read off their connections: also what it loses in the next moment, and an
 * epoch that stands for no longer than an answer. It parses the protocol by itself, and knows nothing of the engine.
 */
export class NatsTap implements Wiretap {
  /** Epochs, in the order in which instances were first told of them. */
  readonly epochs: string[] = [];
  entries: HeardEntry[] = [];
  /** Goes up where a server ends, or the stream is taken away: no connection lives on past that. */
  life = 0;

  open(): { toServer: (bytes: Buffer) => void; toClient: (bytes: Buffer) => void } {
    const { life } = this;
    /** What was published, by the subject of the answer. */
    const published = new Map<string, Omit<Entry, 'sequence'>>();
    const sent = new Protocol((message) => {
      if (message.reply !== '' && message.subject.startsWith(EVENTS)) {
        published.set(message.reply, contentOf(message));
      }
    });
    const told = new Protocol((message) => {
      const acknowledged = published.get(message.subject);
      const sequence = acknowledged ? sequenceIn(message.payload) : deliveredSequence(message);
      if (sequence !== undefined) {
        this.entries.push({ ...(acknowledged ?? contentOf(message)), sequence, life });
      }
      published.delete(message.subject);
      this.#hearEpoch(message.payload);
    });
    return { toServer: (bytes) => sent.push(bytes), toClient: (bytes) => told.push(bytes) };
  }

  #hearEpoch(payload: Buffer): void {
    if (!payload.includes('stream_') || !payload.includes(`"name":"${STREAM}"`)) {
      return;
    }
    const [epoch] = epochsIn((parsed(payload) as { config?: { description?: string } })?.config?.description);
    if (epoch !== undefined && !this.epochs.includes(epoch)) {
      this.epochs.push(epoch);
    }
  }
}

/** The epoch of a stream by its description, and those that it comes after. */
export function epochsIn(description = ''): string[] {
  const [, epoch, former = ''] = /\bepoch ([0-9a-z]+)(?:, after([0-9a-z ]+))?/.exec(description) ?? [];
  return epoch === undefined ? [] : [epoch, ...former.split(' ').filter(Boolean)];
}

/** @param header - what the message has as its header of ours, if anything */
export function entryOf(
  header: string | undefined,
  { subject, payload }: Pick<Message, 'subject'> & { payload: Uint8Array },
): Omit<Entry, 'sequence'> {
  if (header === undefined || header === '') {
    // One of another program has a place as well.
    const hash = createHash('sha256').update(subject).update('\n').update(payload).digest('hex');
    return { nonce: hash.slice(0, 8), n: FOREIGN };
  }
  const n = /"n":(\d+)/.exec(Buffer.from(payload).toString())?.[1] ?? Number.NaN;
  return { nonce: header.split(' ')[0]!, n: Number(n) };
}

function contentOf({ headers, subject, payload }: Message): Omit<Entry, 'sequence'> {
  return entryOf(new RegExp(`^${EVENT_HEADER}: (.*)$`, 'm').exec(headers)?.[1]?.trim(), { subject, payload });
}

/** Where an answer says that a message was put. */
function sequenceIn(payload: Buffer): number | undefined {
  const { stream, seq } = (parsed(payload) ?? {}) as { stream?: string; seq?: number };
  return stream === STREAM ? seq : undefined;
}

/** Where a message stands that a consumer delivers as a whole. */
function deliveredSequence({ reply, headers }: Message): number | undefined {
  const [, sequence] =
    /^\$JS\.ACK\.(?:[^.]+\.[^.]+\.)?sse-topics\.[^.]+\.\d+\.(\d+)\.\d+\.\d+\.\d+/.exec(reply) ?? [];
  return sequence === undefined || headers.includes('Nats-Msg-Size') ? undefined : Number(sequence);
}

function parsed(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString());
  } catch {
    return undefined;
  }
}

/** One direction of a connection: finds the messages among its lines. */
class Protocol {
  readonly #onMessage: (message: Message) => void;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(onMessage: (message: Message) => void) {
    this.#onMessage = onMessage;
  }

  push(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    let at = 0;
    for (let next = this.#take(at); next !== undefined; next = this.#take(at)) {
      at = next;
    }
    this.#bytes = this.#bytes.subarray(at);
  }

  /** @returns where what follows begins; undefined where it is not all there */
  #take(at: number): number | undefined {
    const lineEnd = this.#bytes.indexOf(LINE_END, at);
    if (lineEnd === -1) {
      return undefined;
    }
    const begin = lineEnd + LINE_END.length;
    const [verb = '', ...words] = this.#bytes.toString('latin1', at, lineEnd).split(/\s+/);
    const [, hasHeaders, kind] = /^(H?)(MSG|PUB)$/i.exec(verb) ?? [];
    if (kind === undefined) {
      return begin;
    }
    const size = Number(words.pop());
    const headersSize = hasHeaders ? Number(words.pop()) : 0;
    const end = begin + size;
    if (this.#bytes.length < end + LINE_END.length) {
      return undefined;
    }
    // What a server sends has the number of a subscription after its subject.
    const [subject = '', ...rest] = words;
    this.#onMessage({
      subject,
      reply: (kind.toUpperCase() === 'MSG' ? rest[1] : rest[0]) ?? '',
      headers: this.#bytes.toString('utf8', begin, begin + headersSize),
      payload: this.#bytes.subarray(begin + headersSize, end),
    });
    return end + LINE_END.length;
  }
}
