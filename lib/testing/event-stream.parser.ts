/**
 * Parser of `text/event-stream` by WHATWG HTML, "Server-sent events", 9.2.5 and 9.2.6. It reports what the EventSource
 * of a browser would do. It does not share code with the encoder of this package, so that each checks the other.
 */
export class EventStreamParser {
  /** Strips one leading byte order mark, joins a character that is cut between chunks, replaces invalid UTF-8. */
  readonly #decoder = new TextDecoder('utf-8');
  readonly #handlers: EventStreamHandlers;
  /** The unfinished line. */
  #line = '';
  /** Whether a CR has ended the last line. A following LF, even in the next chunk, belongs to it. */
  #skipLineFeed = false;

  #data = '';
  #type = '';
  #id: string | undefined;
  /** Not reset by a dispatch: an event without an id inherits it. */
  #idBuffer: string;
  #lastEventId: string;

  constructor(handlers: EventStreamHandlers, lastEventId = '') {
    this.#handlers = handlers;
    this.#idBuffer = lastEventId;
    this.#lastEventId = lastEventId;
  }

  /** The id that a reconnecting client would send: that of the last complete block with an id, dispatched or not. */
  get lastEventId(): string {
    return this.#lastEventId;
  }

  /** Parses a chunk. There is no method for the end: the standard discards the unfinished block of a cut stream. */
  push(chunk: Uint8Array): void {
    const text = this.#decoder.decode(chunk, { stream: true });
    const lineEnd = /[\r\n]/g;
    let start = 0;
    if (this.#skipLineFeed && text.length > 0) {
      this.#skipLineFeed = false;
      if (text.startsWith('\n')) {
        start = 1;
      }
    }
    for (;;) {
      lineEnd.lastIndex = start;
      const found = lineEnd.exec(text);
      if (found === null) {
        break;
      }
      const line = this.#line + text.slice(start, found.index);
      this.#line = '';
      start = found.index + 1;
      if (found[0] === '\r') {
        if (start === text.length) {
          this.#skipLineFeed = true;
        } else if (text[start] === '\n') {
          start += 1;
        }
      }
      this.#interpret(line);
    }
    this.#line += text.slice(start);
  }

  #interpret(line: string): void {
    if (line === '') {
      this.#dispatch();
      return;
    }
    const colon = line.indexOf(':');
    const field = colon === -1 ? line : line.slice(0, colon);
    const rest = colon === -1 ? '' : line.slice(colon + 1);
    const value = rest.startsWith(' ') ? rest.slice(1) : rest;
    switch (field) {
      case '':
        this.#handlers.comment(value);
        break;
      case 'event':
        this.#type = value;
        break;
      case 'data':
        this.#data += `${value}\n`;
        break;
      case 'id':
        if (!value.includes('\0')) {
          this.#id = value;
          this.#idBuffer = value;
        }
        break;
      case 'retry':
        if (/^[0-9]+$/.test(value)) {
          this.#handlers.retry(Number(value));
        }
        break;
      default:
        // The standard ignores unknown fields.
        break;
    }
  }

  #dispatch(): void {
    const event = { type: this.#type || 'message', data: this.#data, id: this.#id };
    this.#type = '';
    this.#data = '';
    this.#id = undefined;
    this.#lastEventId = this.#idBuffer;
    // An empty buffer means that there was no data field at all: `data:` alone leaves a line feed in it.
    if (event.data === '') {
      return;
    }
    this.#handlers.event({ ...event, data: event.data.slice(0, -1), lastEventId: this.#lastEventId });
  }
}

/** Listeners of a parser, called in the order of the stream. */
export interface EventStreamHandlers {
  /**
   * A dispatched event. `id` is the id of its own block, undefined if the block has none. `lastEventId` is the id that
   * the client now holds.
   */
  event(event: { type: string; data: string; id: string | undefined; lastEventId: string }): void;
  /** A line that begins with a colon, without the colon and one following space. */
  comment(text: string): void;
  /** A valid `retry` field. It takes effect at once, before its block ends. */
  retry(ms: number): void;
}
