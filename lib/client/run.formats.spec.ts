import { describe, expect, it } from '@jest/globals';
import { runReader } from './run.formats.js';
import type { RunFormat, RunFrame } from './run.formats.js';

/** Frames as the server writes them: data alone, or with the event's type. */
type Sent = [data: unknown, type?: string];

const read = (format: RunFormat, frames: Sent[]): RunFrame[] => {
  const reader = runReader(format);
  return frames.map(([data, type = 'message']) =>
    reader({ type, data: data === '[DONE]' ? data : JSON.stringify(data), id: undefined }),
  );
};
const failed = (message: string, details: object = {}) => ({ reason: 'failed', message, details });
const done = { reason: 'done' };

describe('the frames of a run', () => {
  it.each<[RunFormat, string, Sent[], object[]]>([
    ['json', 'complete', [[{ type: 'error' }], [null, 'done']], [{ item: { type: 'error' } }, { end: done }]],
    [
      'json',
      'no objects',
      [[null], ['[DONE] and more'], [0]],
      [{ item: null }, { item: '[DONE] and more' }, { item: 0 }],
    ],
    [
      'json',
      'failed',
      [[{ message: 'Overloaded', status: 503, reason: 'error' }, 'error']],
      [{ end: failed('Overloaded', { status: 503, reason: 'error' }) }],
    ],
    ['json', 'failed without a word', [[null, 'error']], [{ end: failed('The run has failed.') }]],
    ['openai', 'complete', [[{ choices: [] }], ['[DONE]']], [{ item: { choices: [] } }, { end: done }]],
    [
      'openai',
      'failed',
      [[{ error: { message: 'No.', type: 'server_error', code: 'overloaded' } }]],
      [{ end: failed('No.', { reason: 'overloaded' }) }],
    ],
    ['anthropic', 'complete', [[{ type: 'message_stop' }]], [{ item: { type: 'message_stop' }, end: done }]],
    [
      'anthropic',
      'failed',
      [[{ type: 'error', error: { type: 'api_error', message: 'No.' } }]],
      [{ end: failed('No.') }],
    ],
    ['ai-sdk', 'complete', [[{ type: 'finish' }], ['[DONE]']], [{ item: { type: 'finish' } }, { end: done }]],
    [
      'ai-sdk',
      'failed',
      [[{ type: 'error', errorText: 'No.' }], ['[DONE]']],
      [{ item: { type: 'error', errorText: 'No.' } }, { end: failed('No.') }],
    ],
    ['ag-ui', 'complete', [[{ type: 'RUN_FINISHED' }]], [{ item: { type: 'RUN_FINISHED' }, end: done }]],
    [
      'ag-ui',
      'failed',
      [[{ type: 'RUN_ERROR', message: 'No.', code: 'error' }]],
      [
        {
          item: { type: 'RUN_ERROR', message: 'No.', code: 'error' },
          end: failed('No.', { reason: 'error' }),
        },
      ],
    ],
  ])('of the format %s are read, %s', (format, _what, frames, expected) => {
    expect(read(format, frames)).toEqual(expected);
  });

  it.each<[RunFormat, Sent[]]>([
    ['json', [[{ message: 'Stopped', reason: 'aborted' }, 'error']]],
    ['openai', [[{ error: { message: 'Stopped', code: 'aborted' } }]]],
    ['ai-sdk', [[{ type: 'abort' }], ['[DONE]']]],
    ['ag-ui', [[{ type: 'RUN_ERROR', message: 'Stopped', code: 'abort' }]]],
  ])('of the format %s tell that it was stopped', (format, frames) => {
    expect(read(format, frames).at(-1)!.end).toMatchObject({ reason: 'stopped' });
  });
});
