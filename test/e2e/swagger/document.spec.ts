import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import { Validator } from '@seriousme/openapi-schema-validator';
import { describeSse } from 'nestjs-event-stream/swagger';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { documentOf, DocumentedModule } from './documented-app.js';
import type { Document, EventSchema } from './documented-app.js';

let app: INestApplication;

beforeAll(async () => {
  app = await platforms[0]!.create(DocumentedModule);
});
afterAll(closeAll);

/** Finds the operation of a route, and the schema of its events. */
function route(document: Document, method: string, path: string) {
  const operation = document.paths[path]![method]!;
  const mediaType = operation.responses['200']!.content!['text/event-stream']!;
  return { operation, mediaType, events: (mediaType.itemSchema ?? mediaType.schema)! };
}

const titles = ({ oneOf, anyOf }: EventSchema) => (oneOf ?? anyOf)?.map(({ title }) => title);
const dataOf = ({ oneOf, anyOf }: EventSchema, title: string) =>
  (oneOf ?? anyOf)!.filter((event) => event.title === title).map((event) => event.properties!['data']);

describe.each(['3.0.0', '3.1.0', '3.2.0'])('a document of OpenAPI %s', (openapi) => {
  it('is valid before and after describeSse()', async () => {
    const plain = documentOf(app, openapi);
    const described = documentOf(app, openapi, describeSse);

    expect(plain.openapi).toBe(openapi);
    for (const document of [plain, described]) {
      expect(await new Validator().validate({ ...document })).toEqual({ valid: true });
    }
    expect(JSON.stringify(documentOf(app, openapi))).toBe(JSON.stringify(plain));
    expect(JSON.stringify(describeSse(described))).toBe(JSON.stringify(described));
  });

  it('documents 200 with an event stream for each endpoint style, and the classes of the events', () => {
    const { paths, components } = documentOf(app, openapi, describeSse);
    const answers = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { responses }]) => [method, path, Object.keys(responses)]),
    );

    expect(answers).toEqual([
      ['get', '/orders', ['200', '403']],
      ['post', '/create', ['200']],
      ['post', '/chat', ['200', '204']],
      ['get', '/chat', ['200', '204']],
    ]);
    expect(Object.keys(components.schemas).sort()).toEqual(['Cancellation', 'OrderDto', 'PromptDto']);
  });

  it('documents the events of a stream by name, with those of the topics that it follows', () => {
    const { events } = route(documentOf(app, openapi, describeSse), 'get', '/orders');

    const names = ['created', 'cancelled', 'count', 'note', 'message', 'reset', 'cursor'];
    expect(titles(events)).toEqual(names);
    expect(events.oneOf!.map(({ properties }) => properties!['event'])).toEqual(
      names.map((name) => ({ type: 'string', enum: [name] })),
    );
    expect(events.oneOf!.map(({ required }) => required)).toEqual(
      names.map((name) => (name === 'message' ? ['data'] : ['event', 'data'])),
    );
    expect(events.oneOf![1]!.description).toBe('For good. Its `data` is JSON.');
    expect(events.oneOf![3]!.description).toBeUndefined();
  });
});

it('would be refused if it used what its version does not have', async () => {
  for (const described of ['3.1.0', '3.2.0']) {
    const document = { ...documentOf(app, described, describeSse), openapi: '3.0.0' };
    expect(await new Validator().validate(document)).toMatchObject({ valid: false });
  }
});

describe('data', () => {
  const order = { $ref: '#/components/schemas/OrderDto' };
  const cancelled = { type: 'array', items: { $ref: '#/components/schemas/Cancellation' } };

  it('is the parsed JSON in 3.0, under the schema', () => {
    const { events, mediaType } = route(documentOf(app, '3.0.0', describeSse), 'get', '/orders');
    expect(Object.keys(mediaType)).toEqual(['schema']);
    expect(dataOf(events, 'created')).toEqual([order]);
    expect(dataOf(events, 'cancelled')).toEqual([cancelled]);
    expect(dataOf(events, 'count')).toEqual([{ type: 'number' }]);
    expect(dataOf(events, 'note')).toEqual([{ type: 'string' }]);
  });

  it.each([
    ['3.1.0', 'schema'],
    ['3.2.0', 'itemSchema'],
  ])('is text that holds JSON in %s, under the %s', (openapi, keyword) => {
    const { events, mediaType } = route(documentOf(app, openapi, describeSse), 'get', '/orders');
    const json = { type: 'string', contentMediaType: 'application/json' };
    expect(Object.keys(mediaType)).toEqual([keyword]);
    expect(dataOf(events, 'created')).toEqual([{ ...json, contentSchema: order }]);
    expect(dataOf(events, 'cancelled')).toEqual([{ ...json, contentSchema: cancelled }]);
    expect(dataOf(events, 'count')).toEqual([{ ...json, contentSchema: { type: 'number' } }]);
    expect(dataOf(events, 'note')).toEqual([{ type: 'string' }]);

    const { events: one } = route(documentOf(app, openapi, describeSse), 'post', '/create');
    expect(one.properties!['data']).toEqual({ ...json, contentSchema: order });
  });
});

it('documents how to resume, and 204, for endpoints with these options', () => {
  const document = documentOf(app, '3.0.0');
  const names = (method: string, path: string) =>
    route(document, method, path).operation.parameters.map((parameter) => parameter as { name: string });

  const resuming = [
    expect.objectContaining({ name: 'Last-Event-ID', in: 'header', required: false }),
    expect.objectContaining({ name: 'lastEventId', in: 'query', required: false }),
  ];
  expect(names('get', '/orders')).toEqual(expect.arrayContaining(resuming));
  expect(names('get', '/chat')).toEqual(expect.arrayContaining(resuming));
  expect(names('post', '/chat')).toEqual([]);
  expect(route(document, 'get', '/chat').operation.responses['204']!.description).toBe(
    'No answer is under way.',
  );
});

it('answers as it is documented', async () => {
  const document = documentOf(app, '3.2.0', describeSse);
  const body = { text: 'four' };

  const created = await open(app, '/create', { method: 'POST', body });
  const { events: creation } = route(document, 'post', '/create');
  expect(created.status).toBe(200);
  expect(created.headers['content-type']).toMatch(/^text\/event-stream/);
  expect(creation.properties!['event']).toEqual({ type: 'string', enum: [(await created.next()).type] });

  const answer = await open(app, '/chat', { method: 'POST', body });
  const { operation, events } = route(document, 'post', '/chat');
  expect(answer.status).toBe(200);
  expect(operation.responses['200']!.headers).toEqual({
    'x-vercel-ai-ui-message-stream': {
      schema: { type: 'string', enum: [answer.headers['x-vercel-ai-ui-message-stream']] },
    },
  });
  expect((await answer.take(2)).at(-1)!.data).toBe('[DONE]');
  expect(dataOf(events, 'message').at(-1)).toEqual({ type: 'string', enum: ['[DONE]'] });

  expect((await open(app, '/chat')).status).toBe(204);
});
