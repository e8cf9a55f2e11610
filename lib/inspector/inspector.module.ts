import { Inject, Module } from '@nestjs/common';
import type { DynamicModule, OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import { SseService } from '../index.js';
import { INSPECTION } from '../sse.inspection.js';
import type { Inspection } from '../sse.inspection.js';
import { InspectorHub } from './hub.js';
import { controllerAt, INSPECTOR_SETTINGS } from './inspector.controller.js';
import { inspectorSettings, refuseUnguarded } from './inspector.options.js';
import type { SseInspectorOptions } from './inspector.options.js';

/**
 * A page for operators: connections, topics, keys, runs and the log of all instances, as they change. It tails a topic,
 * publishes a test event, closes a connection on whichever instance, and revokes a key. While no page is open it costs
 * nothing.
 *
 * Import it beside `SseModule`, on every instance, behind the guard of your operators.
 *
 * @example
 * ```ts
 * @Module({
 *   imports: [
 *     SseModule.forRoot(),
 *     SseInspectorModule.forRoot({ path: 'internal/sse', guards: [OperatorGuard] }),
 *   ],
 * })
 * export class AppModule {}
 * ```
 */
@Module({})
export class SseInspectorModule implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #hub: InspectorHub;

  /** @internal */
  constructor(@Inject(InspectorHub) hub: InspectorHub) {
    this.#hub = hub;
  }

  /**
   * Creates the module.
   *
   * @param options - see {@link SseInspectorOptions}; each has a default
   * @throws SseError `options-invalid`. Without a guard the app fails to start with `misuse`, unless `NODE_ENV` is
   * `development`
   */
  static forRoot(options: SseInspectorOptions = {}): DynamicModule {
    const settings = inspectorSettings(options);
    return {
      module: SseInspectorModule,
      imports: settings.imports,
      controllers: [controllerAt(settings)],
      providers: [
        {
          provide: INSPECTOR_SETTINGS,
          useFactory: () => {
            // As the app starts: by then a .env file is read.
            refuseUnguarded(settings, process.env['NODE_ENV']);
            return settings;
          },
        },
        {
          provide: InspectorHub,
          useFactory: (sse: SseService, inspection: Inspection) => new InspectorHub(inspection, sse),
          inject: [SseService, INSPECTION],
        },
      ],
    };
  }

  onApplicationBootstrap(): void {
    // It never rejects: a log that is away does not keep the app from starting.
    void this.#hub.start();
  }

  onApplicationShutdown(): void {
    this.#hub.close();
  }
}
