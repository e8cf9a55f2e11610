import { SseError } from '../errors/index.js';

/**
 * An event that is of the right kind and holds something that cannot be sent. Data causes that, and not the code, so
 * that it is reported and not thrown where nobody could catch it.
 */
class ContentError extends SseError {
  static {
    // Node prints the name of the class in the place of the error's own, if they differ.
    Object.defineProperty(this, 'name', { value: 'SseError' });
  }
}

/** What code gets wrong, the same with every call: to be thrown. */
export function wrongKind(field: string, message: string): SseError {
  return new SseError('event-invalid', message, { field });
}

/** What data gets wrong, whatever the code: to be reported, see {@link isContentFault}. */
export function wrongContent(field: string, message: string, cause?: unknown): SseError {
  return new ContentError('event-invalid', message, { field, cause });
}

/** An event that is larger than allowed, which data causes. */
export function tooLarge(message: string, field?: string): SseError {
  return new ContentError('event-too-large', message, { field });
}

/** Whether an event was refused for its content. Its kind is right, and the next one may be fine. */
export function isContentFault(error: unknown): error is SseError {
  return error instanceof ContentError;
}
