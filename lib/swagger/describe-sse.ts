import { isText } from './event-schema.js';

/**
 * Rewrites what `@ApiSse()` has put into a document for the OpenAPI version of the document. From 3.1 on, `data` is a
 * string that holds JSON, with `contentMediaType` and `contentSchema`. From 3.2 on, the schema of an event is the
 * `itemSchema` of the stream. A document of 3.0 is returned as it is. Swagger UI 5.33 does not show `itemSchema`: use
 * 3.1 for its page.
 *
 * @param document - is not modified
 * @returns the rewritten document
 * @see https://spec.openapis.org/oas/v3.2.0.html#special-considerations-for-server-sent-events
 *
 * @example
 * ```ts
 * const config = new DocumentBuilder().setOpenAPIVersion('3.1.0').build();
 * SwaggerModule.setup('api', app, describeSse(SwaggerModule.createDocument(app, config)));
 * ```
 */
export function describeSse<T extends OpenApiDocument>(document: T): T {
  const minor = Number(/^3\.(\d+)/.exec(document.openapi)?.[1] ?? 0);
  if (minor < 1) {
    return document;
  }
  const inOperation = at('responses', (responses) =>
    mapFields(
      responses,
      at(
        'content',
        at('text/event-stream', (mediaType) => describe(mediaType, minor)),
      ),
    ),
  );
  const inPaths = (paths: unknown) => mapFields(paths, (path) => mapFields(path, inOperation));
  return {
    ...document,
    paths: inPaths(document.paths),
    ...(document.webhooks && { webhooks: inPaths(document.webhooks) }),
  };
}

/** An OpenAPI document, as `SwaggerModule.createDocument()` makes it. */
export interface OpenApiDocument {
  readonly openapi: string;
  readonly paths: object;
  readonly webhooks?: object;
}

type Fields = Readonly<Record<string, unknown>>;

const FIELDS = new Set(['event', 'data', 'id', 'retry']);

function describe(mediaType: unknown, minor: number): unknown {
  if (!isFields(mediaType) || !isOfEvents(mediaType['schema'])) {
    return mediaType;
  }
  const { schema, ...rest } = mediaType;
  return { ...rest, [minor < 2 ? 'schema' : 'itemSchema']: eachOf(schema, withJsonAsText) };
}

/**
 * Whether a schema is that of one event, or of one of several events. The schema of a whole stream is no object with
 * these fields.
 */
function isOfEvents(schema: unknown): schema is Fields {
  const schemas = alternativesOf(schema);
  return schemas.length > 0 && schemas.every(isOfEvent);
}

function isOfEvent(schema: unknown): boolean {
  const properties = isFields(schema) && schema['type'] === 'object' ? schema['properties'] : undefined;
  return (
    isFields(properties) &&
    isFields(properties['data']) &&
    Object.keys(properties).every((field) => FIELDS.has(field))
  );
}

function alternativesOf(schema: unknown): readonly unknown[] {
  const alternatives = isFields(schema) ? (schema['oneOf'] ?? schema['anyOf'] ?? [schema]) : [];
  return Array.isArray(alternatives) ? alternatives : [];
}

function eachOf(schema: Fields, change: (schema: unknown) => unknown): unknown {
  for (const keyword of ['oneOf', 'anyOf']) {
    const alternatives = schema[keyword];
    if (Array.isArray(alternatives)) {
      return { ...schema, [keyword]: alternatives.map(change) };
    }
  }
  return change(schema);
}

const withJsonAsText = at(
  'properties',
  at('data', (data) =>
    isFields(data) && !isText(data)
      ? { type: 'string', contentMediaType: 'application/json', contentSchema: data }
      : data,
  ),
);

/** Changes one field of an object, if it has the field. */
function at(field: string, change: (value: unknown) => unknown): (value: unknown) => unknown {
  return (value) =>
    isFields(value) && value[field] !== undefined ? { ...value, [field]: change(value[field]) } : value;
}

function mapFields(value: unknown, change: (value: unknown) => unknown): unknown {
  return isFields(value)
    ? Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, change(inner)]))
    : value;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
