import type { Deadline } from '../time/index.js';
import { HeldFrames } from './held-frames.js';
import { LINGER_MS } from './lifetime.js';
import type { ResponseOutput } from './output.js';
import type { ConnectionHost, ConnectionSettings } from './response-host.js';

// Node's own high-water mark of a stream. It applies to frames that wait for the headers.
const HELD_HIGH_WATER_BYTES = 16_384;

/** The response of an outbox. */
export interface OutboxOwner {
  /** Whether the headers are still to come. */
  readonly isPending: boolean;
  /** Whether the feed has something to deliver before what the app sends. */
  readonly isBehind: boolean;
  readonly isClosed: boolean;
  /** A frame waits: for the headers, or behind the feed. */
  onFrameHeld(): void;
  /** More or less may wait for the client than before. */
  onQueue(): void;
  /** Calls {@link Outbox.endTurn} at the end of this turn. */
  joinTurn(): void;
  /** The client does not read. */
  closeAsSlow(): void;
}

/**
 * What an app sends to one client, until it is written: frames wait here for the headers, or for the feed to deliver
 * what comes before them. Too much for a client that does not read closes its response.
 */
export class Outbox {
  readonly #owner: OutboxOwner;
  readonly #output: ResponseOutput;
  readonly #settings: ConnectionSettings;
  readonly #host: ConnectionHost;
  #held: HeldFrames | undefined;
  #bytesSent = 0;
  #isInTurn = false;
  /** Whether the frames of this turn are a burst: when it began, the client kept up, or the headers were to come. */
  #isBurst = false;
  /** Bytes sent after the last burst. If more bytes than these wait, a part of the burst is still unread. */
  #sentSinceBurst = 0;
  /** When the client must have read a burst. */
  #burstLimit: Deadline | undefined;
  #drainWaiters: (() => void)[] | undefined;

  constructor(
    owner: OutboxOwner,
    output: ResponseOutput,
    { settings, host }: { settings: ConnectionSettings; host: ConnectionHost },
  ) {
    this.#owner = owner;
    this.#output = output;
    this.#settings = settings;
    this.#host = host;
  }

  /** Whether frames wait. */
  get isHolding(): boolean {
    return this.#held !== undefined;
  }

  /** UTF-8 bytes of the frames that were sent, including those that wait. */
  get bytesSent(): number {
    return this.#bytesSent;
  }

  /** Whether the client takes more without a backlog. */
  get keepsUp(): boolean {
    return this.#mustHold ? this.#heldBytes < HELD_HIGH_WATER_BYTES : this.#output.keepsUp;
  }

  /** Bytes that wait in memory for this client alone; 0 if it keeps up. */
  get queuedBytes(): number {
    const heldBytes = this.#heldBytes;
    return this.#output.ownWaitingBytes + (heldBytes < HELD_HIGH_WATER_BYTES ? 0 : heldBytes);
  }

  /**
   * Writes frames, or lets them wait.
   *
   * @param events - how many events the text has
   * @returns whether the client keeps up
   */
  push(text: string, events = 1): boolean {
    const { lastChunk } = this.#host;
    const chunk = this.#host.chunkOf(text);
    const bytes = chunk.frame.length;
    this.#joinTurn();
    // While the client keeps up, one event may be larger than the bound: maxEventBytes limits it, and the bytes that
    // wait, such as the headers, are no more than the socket takes.
    const size = this.#mustHold ? bytes : this.#output.sizeOf(chunk);
    if (!this.keepsUp && this.#isTooMuch(size)) {
      this.#owner.closeAsSlow();
      return false;
    }
    if (!this.#isBurst) {
      this.#sentSinceBurst += size;
    }
    this.#bytesSent += bytes;
    this.#output.countEvents(events);
    if (this.#mustHold) {
      this.#hold(text, bytes);
    } else {
      // Written now and corked, not queued: the app may end the response in this very turn.
      this.#output.cork();
      if (chunk === lastChunk) {
        this.#output.writeShared(chunk);
      } else {
        this.#output.writeChunk(chunk);
      }
    }
    return !this.#owner.isClosed && this.keepsUp;
  }

  /** Counts bytes that the response itself has written. */
  countSent(bytes: number): void {
    this.#bytesSent += bytes;
  }

  /** Lets the frames of this turn leave. */
  endTurn(): void {
    this.#isInTurn = false;
    this.#output.uncork();
    const hasBacklog = this.#output.waitingBytes > this.#settings.maxBufferedBytes;
    if (this.#isBurst && hasBacklog && !this.#owner.isClosed) {
      this.#host.wheel.cancel(this.#burstLimit);
      this.#burstLimit = this.#host.wheel.schedule(LINGER_MS, () => this.#closeIfUnread());
    }
  }

  /** Resolves when the client keeps up, or the outbox is closed. */
  drained(): Promise<void> {
    return new Promise((resolve) => (this.#drainWaiters ??= []).push(resolve));
  }

  /** Resolves what {@link drained} has returned, if the client keeps up. */
  wakeIfKeepsUp(): void {
    if (this.keepsUp) {
      this.#wake();
    }
  }

  /** Notes that a feed begins here: the frames so far come before it, later ones behind it. */
  markFeed(): void {
    this.#held?.markFeed();
  }

  /** Takes the frames that leave with the headers: all that wait, or those sent before there was a feed. */
  takeFirst(hasFeed: boolean): string {
    const held = this.#held;
    const first = (hasFeed ? held?.takeBeforeFeed() : held?.join()) ?? '';
    if (!hasFeed || held?.isEmpty) {
      this.#held = undefined;
    }
    return first;
  }

  /** Takes all frames that wait. */
  takeAll(): string {
    return this.takeFirst(false);
  }

  /** Drops what waits: nothing more can be sent. */
  close(): void {
    this.#held = undefined;
    this.#host.wheel.cancel(this.#burstLimit);
    this.#wake();
  }

  /** Whether frames must wait: for the headers, or for the feed to deliver what comes before them. */
  get #mustHold(): boolean {
    return this.#owner.isPending || this.#owner.isBehind;
  }

  get #heldBytes(): number {
    return this.#held?.bytes ?? 0;
  }

  #hold(text: string, bytes: number): void {
    this.#held ??= new HeldFrames();
    this.#held.add(text, bytes);
    if (this.#heldBytes >= HELD_HIGH_WATER_BYTES) {
      this.#owner.onQueue();
    }
    this.#owner.onFrameHeld();
  }

  #joinTurn(): void {
    if (!this.#isInTurn) {
      this.#isInTurn = true;
      this.#isBurst = this.#owner.isPending || this.keepsUp;
      if (this.#isBurst) {
        this.#sentSinceBurst = 0;
      }
      this.#owner.joinTurn();
    }
  }

  /** A client is slow if it had a turn to read and did not. A burst within one turn has a bound of its own. */
  #isTooMuch(bytes: number): boolean {
    const { maxBurstBytes, maxBufferedBytes } = this.#settings;
    const waiting = this.#mustHold ? this.#heldBytes : this.#output.waitingBytes;
    return this.#isBurst
      ? waiting + bytes > maxBurstBytes
      : Math.min(waiting, this.#sentSinceBurst) + bytes > maxBufferedBytes;
  }

  #closeIfUnread(): void {
    // If fewer bytes wait, all of them are newer than the burst.
    if (this.#output.waitingBytes > this.#sentSinceBurst + this.#settings.maxBufferedBytes) {
      this.#owner.closeAsSlow();
    }
  }

  #wake(): void {
    const waiters = this.#drainWaiters ?? [];
    this.#drainWaiters = undefined;
    waiters.forEach((wake) => wake());
  }
}
