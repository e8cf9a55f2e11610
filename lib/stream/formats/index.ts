import type { StreamFormat } from '../format.js';
import { SseError } from '../../errors/index.js';
import { agUi } from './ag-ui.js';
import { aiSdk } from './ai-sdk.js';
import { anthropic } from './anthropic.js';
import { json } from './json.js';
import { openai } from './openai.js';

// Functions, not formats: a format may keep state, so each stream calls the function for a new one.
const FORMATS = { openai, anthropic, 'ai-sdk': aiSdk, 'ag-ui': agUi, json };

/**
 * The name of a built-in format.
 *
 * - `openai`: chat completions, for the `openai` package and compatible clients.
 * - `anthropic`: messages, for `@anthropic-ai/sdk`.
 * - `ai-sdk`: the UI message stream of the AI SDK, version 1, for `useChat`.
 * - `ag-ui`: for `@ag-ui/client`.
 * - `json`: items as JSON, then `done` or `error`, for clients of your own.
 */
export type StreamFormatName = keyof typeof FORMATS;

/**
 * Makes the format of one stream.
 *
 * @throws SseError `options-invalid`
 */
export function toFormat(format: StreamFormatName | StreamFormat): StreamFormat {
  if (typeof format === 'string' && Object.hasOwn(FORMATS, format)) {
    return FORMATS[format]();
  }
  if (isFormat(format)) {
    return format;
  }
  const names = Object.keys(FORMATS).map((name) => `'${name}'`);
  throw new SseError(
    'options-invalid',
    `format must be one of ${names.join(', ')}, or an object with the functions encode, error and done; ` +
      `got ${typeof format === 'string' ? JSON.stringify(format) : shapeOf(format)}.`,
    { field: 'format' },
  );
}

function isFormat(value: unknown): value is StreamFormat {
  if (typeof value !== 'object' || value === null) {
    return false;
  }
  const { encode, error, done, abort } = value as Record<keyof StreamFormat, unknown>;
  return (
    [encode, error, done].every((part) => typeof part === 'function') &&
    (abort === undefined || typeof abort === 'function')
  );
}

function shapeOf(value: unknown): string {
  if (typeof value === 'object' && value !== null) {
    return `an object with ${Object.keys(value).join(', ') || 'nothing'}`;
  }
  return value === null ? 'null' : typeof value;
}
