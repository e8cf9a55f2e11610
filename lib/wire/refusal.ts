import { SseError } from '../errors/index.js';

/**
 * The error for an event of a right kind with content that cannot be sent. Data causes it, not code. So it is reported,
 * and not thrown where no caller can catch it.
 */
class ContentError extends SseError {
  static {
    // Node prints the class name in place of the error's own name if they differ.
    Object.defineProperty(this, 'name', { value: 'SseError' });
  }
}

/** Makes the error for an event of a wrong kind. Code causes it: throw it. */
export function wrongKind(field: string, message: string): SseError {
  return new SseError('event-invalid', message, { field });
}

/** Makes the error for content that cannot be sent. Data causes it: report it, see {@link isContentFault}. */
export function wrongContent(field: string, message: string, cause?: unknown): SseError {
  return new ContentError('event-invalid', message, { field, cause });
}

/** Makes the error for an event that is too large. Data causes it. */
export function tooLarge(message: string, field?: string): SseError {
  return new ContentError('event-too-large', message, { field });
}

/** Returns whether an event was refused for its content. The next event may be fine. */
export function isContentFault(error: unknown): error is SseError {
  return error instanceof ContentError;
}
