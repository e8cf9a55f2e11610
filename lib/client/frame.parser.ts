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
  /** The pieces of a line that has not ended, joined once it has. */
  #pieces: string[] = [];
  /** The last text ended in CR: an LF that comes next belongs to it. */
  #skipsLineFeed = false;
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
    const lines = this.#unify(text).split('\n');
    const rest = lines.pop()!;
    for (const line of lines) {
      this.#count(line);
      this.#pieces.push(line);
      const whole = this.#pieces.length === 1 ? line : this.#pieces.join('');
      this.#pieces = [];
      this.#take(whole);
    }
    if (rest) {
      this.#count(rest);
      this.#pieces.push(rest);
    }
  }

  /** CRLF and CR as LF. */
  #unify(text: string): string {
    if (!text) {
      return text;
    }
    const own = this.#skipsLineFeed && text.startsWith('\n') ? text.slice(1) : text;
    this.#skipsLineFeed = text.endsWith('\r');
    return own.includes('\r') ? own.replace(/\r\n?/g, '\n') : own;
  }

  #count({ length }: string): void {
    this.#characters += length;
    if (this.#characters > this.#maxCharacters) {
      const message = `A block of the event stream is longer than ${this.#maxCharacters} characters.`;
      throw new SseClientError('too-large', message);
    }
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
      // A comment stands in no block: a stream of heartbeats alone never grows one.
      this.#characters -= line.length;
      this.#listener.comment(value);
    }
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
