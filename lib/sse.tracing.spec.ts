import { beforeEach, describe, expect, it } from '@jest/globals';
import { RepeatedReport } from './errors/index.js';
import { harmless } from './sse.tracing.js';
import type { SseTracer } from './sse.tracing.js';

type PublishSpan = ReturnType<SseTracer['publish']>;

describe('a tracer that fails', () => {
  let errors: unknown[];
  let calls: number;

  beforeEach(() => {
    errors = [];
    calls = 0;
  });

  /** Traces one call by a tracer that makes this span. */
  async function traced(span: Partial<PublishSpan> | undefined): Promise<unknown> {
    const reports = new RepeatedReport({
      error: (_message, error) => errors.push(error),
      warn: () => undefined,
      debug: () => undefined,
    });
    const tracer = harmless({ publish: () => span } as unknown as SseTracer, reports);
    const given = tracer.publish('a');
    const result = await given.within(async () => (calls += 1));
    given.end({});
    return result;
  }

  const failure = new Error('A tracer that fails.');
  const fail = () => {
    throw failure;
  };

  it.each<[when: string, span: Partial<PublishSpan> | undefined]>([
    ['makes no span', undefined],
    ['throws instead of the call', { within: fail, end: () => undefined }],
    [
      'throws after the call',
      {
        within: (call) => {
          void call();
          throw failure;
        },
        end: () => undefined,
      },
    ],
    ['throws at the end', { within: (call) => call(), end: fail }],
  ])('changes nothing if it %s, and is reported', async (_when, span) => {
    expect(await traced(span)).toBe(1);
    expect(calls).toBe(1);
    expect(errors).toHaveLength(1);
  });
});
