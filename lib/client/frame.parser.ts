import { SseClientError } from './client.error.js';

/** A block of an event stream, as it is dispatched. */
export interface Frame {
  /** The event's type; `message` if the block has none. */
  readonly type: string;
  /** Undefined for a block without data, which is no event: its id counts all the same. */
  readonly data: string | undefined;
  /** The block's own id; undefined if it has none. */
  readonly id: string | undefined;
}

/** What a parser reports, in the order of the stream. */
export interface FrameListener {
  frame(frame: Frame): void;
  comment(text: string): void;
  retry(ms: number): void;
}

/**
 * Parses `text/event-stream` as WHATWG HTML has it, section 9.2.6. A block that a cut leaves unfinished is never
 * dispatched, and its id not taken.
 */
export class FrameParser {
  readonly #listener: FrameListener;
  readonly #maxCharacters: number;
  /** A line that has not ended. */
  #rest = '';
  /** The last text ended in CR: an LF that comes next belongs to it. */
  #skipsLineFeed = false;
  /** What the block has so far, without the line that has not ended. */
  #characters = 0;
  #type = '';
  #data: string[] = [];
  #id: string | undefined;

  /** @param maxCharacters - of one block; what is longer is an SseClientError `too-large` */
  constructor(listener: FrameListener, maxCharacters: number) {
    this.#listener = listener;
    this.#maxCharacters = maxCharacters;
  }

  /** @param text - decoded with its byte order mark removed */
  push(text: string): void {
    const own = this.#unify(text);
    this.#rest += own;
    // Looked at only as it ends: a long line in many pieces is searched once.
    if (own.includes('\n')) {
      const lines = this.#rest.split('\n');
      this.#rest = lines.pop()!;
      lines.forEach((line) => this.#take(line));
    }
    if (this.#rest.length + this.#characters > this.#maxCharacters) {
      const message = `A block of the event stream is longer than ${this.#maxCharacters} characters.`;
      throw new SseClientError('too-large', message);
    }
  }

  /** CRLF and CR as LF. */
  #unify(text: string): string {
    if (!text) {
      return text;
    }
    const own = this.#skipsLineFeed && text[0] === '\n' ? text.slice(1) : text;
    this.#skipsLineFeed = text.endsWith('\r');
    return own.includes('\r') ? own.replace(/\r\n?/g, '\n') : own;
  }

  #take(line: string): void {
    if (!line) {
      this.#dispatch();
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') {
      this.#data.push(value);
    } else if (field === 'event') {
      this.#type = value;
    } else if (field === 'id') {
      this.#id = value.includes('\0') ? this.#id : value;
    } else if (field === 'retry') {
      if (/^\d+$/.test(value)) {
        this.#listener.retry(Number(value));
      }
    } else if (!colon) {
      // It stands in no block: a stream of heartbeats alone never grows one.
      this.#listener.comment(value);
      return;
    }
    this.#characters += line.length;
  }

  #dispatch(): void {
    const data = this.#data.length > 0 ? this.#data.join('\n') : undefined;
    const frame = { type: this.#type || 'message', data, id: this.#id };
    this.#type = '';
    this.#data = [];
    this.#id = undefined;
    this.#characters = 0;
    if (data !== undefined || frame.id !== undefined) {
      this.#listener.frame(frame);
    }
  }
}
