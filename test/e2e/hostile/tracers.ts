import type { DynamicModule } from '@nestjs/common';
import { createRequire } from 'node:module';

/** What a tracer has of the process: it patches what is loaded after it, as `node --require` has it. */
export interface Tracer {
  /** What an app imports for it. */
  imports(): DynamicModule[];
  /** The spans of a request, by name. */
  spans(request: string, port: number): string[];
}

const need = createRequire(import.meta.url);
/** From where Nest itself stands: packages of Nest 11 alone stand there, too. */
const needOfNest = createRequire(process.env['NEST_CORE']!);

export function startTracer(name = 'none'): Tracer {
  switch (name) {
    case 'opentelemetry':
      return startOpenTelemetry();
    case 'sentry':
      return startSentry();
    default:
      return { imports: () => [], spans: () => [] };
  }
}

function startOpenTelemetry(): Tracer {
  const { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } = need(
    '@opentelemetry/sdk-trace-node',
  ) as typeof import('@opentelemetry/sdk-trace-node');
  const { registerInstrumentations } = need(
    '@opentelemetry/instrumentation',
  ) as typeof import('@opentelemetry/instrumentation');
  const { HttpInstrumentation } = need(
    '@opentelemetry/instrumentation-http',
  ) as typeof import('@opentelemetry/instrumentation-http');
  const { NestInstrumentation } = need(
    '@opentelemetry/instrumentation-nestjs-core',
  ) as typeof import('@opentelemetry/instrumentation-nestjs-core');

  const exporter = new InMemorySpanExporter();
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  provider.register();
  const nest = new NestInstrumentation();
  registerInstrumentations({
    tracerProvider: provider,
    instrumentations: [
      new HttpInstrumentation({
        headersToSpanAttributes: { server: { requestHeaders: ['host', 'x-request'] } },
      }),
      nest,
    ],
  });
  need('http');
  patchNest(nest);

  return {
    imports: () => [],
    spans: (request, port) => {
      const spans = exporter.getFinishedSpans();
      const root = spans.find(
        ({ attributes }) =>
          String(attributes['http.request.header.x_request']) === request &&
          String(attributes['http.request.header.host']) === `127.0.0.1:${port}`,
      );
      const traceId = root?.spanContext().traceId;
      return spans
        .filter((span) => span.spanContext().traceId === traceId)
        .map((span) => span.name)
        .sort();
    },
  };
}

/** The instrumentation patches what `require('@nestjs/core')` gives up to Nest 11; later majors it does not know by number. */
export function patchNest(instrumentation: object): void {
  const major = Number(
    (needOfNest('@nestjs/core/package.json') as { version: string }).version.split('.')[0],
  );
  if (major <= 11) {
    needOfNest('@nestjs/core');
    return;
  }
  const file = '@nestjs/core/router/router-execution-context';
  (
    instrumentation as {
      getRouterExecutionContextFileInstrumentation(versions: string[]): { patch: Function };
    }
  )
    .getRouterExecutionContextFileInstrumentation(['*'])
    .patch(needOfNest(file), String(major));
}

interface SentryTransaction {
  readonly transaction: string;
  readonly request?: { readonly headers?: Record<string, string> };
  readonly spans: { readonly op?: string; readonly description?: string }[];
}

/** Without a network: what would be sent is kept. */
function startSentry(): Tracer {
  const Sentry = needOfNest('@sentry/nestjs') as {
    init(options: object): void;
    createTransport?: unknown;
  };
  const transactions: SentryTransaction[] = [];
  Sentry.init({
    dsn: 'http://key@127.0.0.1:1/1',
    tracesSampleRate: 1,
    transport: () => ({ send: async () => ({}), flush: async () => true }),
    beforeSendTransaction: (event: SentryTransaction) => {
      transactions.push(event);
      return null;
    },
  });
  const { SentryModule } = needOfNest('@sentry/nestjs/setup') as {
    SentryModule: { forRoot(): DynamicModule };
  };
  return {
    imports: () => [SentryModule.forRoot()],
    spans: (request, port) =>
      transactions
        .filter(
          ({ request: { headers = {} } = {} }) =>
            headers['x-request'] === request && headers['host'] === `127.0.0.1:${port}`,
        )
        .flatMap(({ transaction, spans }) => [
          transaction,
          ...spans.map(({ op, description }) => `${op} ${description}`),
        ])
        .sort(),
  };
}
