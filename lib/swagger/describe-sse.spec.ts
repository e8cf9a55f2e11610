import { expect, it } from '@jest/globals';
import { describeSse } from './describe-sse.js';

const event = { type: 'object', properties: { data: { type: 'object' } } };
const documentWith = (schema: object, openapi = '3.2.0') => {
  const responses = {
    200: { description: '', content: { 'text/event-stream': { schema }, 'application/json': { schema } } },
    404: { $ref: '#/components/responses/NotFound' },
  };
  const operations = { summary: 'Both', parameters: [], get: { responses }, post: {} };
  return { openapi, info: { title: '' }, paths: { '/a': operations }, webhooks: { told: operations } };
};
const json = { type: 'string', contentMediaType: 'application/json', contentSchema: { type: 'object' } };

it('changes the schema of events, in paths and webhooks, and nothing else', () => {
  const document = documentWith(event);
  const before = JSON.stringify(document);
  const described = describeSse(document);

  const expected = JSON.parse(before) as ReturnType<typeof documentWith>;
  for (const operations of [expected.paths['/a'], expected.webhooks.told]) {
    const { content } = operations.get.responses[200];
    Object.assign(content, {
      'text/event-stream': { itemSchema: { type: 'object', properties: { data: json } } },
    });
  }
  expect(described).toEqual(expected);
  expect(JSON.stringify(document)).toBe(before);
});

it.each([
  ['text', { type: 'string' }],
  ['a list', { type: 'array', items: event }],
  ['a reference', { $ref: '#/components/schemas/Events' }],
  ['an object of other fields', { type: 'object', properties: { data: {}, name: {} } }],
  ['an object without data', { type: 'object', properties: { id: {} } }],
  ['a choice of which one is no event', { oneOf: [event, { type: 'string' }] }],
  ['nothing', {}],
])('leaves a stream that someone has described as %s', (_what, schema) => {
  expect(describeSse(documentWith(schema))).toEqual(documentWith(schema));
});

it('leaves data that is text', () => {
  const text = { type: 'object', properties: { data: { type: ['string', 'null'] } } };
  expect(describeSse(documentWith(text, '3.1.0'))).toEqual(documentWith(text, '3.1.0'));
});

it('leaves a document of 3.0 and of 2.0', () => {
  for (const openapi of ['3.0.3', '2.0']) {
    const document = documentWith(event, openapi);
    expect(describeSse(document)).toBe(document);
  }
});

it('takes 3.10 for a later version than 3.2', () => {
  expect(JSON.stringify(describeSse(documentWith(event, '3.10.0')))).toContain('itemSchema');
});
