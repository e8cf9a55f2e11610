import { SseTestError } from './sse-test.error.js';

/** An event as an EventSource would have dispatched it. */
export class ReceivedEvent {
  /** `message` if the server has named no type. */
  readonly type: string;
  readonly data: string;
  /** The `id` field of the event itself; undefined if it has none. */
  readonly id: string | undefined;
  /** The id that the client holds after this event: that of this event, or of an earlier one. */
  readonly lastEventId: string;
  /** When the last byte of the event was read: milliseconds since the epoch, with fractions. It never steps back. */
  readonly receivedAt: number;

  /** @internal */
  constructor(event: Pick<ReceivedEvent, 'type' | 'data' | 'id' | 'lastEventId'>, receivedAt: number) {
    this.type = event.type;
    this.data = event.data;
    this.id = event.id;
    this.lastEventId = event.lastEventId;
    this.receivedAt = receivedAt;
  }

  /**
   * Parses the data as JSON.
   *
   * @param check - turns the parsed value into a `T`, or throws, such as the `parse` of a schema. Without it the type
   * is not checked
   * @throws SseTestError `json-invalid`, which shows the data
   */
  json<T = unknown>(check: (value: unknown) => T = (value) => value as T): T {
    return check(this.#parse());
  }

  #parse(): unknown {
    try {
      return JSON.parse(this.data);
    } catch (cause) {
      throw new SseTestError(
        'json-invalid',
        `The data of the "${this.type}" event is no JSON: ${excerpt(this.data)}`,
        {
          cause,
        },
      );
    }
  }
}

const EXCERPT_LENGTH = 200;

/** Quotes a text for an error message, with visible control characters and of limited length. */
export function excerpt(text: string): string {
  return JSON.stringify(text.length > EXCERPT_LENGTH ? `${text.slice(0, EXCERPT_LENGTH)}…` : text);
}

export function excerptOfEnd(text: string): string {
  return JSON.stringify(text.length > EXCERPT_LENGTH ? `…${text.slice(-EXCERPT_LENGTH)}` : text);
}
