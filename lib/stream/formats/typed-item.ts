import { show, SseError } from '../../errors/index.js';
import { refuseForeign } from '../../wire/index.js';

/** An item of a protocol in which each item has a type. */
export interface TypedItem {
  readonly type: string;
}

/**
 * Returns an item that has a type. An item without one is refused: a client of the protocol would end the whole answer.
 *
 * @param expected - what the source should yield, for the message
 * @throws SseError `event-invalid`
 */
export function typedItem(item: unknown, format: string, expected: string): TypedItem {
  const object = objectItem(item, format, expected) as { type?: unknown };
  if (typeof object.type !== 'string' || object.type === '') {
    throw refused(format, expected, 'an object without a "type"');
  }
  return object as TypedItem;
}

/** Returns an item of a protocol in which an item is any object. See {@link typedItem}. */
export function objectItem(item: unknown, format: string, expected: string): object {
  refuseForeign(item, `An item of a stream in the format '${format}'`);
  if (typeof item !== 'object' || item === null || Array.isArray(item)) {
    throw refused(format, expected, show(item));
  }
  return item;
}

function refused(format: string, expected: string, got: string): SseError {
  return new SseError(
    'event-invalid',
    `A stream in the format '${format}' yields ${expected}; got ${got}. ` +
      `Use the format 'json' for data of your own.`,
    { field: 'data' },
  );
}
