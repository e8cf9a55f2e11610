import { describe, expect, it } from '@jest/globals';
import { toFormat } from '../stream/index.js';
import type { StreamFormatName } from '../stream/index.js';
import { ApiSse } from './api-sse.decorator.js';
import type { ApiSseOptions } from './api-sse.decorator.js';
import { schemaOf, toNamedEvent } from './event-schema.js';
import { documentedFormat } from './formats.js';

class OrderDto {}

describe('@ApiSse()', () => {
  it.each([
    ['a class that is undefined while decorators run', undefined],
    ['null', null],
    ['a name', 'OrderDto'],
    ['an array of two classes', [OrderDto, OrderDto]],
    ['an array of nothing', []],
    ['an event whose class is undefined', { type: undefined }],
  ])('refuses %s as an event, and names it', (_what, created) => {
    const options = { events: { created } } as unknown as ApiSseOptions;
    expect(() => ApiSse(options)).toThrow(
      expect.objectContaining({
        code: 'options-invalid',
        field: 'events',
        message: expect.stringContaining("the event 'created' must be a class"),
      }),
    );
  });

  it('refuses a format that there is not', () => {
    expect(() => ApiSse({ format: 'toString' as StreamFormatName })).toThrow(
      expect.objectContaining({
        code: 'options-invalid',
        field: 'format',
        message:
          "@ApiSse(): format must be one of 'openai', 'anthropic', 'ai-sdk', 'ag-ui', 'json'; got 'toString'.",
      }),
    );
  });
});

describe('the schema of events', () => {
  it('is that of any event where none is given', () => {
    expect(schemaOf([{}])).toMatchObject({
      description: 'One event of the stream.',
      type: 'object',
      required: ['data'],
      properties: { event: { type: 'string' }, data: { type: 'string' } },
    });
  });

  it('tells an event by what it is given: a class, a list, a primitive, a schema', () => {
    const schema = { type: 'object' };
    const data = [
      OrderDto,
      [OrderDto] as const,
      String,
      Boolean,
      { schema },
      { description: 'Any text.' },
    ].map((given) => schemaOf([toNamedEvent('a', given)]));
    const $ref = '#/components/schemas/OrderDto';
    expect(data.map(({ properties }) => properties!['data'])).toEqual([
      { $ref },
      { type: 'array', items: { $ref } },
      { type: 'string' },
      { type: 'boolean' },
      schema,
      { type: 'string' },
    ]);
  });

  it('allows several of one name, and those of any', () => {
    expect(schemaOf([{ name: 'a' }, { name: 'b' }])).toHaveProperty('oneOf');
    expect(schemaOf([{ name: 'a' }, { name: 'a' }])).toHaveProperty('anyOf');
    expect(schemaOf([{}, { name: 'a' }])).toHaveProperty('anyOf');
  });
});

describe.each(['openai', 'anthropic', 'ai-sdk', 'ag-ui', 'json'] as const)('the format %s', (name) => {
  interface Schema {
    properties?: Record<string, Schema>;
    required?: string[];
    enum?: unknown[];
  }

  /** Lists the places in which data does not match its schema. */
  const faults = (data: unknown, schema: Schema, path = 'data'): string[] => [
    ...(schema.enum && !schema.enum.includes(data) ? [`${path}: ${String(data)}`] : []),
    ...(schema.required ?? []).flatMap((key) => {
      const value = (data as Record<string, unknown>)[key];
      const inner = schema.properties![key]!;
      return value === undefined ? [`${path}.${key} is missing`] : faults(value, inner, `${path}.${key}`);
    }),
  ];
  const format = toFormat(name);
  const said = [format.error({ reason: 'error', message: 'Failed.', status: 500 }), format.done()].flat();

  it('sends the headers that its documentation has', () => {
    expect(documentedFormat(name).headers).toEqual(format.headers);
  });

  it('ends in events that its documentation has', () => {
    const { item, last } = documentedFormat(name);
    expect(said.length).toBeGreaterThan(0);
    for (const event of said) {
      const fitting = [item, ...last].filter(
        (known) =>
          (known.name ?? event?.type ?? 'message') === (event?.type ?? 'message') &&
          faults(event?.data, known.schema as Schema).length === 0,
      );
      expect({ event, fitting: fitting.length > 0 }).toEqual({ event, fitting: true });
    }
  });

  it('sends what its documentation has of the end', () => {
    for (const known of documentedFormat(name).last) {
      const isSent = said.some(
        (event) =>
          (event?.type ?? 'message') === known.name &&
          faults(event?.data, known.schema as Schema).length === 0,
      );
      expect({ known, isSent }).toEqual({ known, isSent: true });
    }
  });
});
