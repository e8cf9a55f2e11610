import { Inject, Module } from '@nestjs/common';
import type { DynamicModule, OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import { SseService } from '../index.js';
import { observeSseMetrics } from './observe.js';
import type { SseOpenTelemetryOptions } from './observe.js';

const OPENTELEMETRY_OPTIONS = Symbol('nestjs-event-stream:opentelemetry-options');

/**
 * Exports the metrics of `SseModule` by OpenTelemetry, as long as the app runs. Set up the SDK before the app starts.
 *
 * @example
 * ```ts
 * @Module({ imports: [SseModule.forRoot(), SseOpenTelemetryModule.forRoot()] })
 * export class AppModule {}
 * ```
 */
@Module({})
export class SseOpenTelemetryModule implements OnModuleInit, OnApplicationShutdown {
  readonly #sse: SseService;
  readonly #options: SseOpenTelemetryOptions;
  #end: (() => void) | undefined;

  /** @internal */
  constructor(
    @Inject(SseService) sse: SseService,
    @Inject(OPENTELEMETRY_OPTIONS) options: SseOpenTelemetryOptions,
  ) {
    this.#sse = sse;
    this.#options = options;
  }

  /** Creates the module. */
  static forRoot(options: SseOpenTelemetryOptions = {}): DynamicModule {
    return {
      module: SseOpenTelemetryModule,
      providers: [{ provide: OPENTELEMETRY_OPTIONS, useValue: options }],
    };
  }

  onModuleInit(): void {
    this.#end = observeSseMetrics(this.#sse, this.#options);
  }

  onApplicationShutdown(): void {
    this.#end?.();
  }
}
