import { describe, expect, it } from '@jest/globals';
import type { FormatEvents, StreamFailure } from '../format.js';
import { eventsOf, closingFramesOf } from '../format.js';
import { toFormat } from './index.js';
import type { StreamFormatName } from './index.js';

const MASKED: StreamFailure = { reason: 'error', message: 'Internal server error', status: 500 };
const failure = (status: number): StreamFailure => ({ reason: 'error', message: 'no', status });
const EXPIRED: StreamFailure = { reason: 'expired', message: 'late' };
const ABORTED: StreamFailure = { reason: 'aborted', message: 'stopped' };

const dataOf = (events: FormatEvents) => eventsOf(events).map(({ data }) => data);

describe.each<[StreamFormatName, object, string, string, string]>([
  [
    'openai',
    { id: 'c', choices: [] },
    'data: {"id":"c","choices":[]}\n\n',
    'data: {"error":{"message":"Internal server error","type":"server_error","param":null,"code":null}}\n\n',
    'data: [DONE]\n\n',
  ],
  [
    'anthropic',
    { type: 'ping' },
    'event: ping\ndata: {"type":"ping"}\n\n',
    'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"Internal server error"}}\n\n',
    'event: message_stop\ndata: {"type":"message_stop"}\n\n',
  ],
  [
    'ai-sdk',
    { type: 'text-delta', id: 't', delta: 'a\nb' },
    'data: {"type":"text-delta","id":"t","delta":"a\\nb"}\n\n',
    'data: {"type":"error","errorText":"Internal server error"}\n\ndata: [DONE]\n\n',
    'data: [DONE]\n\n',
  ],
  [
    'ag-ui',
    { type: 'RUN_STARTED', threadId: 't', runId: 'r' },
    'data: {"type":"RUN_STARTED","threadId":"t","runId":"r"}\n\n',
    'data: {"type":"RUN_ERROR","message":"Internal server error","code":"500"}\n\n',
    'data: {"type":"RUN_FINISHED","threadId":"t","runId":"r"}\n\n',
  ],
  [
    'json',
    { n: 1 },
    'data: {"n":1}\n\n',
    'event: error\ndata: {"message":"Internal server error","status":500,"reason":"error"}\n\n',
    'event: done\ndata: null\n\n',
  ],
])('the format %s', (name, item, itemFrames, errorFrames, endFrames) => {
  it('tells items, failures and the end', () => {
    const format = toFormat(name);

    expect(closingFramesOf(format.encode(item))).toBe(itemFrames);
    expect(closingFramesOf(format.error(MASKED))).toBe(errorFrames);
    expect(closingFramesOf(format.done())).toBe(endFrames);
  });

  it('keeps no state from one stream to the next', () => {
    const ended = toFormat(name);
    ended.encode({ type: 'message_stop' });
    ended.encode({ type: 'RUN_STARTED', threadId: 'other', runId: 'other' });
    ended.encode({ type: 'RUN_FINISHED' });
    const format = toFormat(name);
    format.encode(item);

    expect(closingFramesOf(format.done())).toBe(endFrames);
  });
});

describe.each(['openai', 'anthropic', 'ai-sdk', 'ag-ui'] as const)('the format %s', (name) => {
  it.each<unknown>(['text', 1, null, undefined, ['a'], ...(name === 'openai' ? [] : [{}, { type: 1 }])])(
    'refuses what would end the answer for its clients: %j',
    (item) => {
      expect(() => toFormat(name).encode(item)).toThrow(
        expect.objectContaining({
          code: 'event-invalid',
          message: expect.stringContaining(`'${name}'`) as unknown,
        }),
      );
    },
  );
});

describe('the format openai', () => {
  it.each<[StreamFailure, string, string | null]>([
    [failure(500), 'server_error', null],
    [failure(400), 'invalid_request_error', null],
    [failure(429), 'invalid_request_error', 'rate_limit_exceeded'],
    [EXPIRED, 'server_error', 'expired'],
    [ABORTED, 'server_error', 'aborted'],
  ])('says of %j that it is a %s with the code %s', (given, type, code) => {
    const { message } = given;
    expect(dataOf(toFormat('openai').error(given))).toEqual([
      { error: { message, type, param: null, code } },
    ]);
  });
});

