import { randomBytes } from 'node:crypto';
import type { Msg, MsgHdrs } from '@nats-io/transport-node';
import { SseError } from '../../errors/index.js';
import { afterReading } from '../../time/index.js';
import { closed, isNotNow, isWrongLastSequence } from './failure.js';
import type { NatsLink } from './link.js';
import type { Outgoing } from './message.js';
import type { NatsSettings } from './options.js';

/** The stream's answer to a stored message. */
export interface Stored {
  readonly sequence: number;
  /** How often the connection had been lost when the answer came: see {@link NatsLink.losses}. */
  readonly losses: number;
}

/** The error for a message that a stream refused. */
export class Refusal extends Error {
  /** JetStream's error code. */
  readonly code: number;
  /** False if an earlier attempt without an answer may have been stored. */
  readonly isOutcomeKnown: boolean;

  constructor(message: string, code: number, isOutcomeKnown: boolean) {
    super(message);
    this.code = code;
    this.isOutcomeKnown = isOutcomeKnown;
  }
}

/** The owner of a {@link Publisher}. */
export interface PublisherEvents {
  /** Called if no stream has the subject: it may be gone. */
  onNoStream(stream: string): void;
  onTaken(): void;
  onRefused(why: string): void;
  onLate(): void;
}

interface PendingPublish {
  readonly token: string;
  readonly message: Outgoing;
  readonly stream: string;
  readonly headers: MsgHdrs;
  readonly bytes: number;
  readonly deadline: number;
  readonly resolve: (stored: Stored) => void;
  readonly reject: (error: SseError | Refusal) => void;
  /** Whether the last attempt got no answer. */
  isUnanswered: boolean;
  /** Whether an earlier attempt got no answer. */
  wasUnanswered: boolean;
  /** When it was last sent; 0 if it is still to be sent. */
  sentAt: number;
}

interface Answer {
  readonly stream?: string;
  readonly seq?: number;
  readonly error?: { readonly err_code?: number; readonly code?: number; readonly description?: string };
}

const HEADERS_BYTES = 200;
const MAX_CHECK_MS = 100;

/**
 * Publishes to streams, in order, until the message is stored or its deadline passes. An attempt without an answer is
 * repeated under the same id, which the stream stores once within its duplicate window.
 */
export class Publisher {
  readonly #link: NatsLink;
  readonly #settings: NatsSettings;
  readonly #events: PublisherEvents;
  /** In the order of their calls, and so of their deadlines. */
  readonly #pending = new Map<string, PendingPublish>();
  #inbox: string | undefined;
  /** The prefix of this process's ids. It is short, since each message keeps its id. */
  #ids = '';
  #subscription: { unsubscribe(): void } | undefined;
  #stopListening: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #bytes = 0;
  #count = 0;
  #isClosed = false;

  constructor(link: NatsLink, settings: NatsSettings, events: PublisherEvents) {
    this.#link = link;
    this.#settings = settings;
    this.#events = events;
  }

