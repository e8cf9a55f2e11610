import { applyDecorators } from '@nestjs/common';
import { ApiExtraModels, ApiHeader, ApiQuery, ApiResponse } from '@nestjs/swagger';
import type { StreamFormatName } from '../index.js';
import { modelsOf, schemaOf, toNamedEvent } from './event-schema.js';
import type { ApiSseEvent, ApiSseSchema, ApiSseType, NamedEvent } from './event-schema.js';
import { documentedFormat } from './formats.js';
import type { DocumentedFormat } from './formats.js';
import { topicEvents } from './topic-events.js';

/**
 * Documents an endpoint that streams events, with `@Sse()`, or with `@Get()` or `@Post()` and `@Res()`. The response is
 * 200 with `text/event-stream`, for POST as well. Its schema is that of one event, and DTO classes appear in
 * `components.schemas`. This is what OpenAPI 3.0 can express; for 3.1 and 3.2 pass the document to `describeSse()`.
 *
 * @param options - see {@link ApiSseOptions}; each has a default
 * @throws SseError `options-invalid`
 *
 * @example
 * ```ts
 * @Sse('orders')
 * @ApiSse({
 *   events: {
 *     created: OrderDto,
 *     cancelled: {
 *       description: 'By the customer.',
 *       schema: { type: 'object', properties: { reason: { type: 'string' } } },
 *     },
 *   },
 *   follows: true,
 * })
 * orders(@Connection() connection: SseConnection) {
 *   return connection.follow('orders.*');
 * }
 * ```
 */
export function ApiSse(options: ApiSseOptions = {}): MethodDecorator {
  const { description = 'A stream of events.', format, follows = false, noContent = false } = options;
  const { resumes = follows !== false } = options;
  const documented = format && documentedFormat(format);
  const events = eventsOf(options, documented);
  return applyDecorators(
    ApiExtraModels(...modelsOf(events)),
    ApiResponse({
      status: 200,
      description,
      ...(documented?.headers && { headers: headersOf(documented.headers) }),
      content: { 'text/event-stream': { schema: schemaOf(events) } },
    }),
    ...(resumes ? [LAST_EVENT_ID_HEADER, LAST_EVENT_ID_QUERY] : []),
    ...(noContent === false ? [] : [NoContent(noContent)]),
  );
}

/** Options of `@ApiSse()`. */
export interface ApiSseOptions {
  /** Description of the response. @defaultValue `'A stream of events.'` */
  readonly description?: string;
  /**
   * The events by their type, which is the name that clients listen for; `message` stands for events without a type.
   * Without this option the stream is documented with events of any name, and text as their data.
   */
  readonly events?: Readonly<Record<string, ApiSseType | ApiSseEvent>>;
  /**
   * Whether the endpoint resumes after the last event that the client has received. It documents the header
   * `Last-Event-ID` and the query parameter `lastEventId`. @defaultValue false; true with `follows`
   */
  readonly resumes?: boolean;
  /**
   * Whether the handler follows topics. It documents the events `reset` and `cursor`, or their names if the options of
   * the module rename them. @defaultValue false
   */
  readonly follows?: boolean | { readonly resetEvent?: string; readonly cursorEvent?: string };
  /**
   * Format of `stream()` or of the run. It documents the headers of the format, its failure and its end; also its
   * items, if `events` is left out.
   */
  readonly format?: StreamFormatName;
  /**
   * Whether the endpoint may answer 204, after which an `EventSource` does not reconnect: as `stopReconnecting()` does,
   * or `runs.attach()` if there is no run. A text describes when. @defaultValue false
   */
  readonly noContent?: boolean | string;
}

const LAST_EVENT_ID_HEADER = ApiHeader({
  name: 'Last-Event-ID',
  required: false,
  description:
    'The id of the last event that the client has seen. An `EventSource` sends it when it reconnects.',
});

const LAST_EVENT_ID_QUERY = ApiQuery({
  name: 'lastEventId',
  required: false,
  type: String,
  description: 'As the header `Last-Event-ID`, which wins: for a page that was reloaded.',
});

function NoContent(when: true | string): MethodDecorator {
  const description =
    when === true ? 'There is nothing to stream: an `EventSource` does not come back.' : when;
  return ApiResponse({ status: 204, description });
}

function eventsOf({ events, follows = false }: ApiSseOptions, documented?: DocumentedFormat): NamedEvent[] {
  const given = Object.entries(events ?? {}).map(([name, event]) => toNamedEvent(name, event));
  return [
    ...(given.length > 0 ? given : [documented?.item ?? {}]),
    ...(documented?.last ?? []),
    ...(follows === false ? [] : topicEvents(follows === true ? {} : follows)),
  ];
}

function headersOf(headers: Readonly<Record<string, string>>) {
  const documented: Record<string, { schema: ApiSseSchema }> = {};
  for (const [name, value] of Object.entries(headers)) {
    documented[name] = { schema: { type: 'string', enum: [value] } };
  }
  return documented;
}
