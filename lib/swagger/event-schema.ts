import type { Type } from '@nestjs/common';
import { getSchemaPath } from '@nestjs/swagger';
import type { ApiResponseSchemaHost } from '@nestjs/swagger';
import { SseError } from '../errors/index.js';

/** A schema as `@ApiResponse({ schema })` takes it. */
export type ApiSseSchema = ApiResponseSchemaHost['schema'];

/**
 * Type of the `data` of an event. As JSON: a DTO class, an array of one such as `[OrderDto]`, `Number` or `Boolean`. As
 * plain text: `String`.
 */
export type ApiSseType = Type | readonly [Type];

/** An event, described by the `type` or the `schema` of its `data`. Without either, `data` is any text. */
export interface ApiSseEvent {
  /** What the event tells the client. */
  readonly description?: string;
  /** Type of `data`. A class appears in `components.schemas` of the document. */
  readonly type?: ApiSseType;
  /**
   * Schema of what the client has after it has parsed `data` as JSON. With `type: 'string'` it is the schema of `data`
   * itself, which is no JSON then.
   */
  readonly schema?: ApiSseSchema;
}

/** An event with the name that clients listen for. */
export interface NamedEvent extends ApiSseEvent {
  /** `message` stands for events without a name. Absent if the name may be any. */
  readonly name?: string;
}

const PRIMITIVES = new Map<unknown, ApiSseSchema>([
  [String, { type: 'string' }],
  [Number, { type: 'number' }],
  [Boolean, { type: 'boolean' }],
]);

/** Checks what a decorator was given for an event. In a document, a wrong value would be an empty schema. */
export function toNamedEvent(name: string, given: ApiSseType | ApiSseEvent): NamedEvent {
  const event = isType(given) ? { type: given } : given;
  // A class is undefined while decorators run, if its file and this one import each other.
  const isEvent = typeof event === 'object' && event !== null && !Array.isArray(event);
  if (!isEvent || ('type' in event && !isType(event.type))) {
    throw new SseError(
      'options-invalid',
      `@ApiSse(): the event '${name}' must be a class, an array of one class, or an object with a type or a schema. ` +
        `Where its class is imported, look for an import that leads back here.`,
      { field: 'events' },
    );
  }
  return { ...event, name };
}

/** Collects the DTO classes of events, for `@ApiExtraModels()`. */
export function modelsOf(events: readonly NamedEvent[]): Type[] {
  return events.flatMap(({ type }) => (type ? [classOf(type)] : [])).filter((type) => !PRIMITIVES.has(type));
}

/**
 * Makes the schema of one event of a stream in OpenAPI 3.0: an object of the fields that a client reads, in which
 * `data` is the parsed JSON.
 */
export function schemaOf(events: readonly NamedEvent[]): ApiSseSchema {
  const description = 'One event of the stream.';
  const schemas = events.map(eventSchema);
  const [first] = schemas;
  if (first && schemas.length === 1) {
    return { ...first, description: sentences(description, first.description) };
  }
  const names = new Set(events.map(({ name }) => name));
  // If two events share a name, or one may have any name, an event can match both schemas.
  const areDistinct = names.size === events.length && !names.has(undefined);
  return areDistinct ? { description, oneOf: schemas } : { description, anyOf: schemas };
}

function eventSchema(event: NamedEvent): ApiSseSchema {
  const { name } = event;
  const data = dataSchema(event);
  const description = sentences(event.description, isText(data) ? undefined : 'Its `data` is JSON.');
  return {
    ...(name === undefined ? {} : { title: name }),
    ...(description === undefined ? {} : { description }),
    type: 'object',
    // An event whose block has no name is a `message` (WHATWG HTML, 9.2.6).
    required: name === undefined || name === 'message' ? ['data'] : ['event', 'data'],
    properties: {
      event: { type: 'string', ...(name === undefined ? {} : { enum: [name] }) },
      data,
      id: { type: 'string', description: 'Comes back as `Last-Event-ID`.' },
      retry: { type: 'integer', minimum: 0, description: 'Milliseconds until the client reconnects.' },
    },
  };
}

function dataSchema({ type, schema }: ApiSseEvent): ApiSseSchema {
  if (!type) {
    return schema ?? { type: 'string' };
  }
  const item = PRIMITIVES.get(classOf(type)) ?? { $ref: getSchemaPath(classOf(type)) };
  return isList(type) ? { type: 'array', items: item } : item;
}

/** Whether `data` is sent as it is: a string is not encoded as JSON. */
export function isText(schema: object): boolean {
  const type = 'type' in schema ? schema.type : undefined;
  return type === 'string' || (Array.isArray(type) && type.includes('string'));
}

function isType(value: unknown): value is ApiSseType {
  const type: unknown = Array.isArray(value) && value.length === 1 ? value[0] : value;
  return typeof type === 'function';
}

function isList(type: ApiSseType): type is readonly [Type] {
  return Array.isArray(type);
}

function classOf(type: ApiSseType): Type {
  return isList(type) ? type[0] : type;
}

function sentences(...parts: (string | undefined)[]): string | undefined {
  const given = parts.filter((part) => part !== undefined && part !== '');
  return given.length > 0 ? given.join(' ') : undefined;
}
