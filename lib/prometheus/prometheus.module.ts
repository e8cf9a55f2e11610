import { Inject, Module } from '@nestjs/common';
import type { DynamicModule, OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import { SseService } from '../index.js';
import { collectSseMetrics } from './collect.js';
import type { SsePrometheusOptions } from './collect.js';

const PROMETHEUS_OPTIONS = Symbol('nestjs-event-stream:prometheus-options');

/**
 * Exports the metrics of `SseModule` by prom-client, as long as the app runs. The app serves the registry: with
 * `@willsoto/nestjs-prometheus`, or by a route of its own.
 *
 * @example
 * ```ts
 * @Module({
 *   imports: [SseModule.forRoot(), PrometheusModule.register(), SsePrometheusModule.forRoot()],
 * })
 * export class AppModule {}
 * ```
 */
@Module({})
export class SsePrometheusModule implements OnModuleInit, OnApplicationShutdown {
  readonly #sse: SseService;
  readonly #options: SsePrometheusOptions;
  #remove: (() => void) | undefined;

  /** @internal */
  constructor(
    @Inject(SseService) sse: SseService,
    @Inject(PROMETHEUS_OPTIONS) options: SsePrometheusOptions,
  ) {
    this.#sse = sse;
    this.#options = options;
  }

  /** Creates the module. The app does not start if the registry has metrics of these names already. */
  static forRoot(options: SsePrometheusOptions = {}): DynamicModule {
    return { module: SsePrometheusModule, providers: [{ provide: PROMETHEUS_OPTIONS, useValue: options }] };
  }

  onModuleInit(): void {
    this.#remove = collectSseMetrics(this.#sse, this.#options);
  }

  onApplicationShutdown(): void {
    this.#remove?.();
  }
}
