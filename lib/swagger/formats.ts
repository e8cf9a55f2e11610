import type { StreamFormatName } from '../index.js';
import { SseError } from '../errors/index.js';
import type { ApiSseSchema, NamedEvent } from './event-schema.js';

/** What a client of a format receives beside the items of the app. */
export interface DocumentedFormat {
  readonly headers?: Readonly<Record<string, string>>;
  /** Its items, if the app does not describe them. */
  readonly item: NamedEvent;
  /** Its closing frames: a failure, and the end. */
  readonly last: readonly NamedEvent[];
}

const text: ApiSseSchema = { type: 'string' };
const object: ApiSseSchema = { type: 'object' };
const typed: ApiSseSchema = { type: 'object', required: ['type'], properties: { type: text } };
const DONE: NamedEvent = {
  name: 'message',
  description: 'The end.',
  schema: { type: 'string', enum: ['[DONE]'] },
};

// The formats of `stream()` and of runs, as clients see them.
const FORMATS: Readonly<Record<StreamFormatName, DocumentedFormat>> = {
  openai: {
    item: { name: 'message', description: 'A chunk of the completion.', schema: object },
    last: [failure('message', { error: errorOf(['message', 'type']) }), DONE],
  },
  anthropic: {
    item: { description: 'An event of the message, named by its type.', schema: typed },
    last: [failure('error', { type: only('error'), error: errorOf(['type', 'message']) })],
  },
  'ai-sdk': {
    headers: { 'x-vercel-ai-ui-message-stream': 'v1' },
    item: { name: 'message', description: 'A chunk of the UI message.', schema: typed },
    last: [failure('message', { type: only('error'), errorText: text }), DONE],
  },
  'ag-ui': {
    item: { name: 'message', description: 'An event of AG-UI.', schema: typed },
    last: [failure('message', { type: only('RUN_ERROR'), message: text })],
  },
  json: {
    item: { name: 'message', description: 'An item.', schema: {} },
    last: [
      failure('error', { message: text, reason: text }),
      { name: 'done', description: 'The end: `null`.', schema: {} },
    ],
  },
};

/**
 * Finds the documentation of a format.
 *
 * @throws SseError `options-invalid`
 */
export function documentedFormat(name: StreamFormatName): DocumentedFormat {
  if (!Object.hasOwn(FORMATS, name)) {
    const names = Object.keys(FORMATS).map((known) => `'${known}'`);
    throw new SseError(
      'options-invalid',
      `@ApiSse(): format must be one of ${names.join(', ')}; got '${name}'.`,
      {
        field: 'format',
      },
    );
  }
  return FORMATS[name];
}

function failure(name: string, properties: Record<string, ApiSseSchema>): NamedEvent {
  const schema: ApiSseSchema = { type: 'object', required: Object.keys(properties), properties };
  return { name, description: 'The stream has failed, and ends.', schema };
}

function errorOf(fields: string[]): ApiSseSchema {
  return {
    type: 'object',
    required: fields,
    properties: Object.fromEntries(fields.map((field) => [field, text])),
  };
}

function only(value: string): ApiSseSchema {
  return { type: 'string', enum: [value] };
}
