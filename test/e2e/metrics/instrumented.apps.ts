import type { IncomingMessage, ServerResponse } from 'node:http';
import { SseModule, whenAnswered } from 'nestjs-event-stream';
import { Histogram, Registry } from 'prom-client';
import { platforms } from '../../support/apps/platforms.js';
import type { Platform } from '../../support/apps/platforms.js';
import type { Figures } from './instrumented.app.js';
import { MeasuredRoutes } from './measured.routes.js';

/** An app that measures its requests. */
export interface MeasuringApp {
  readonly platform: string;
  readonly port: number;
  figures(): Promise<Figures>;
  /** From now on it measures by `whenAnswered`. */
  measureUntilAnswered(): void;
}

export function startApps(): Promise<MeasuringApp[]> {
  return Promise.all(platforms.filter(({ http2 }) => !http2).map(startApp));
}

async function startApp(platform: Platform): Promise<MeasuringApp> {
  const histogram = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Requests.',
    registers: [new Registry()],
  });
  // As most apps have it.
  let measure = (res: ServerResponse, stop: () => void): void => {
    res.on('close', stop);
  };
  const app = await platform.create(
    { imports: [SseModule.forRoot()], controllers: [MeasuredRoutes] },
    {
      configure: (app) =>
        app.use((_req: IncomingMessage, res: ServerResponse, next: () => void) => {
          const stop = histogram.startTimer();
          measure(res, () => void stop());
          next();
        }),
    },
  );
  return {
    platform: platform.name,
    port: (app.getHttpServer() as { address(): { port: number } }).address().port,
    measureUntilAnswered: () => (measure = whenAnswered),
    figures: async () => {
      const { values } = await histogram.get();
      const valueOf = (end: string) => values.find(({ metricName }) => metricName?.endsWith(end))?.value ?? 0;
      return { count: valueOf('_count'), seconds: valueOf('_sum') };
    },
  };
}