  /**
   * Sends a message at once if there is a connection, and again if it got no answer.
   *
   * @param since - when it was asked for, by `performance.now()`
   * @throws SseError `publish-failed`, `closed`; {@link Refusal}
   */
  publish(stream: string, message: Outgoing, since: number): Promise<Stored> {
    return new Promise<Stored>((resolve, reject) => {
      const bytes = sizeOf(message);
      const refusal = this.#refusal(message, bytes);
      if (refusal) {
        reject(refusal);
        return;
      }
      this.#listen();
      const token = (this.#count += 1).toString(36);
      const headers = this.#link.headers();
      for (const [name, value] of message.headers) {
        headers.set(name, value);
      }
      headers.set('Nats-Msg-Id', `${this.#ids}.${token}`);
      const deadline = since + this.#settings.publishTimeoutMs;
      const outcome = { resolve, reject, isUnanswered: false, wasUnanswered: false, sentAt: 0 };
      const pending = { token, message, stream, headers, bytes, deadline, ...outcome };
      this.#pending.set(token, pending);
      this.#bytes += bytes;
      this.#send(pending);
      this.#timer ??= setInterval(() => afterReading(() => this.#check()), this.#checkMs);
    });
  }

  close(): void {
    this.#isClosed = true;
    for (const pending of this.#pending.values()) {
      this.#settle(pending, () => pending.reject(closed(isOutcomeKnown(pending))));
    }
    this.#stopListening?.();
    if (this.#subscription && !this.#link.connection.isClosed()) {
      this.#subscription.unsubscribe();
    }
    this.#subscription = undefined;
  }

  get #checkMs(): number {
    return Math.max(5, Math.min(MAX_CHECK_MS, this.#settings.publishTimeoutMs / 10));
  }

  #refusal(message: Outgoing, bytes: number): SseError | undefined {
    if (this.#isClosed) {
      return closed(true);
    }
    const { maxPendingBytes } = this.#settings;
    const refusal = tooLarge(message, bytes, this.#link.maxPayload);
    if (refusal) {
      return refusal;
    }
    if (this.#bytes + bytes > maxPendingBytes) {
      const what = `More than maxPendingBytes (${maxPendingBytes}) of events wait for NATS.`;
      return new SseError('publish-failed', what, { isOutcomeKnown: true });
    }
    return undefined;
  }

  /** Subscribes to the answers. One subject serves all: a subscription for each would cost as much as its message. */
  #listen(): void {
    if (this.#subscription) {
      return;
    }
    this.#inbox = this.#link.inbox();
    this.#ids = randomBytes(6).toString('base64url');
    const start = this.#inbox.length + 1;
    this.#subscription = this.#link.connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        const pending = error ? undefined : this.#pending.get(message.subject.slice(start));
        if (pending) {
          this.#receive(pending, message);
        }
      },
    });
    this.#stopListening = this.#link.onConnection((isConnected) => {
      for (const pending of this.#pending.values()) {
        pending.sentAt = 0;
        if (isConnected) {
          this.#send(pending);
        }
      }
    });
  }

  #send(pending: PendingPublish): void {
    const { subject, data } = pending.message;
    const { headers, token } = pending;
    // A connection that is dialing may drop a message or send it later, so it gets none.
    if (this.#link.send(subject, data, { headers, reply: `${this.#inbox}.${token}` })) {
      pending.wasUnanswered ||= pending.isUnanswered;
      pending.isUnanswered = true;
      pending.sentAt = performance.now();
    }
  }

  #receive(pending: PendingPublish, message: Msg): void {
    if (message.headers?.code) {
      // 503: no stream has the subject. It is sent again when the timer fires.
      pending.isUnanswered = false;
      pending.sentAt = 0;
      this.#events.onNoStream(pending.stream);
      return;
    }
    const answer = answerOf(message);
    if (!answer) {
      return;
    }
    const { stream, seq, error } = answer;
    if (isNotNow(error?.err_code)) {
      pending.isUnanswered = false;
      pending.sentAt = 0;
    } else if (error || seq === undefined || stream !== pending.stream) {
      const what =
        error?.description ?? `stream "${stream}" has taken the event, in place of "${pending.stream}"`;
      const code = error?.err_code ?? error?.code ?? 0;
      if (!isWrongLastSequence(code)) {
        this.#events.onRefused(what);
      }
      this.#settle(pending, () => pending.reject(new Refusal(what, code, !pending.wasUnanswered)));
    } else {
      this.#events.onTaken();
      this.#settle(pending, () => pending.resolve({ sequence: seq, losses: this.#link.losses }));
    }
  }

  /** Repeats messages that no stream had, or that got no answer for half of their time. Gives up late ones. */
  #check(): void {
    const now = performance.now();
    const { publishTimeoutMs } = this.#settings;
    for (const pending of this.#pending.values()) {
      if (pending.deadline - this.#checkMs <= now) {
        const what = `NATS has not taken the event within publishTimeoutMs (${publishTimeoutMs}).`;
        this.#events.onLate();
        this.#settle(pending, () => {
          pending.reject(new SseError('publish-failed', what, { isOutcomeKnown: isOutcomeKnown(pending) }));
        });
      } else if (pending.sentAt === 0 || pending.sentAt + publishTimeoutMs / 2 <= now) {
        this.#send(pending);
      }
    }
  }

  #settle(pending: PendingPublish, settle: () => void): void {
    this.#pending.delete(pending.token);
    this.#bytes -= pending.bytes;
    if (this.#pending.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    settle();
  }
}

/** Makes the error for a message that the server would not take; undefined if it would. */
export function tooLarge({ data }: Outgoing, bytes: number, maxPayload: number): SseError | undefined {
  if (bytes <= maxPayload) {
    return undefined;
  }
  const what = `The event has ${data.length} bytes, ${bytes} with its headers, and the server takes ${maxPayload} at most (max_payload).`;
  return new SseError('publish-failed', what, { isOutcomeKnown: true });
}

/** Counts a message with its headers. A header has one byte a character, since an event's type is escaped there. */
export function sizeOf({ data, subject, headers }: Outgoing): number {
  return headers.reduce(
    (sum, [name, value]) => sum + name.length + value.length,
    data.length + subject.length + HEADERS_BYTES,
  );
}

/** Reads an answer; undefined if JetStream did not send it: each subscriber of the subject can answer, too. */
function answerOf(message: Msg): Answer | undefined {
  try {
    const answer = message.json<Answer | null>();
    const isAnswer =
      typeof answer?.error === 'object' || (typeof answer?.stream === 'string' && readSeq(answer));
    return isAnswer ? (answer ?? undefined) : undefined;
  } catch {
    return undefined;
  }
}

function readSeq({ seq }: Answer): boolean {
  return Number.isSafeInteger(seq);
}

function isOutcomeKnown({ isUnanswered, wasUnanswered }: PendingPublish): boolean {
  return !isUnanswered && !wasUnanswered;
}
