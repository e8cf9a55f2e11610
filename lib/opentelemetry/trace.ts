import { inspect } from 'node:util';
import { context, SpanKind, SpanStatusCode, trace as globalTrace } from '@opentelemetry/api';
import type { Attributes, Span, SpanOptions, Tracer, TracerProvider } from '@opentelemetry/api';
import { SseError } from '../index.js';
import type { SseService, SseSpan, SseTracer } from '../index.js';

/** How spans are made. */
export interface SseTraceOptions {
  /**
   * The provider of the tracer, whose name is `nestjs-event-stream`. Without any there are no spans.
   *
   * @defaultValue the global provider of `@opentelemetry/api`, as it is when the app starts
   */
  tracerProvider?: TracerProvider;
  /**
   * Returns what stands for a topic in the name of a span, of which there should be few: `orders.{id}` for `orders.42`.
   *
   * @defaultValue none: the span of a publish is named `publish`, and its topic is an attribute alone
   */
  topicTemplate?: (topic: string) => string | undefined;
}

// A refused topic may have any length, and so may what a source throws. A client may follow many patterns.
const MAX_NAME = 256;
const MAX_PATTERNS = 10;
const MAX_MESSAGE = 1_000;

/**
 * Makes spans by OpenTelemetry: one for each publish, for each client that resumes topics, and for each run, which is
 * the parent of what its source does. Their parent is the active span. None is made for an event that is sent.
 *
 * If there is no provider, nothing is traced, and nothing is allocated. Use it in place of `SseOpenTelemetryModule` if
 * an app has several `SseModule`s.
 *
 * @param sse - the service that is traced
 * @returns a function that ends it
 * @throws SseError `misuse` if the service has a tracer already
 */
export function traceSse(
  sse: Pick<SseService, 'traceWith'>,
  { tracerProvider = globalTrace.getTracerProvider(), topicTemplate }: SseTraceOptions = {},
): () => void {
  const tracer = tracerOf(tracerProvider);
  return tracer ? sse.traceWith(spansOf(tracer, topicTemplate)) : () => undefined;
}

const SCOPE = 'nestjs-event-stream';

/** @returns undefined for the global provider if the app has set none: it makes spans that nobody reads */
function tracerOf(provider: TracerProvider): Tracer | undefined {
  const { getDelegateTracer } = provider as { getDelegateTracer?: (name: string) => Tracer | undefined };
  return getDelegateTracer ? getDelegateTracer.call(provider, SCOPE) : provider.getTracer(SCOPE);
}

/** Names and attributes are those of OpenTelemetry's conventions for messaging, as far as there are any. */
function spansOf(tracer: Tracer, topicTemplate: SseTraceOptions['topicTemplate']): SseTracer {
  return {
    publish: (topic) => {
      // It may be made of the topic.
      const template = topicTemplate?.(topic)?.slice(0, MAX_NAME);
      const options = messaging('publish', 'send', {
        'messaging.destination.name': textOf(topic, MAX_NAME),
        ...(template !== undefined && { 'messaging.destination.template': template }),
      });
      return spanOf(
        tracer,
        template === undefined ? 'publish' : `publish ${template}`,
        options,
        (end, span) => {
          span.setAttributes({ 'messaging.message.id': end.position });
          failWith(span, end.error);
        },
      );
    },
    resume: () =>
      spanOf(tracer, 'resume', messaging('resume', 'receive'), (end, span) => {
        const { outcome, reason, from, events, patterns, error } = end;
        span.setAttributes({
          'messaging.batch.message_count': events,
          'sse.resume.outcome': outcome,
          'sse.resume.from': from,
          'sse.resume.patterns': patterns.slice(0, MAX_PATTERNS),
          'sse.reset.reason': reason,
        });
        failWith(span, error);
      }),
    run: ({ id, format }) =>
      spanOf(tracer, 'run', { attributes: { 'sse.run.id': id, 'sse.run.format': format } }, (end, span) => {
        const { reason, events, bytes, error } = end;
        span.setAttributes({ 'sse.run.reason': reason, 'sse.run.events': events, 'sse.run.bytes': bytes });
        failWith(span, error);
      }),
  };
}

function messaging(name: string, type: 'send' | 'receive', attributes: Attributes = {}): SpanOptions {
  return {
    // What the conventions say of a message that carries no context.
    kind: SpanKind.CLIENT,
    attributes: {
      'messaging.system': 'nestjs_event_stream',
      'messaging.operation.name': name,
      'messaging.operation.type': type,
      ...attributes,
    },
  };
}

function spanOf<End>(
  tracer: Tracer,
  name: string,
  options: SpanOptions,
  describe: (end: End, span: Span) => void,
): SseSpan<End> {
  const span = tracer.startSpan(name, options);
  return {
    within: (call) => context.with(globalTrace.setSpan(context.active(), span), call),
    end: (end) => {
      try {
        if (span.isRecording()) {
          describe(end, span);
        }
      } finally {
        span.end();
      }
    },
  };
}

function failWith(span: Span, error: unknown): void {
  if (error === undefined) {
    return;
  }
  const { name, message } = error instanceof Error ? error : { name: typeof error, message: error };
  span.setAttribute('error.type', error instanceof SseError ? error.code : textOf(name, MAX_NAME));
  span.setStatus({ code: SpanStatusCode.ERROR, message: textOf(message, MAX_MESSAGE) });
}

/** The text of a value, cut. A caller of `publish` may give anything, and so may what a source throws. */
function textOf(value: unknown, maxLength: number): string {
  return (typeof value === 'string' ? value : inspect(value, { depth: 0 })).slice(0, maxLength);
}