describe('the format anthropic', () => {
  it.each<[StreamFailure, string]>([
    [failure(401), 'authentication_error'],
    [failure(403), 'permission_error'],
    [failure(429), 'rate_limit_error'],
    [failure(503), 'overloaded_error'],
    [failure(418), 'invalid_request_error'],
    [failure(500), 'api_error'],
    [EXPIRED, 'timeout_error'],
    [ABORTED, 'api_error'],
  ])('says of %j that it is a %s', (given, type) => {
    const { message } = given;
    expect(dataOf(toFormat('anthropic').error(given))).toEqual([{ type: 'error', error: { type, message } }]);
  });

  it.each([['message_stop'], ['error']])('adds no end to a source that has sent %s', (type) => {
    const format = toFormat('anthropic');
    format.encode({ type });
    format.encode({ type: 'ping' });

    expect(format.done()).toBeUndefined();
  });

  it('adds the end of a second message', () => {
    const format = toFormat('anthropic');
    format.encode({ type: 'message_stop' });
    format.encode({ type: 'message_start' });

    expect(dataOf(format.done())).toEqual([{ type: 'message_stop' }]);
  });
});

describe('the format ai-sdk', () => {
  it('names the version of the protocol in its header', () => {
    expect(toFormat('ai-sdk').headers).toEqual({ 'x-vercel-ai-ui-message-stream': 'v1' });
  });

  it('tells of an abort by its own chunk', () => {
    expect(dataOf(toFormat('ai-sdk').abort!())).toEqual([{ type: 'abort' }, '[DONE]']);
  });
});

describe('the format ag-ui', () => {
  it.each([['RUN_FINISHED'], ['RUN_ERROR']])('adds no end to a source that has sent %s', (type) => {
    const format = toFormat('ag-ui');
    format.encode({ type: 'RUN_STARTED', threadId: 't', runId: 'r' });
    format.encode({ type });

    expect(format.done()).toBeUndefined();
  });

  it('adds the end of a second run', () => {
    const format = toFormat('ag-ui');
    format.encode({ type: 'RUN_STARTED', threadId: 't', runId: '1' });
    format.encode({ type: 'RUN_FINISHED', threadId: 't', runId: '1' });
    format.encode({ type: 'RUN_STARTED', threadId: 't', runId: '2' });

    expect(dataOf(format.done())).toEqual([{ type: 'RUN_FINISHED', threadId: 't', runId: '2' }]);
  });

  it('treats a source without a run as a failure', () => {
    expect(dataOf(toFormat('ag-ui').done())).toMatchObject([{ type: 'RUN_ERROR' }]);
  });

  it('tells of an abort as its client does', () => {
    expect(dataOf(toFormat('ag-ui').abort!())).toMatchObject([{ type: 'RUN_ERROR', code: 'abort' }]);
  });

  it('leaves out a code that is not known', () => {
    const error = { reason: 'error', message: 'no' } as const;
    expect(closingFramesOf(toFormat('ag-ui').error(error))).toBe(
      'data: {"type":"RUN_ERROR","message":"no"}\n\n',
    );
  });
});

describe('the format json', () => {
  it.each<{ item: unknown }>(
    ['text', 'two\nlines', '\ud800', 1, null, true, ['a'], { data: 1, type: 'x' }].map((item) => ({ item })),
  )('gives $item back as JSON', ({ item }) => {
    const frame = closingFramesOf(toFormat('json').encode(item));

    expect(JSON.parse(/^data: (.*)\n\n$/.exec(frame)![1]!)).toEqual(item);
  });
});

describe('toFormat', () => {
  const own = { encode: () => undefined, error: () => undefined, done: () => undefined };

  it('takes a format of the app as it is', () => {
    expect(toFormat(own)).toBe(own);
  });

  it.each([
    ['"sse"', 'sse'],
    ['"toString"', 'toString'],
    ['null', null],
    ['undefined', undefined],
    ['function', () => own],
    ['an object with encode, done', { encode: own.encode, done: own.done }],
    ['an object with encode, error, done, abort', { ...own, abort: true }],
  ])('refuses %s, and says what there is', (got, format) => {
    expect(() => toFormat(format as never)).toThrow(
      expect.objectContaining({
        code: 'options-invalid',
        field: 'format',
        message:
          "format must be one of 'openai', 'anthropic', 'ai-sdk', 'ag-ui', 'json', " +
          `or an object with the functions encode, error and done; got ${got}.`,
      }),
    );
  });
});
