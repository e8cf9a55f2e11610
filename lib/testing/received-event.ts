import { SseTestError } from './sse-test.error.js';

/** An event as an EventSource would have dispatched it. */
export class ReceivedEvent {
  /** `message` where the server named none. */
  readonly type: string;
  readonly data: string;
  /** The event's own `id` field; undefined where it had none. */
  readonly id: string | undefined;
  /** The id that the client holds after this event: its own, or an earlier one. */
  readonly lastEventId: string;
  /** When its last byte was read, in milliseconds since the epoch with fractions; never steps back. */
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
   * The data as JSON, through `check` where one is given, such as a schema's `parse`; without it the type is taken on
   * trust. Throws an {@link SseTestError} of code `json-invalid`, which shows the data, where that is no JSON.
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

/** `text` in quotes, its control characters visible, and of a length that an error message bears. */
export function excerpt(text: string): string {
  return JSON.stringify(text.length > EXCERPT_LENGTH ? `${text.slice(0, EXCERPT_LENGTH)}…` : text);
}

export function excerptOfEnd(text: string): string {
  return JSON.stringify(text.length > EXCERPT_LENGTH ? `…${text.slice(-EXCERPT_LENGTH)}` : text);
}
