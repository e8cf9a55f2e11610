import { Inject, Module } from '@nestjs/common';
import type { DynamicModule, OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import { SseService } from '../index.js';
import { observeSseMetrics } from './observe.js';
import type { SseOpenTelemetryOptions } from './observe.js';
import { traceSse } from './trace.js';
import type { SseTraceOptions } from './trace.js';

/** What the module exports, and where. */
export interface SseOpenTelemetryModuleOptions extends SseOpenTelemetryOptions, SseTraceOptions {
  /**
   * Whether spans are made, if there is a provider of tracers.
   *
   * @defaultValue true
   */
  spans?: boolean;
}

const OPENTELEMETRY_OPTIONS = Symbol('nestjs-event-stream:opentelemetry-options');

/**
 * Exports the metrics of `SseModule` by OpenTelemetry, and spans of publishes, resumes and runs, as long as the app runs.
 * Set up the SDK before the app starts.
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
  readonly #options: SseOpenTelemetryModuleOptions;
  #end: (() => void)[] = [];

  /** @internal */
  constructor(
    @Inject(SseService) sse: SseService,
    @Inject(OPENTELEMETRY_OPTIONS) options: SseOpenTelemetryModuleOptions,
  ) {
    this.#sse = sse;
    this.#options = options;
  }

  /** Creates the module. */
  static forRoot(options: SseOpenTelemetryModuleOptions = {}): DynamicModule {
    return {
      module: SseOpenTelemetryModule,
      providers: [{ provide: OPENTELEMETRY_OPTIONS, useValue: options }],
    };
  }

  onModuleInit(): void {
    const { spans = true } = this.#options;
    this.#end.push(observeSseMetrics(this.#sse, this.#options));
    if (spans) {
      this.#end.push(traceSse(this.#sse, this.#options));
    }
  }

  onApplicationShutdown(): void {
    this.#end.forEach((end) => end());
  }
}
