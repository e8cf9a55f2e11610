import type { EventEmitter } from 'node:events';
import { Inject, Module } from '@nestjs/common';
import type {
  BeforeApplicationShutdown,
  DynamicModule,
  NestModule,
  OnApplicationShutdown,
  OnModuleInit,
} from '@nestjs/common';
import { HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import { ConnectionRegistry } from './connection/index.js';
import type { EngineContext, EventLogStore } from './log/index.js';
import { SseError } from './errors/index.js';
import { Limits } from './limits/index.js';
import { publicErrorOfRun } from './sse.failure.js';
import { Admission } from './sse.admission.js';
import { ConnectionKeys } from './sse.connection-keys.js';
import { HealthMonitor } from './sse.health.js';
import { Inspection, INSPECTION } from './sse.inspection.js';
import {
  ASYNC_OPTIONS_TYPE,
  ConfigurableModuleClass,
  EVENT_LOG_STORE,
  OPTIONS_TYPE,
  REGISTRY_OF_SERVICE,
  RESOLVED_OPTIONS,
  SSE_OPTIONS,
  TICKETS,
} from './sse.module-definition.js';
import { resolveOptions } from './sse.options.js';
import type { ResolvedOptions } from './sse.options.js';
import { SseReporter } from './sse.reporter.js';
import { FilterSetup } from './sse.filters.js';
import { importsOf, SseRoutes } from './routes/index.js';
import { SseService } from './sse.service.js';
import { Runs } from './runs/index.js';
import { Topics } from './topics/index.js';
import { Revalidation, Revocations, Tickets } from './trust/index.js';

/**
 * Server-Sent Events for a Nest app. Import it once, in the root module. It is global: {@link SseService} can be
 * injected anywhere, and every `@Sse()` route is served with heartbeats, limits and a clean end.
 *
 * @example
 * ```ts
 * @Module({ imports: [SseModule.forRoot({ heartbeatMs: 20_000 })] })
 * export class AppModule {}
 * ```
 */
@Module({
  providers: [
    SseReporter,
    // forRoot() and forRootAsync() replace this provider.
    { provide: SSE_OPTIONS, useFactory: refuseWithoutOptions },
    { provide: RESOLVED_OPTIONS, useFactory: resolveOptions, inject: [SSE_OPTIONS] },
    {
      provide: EVENT_LOG_STORE,
      useFactory: (
        { log, outbox, topics }: ResolvedOptions,
        reporter: SseReporter,
        limits: Limits,
      ): EventLogStore => {
        const context: EngineContext = {
          maxEventBytes: topics.maxEventBytes,
          endedBytes: limits.settings.endedRunsBytes,
          endedLogs: limits.settings.endedRuns,
          onEndedEarly: (limit) => limits.count(limit === 'bytes' ? 'endedRunsBytes' : 'endedRuns'),
          warn: (message) => reporter.warn(message),
        };
        return outbox ? outbox(log, context) : log(context);
      },
      inject: [RESOLVED_OPTIONS, SseReporter, Limits],
    },
    {
      provide: Topics,
      useFactory: (
        store: EventLogStore,
        { topics }: ResolvedOptions,
        reporter: SseReporter,
        limits: Limits,
      ) => new Topics(store, topics, reporter, limits),
      inject: [EVENT_LOG_STORE, RESOLVED_OPTIONS, SseReporter, Limits],
    },
    {
      provide: ConnectionRegistry,
      useFactory: (
        { maxConnections, drain }: ResolvedOptions,
        reporter: SseReporter,
        following: Topics,
        limits: Limits,
      ) => new ConnectionRegistry({ maxConnections, drain, reporter, following, limits }),
      inject: [RESOLVED_OPTIONS, SseReporter, Topics, Limits],
    },
    {
      provide: Limits,
      useFactory: ({ limits }: ResolvedOptions, reporter: SseReporter) => new Limits(limits, reporter),
      inject: [RESOLVED_OPTIONS, SseReporter],
    },
    { provide: REGISTRY_OF_SERVICE, useExisting: ConnectionRegistry },
    {
      provide: Runs,
      useFactory: (
        store: EventLogStore,
        { runs }: ResolvedOptions,
        { wheel }: ConnectionRegistry,
        reporter: SseReporter,
        limits: Limits,
      ) => new Runs(store, runs, { wheel, reporter, limits, publicError: publicErrorOfRun }),
      inject: [EVENT_LOG_STORE, RESOLVED_OPTIONS, ConnectionRegistry, SseReporter, Limits],
    },
    {
      provide: HealthMonitor,
      useFactory: ({ health }: Topics, reporter: SseReporter) => new HealthMonitor(health, reporter),
      inject: [Topics, SseReporter],
    },
    {
      provide: Revocations,
      useFactory: (
        store: EventLogStore,
        { connection }: ResolvedOptions,
        registry: ConnectionRegistry,
        runs: Runs,
        reporter: SseReporter,
      ) =>
        new Revocations(store, {
          isEnabled: connection.hasKeys,
          wheel: registry.wheel,
          reporter,
          onRevoked: (keys) => {
            registry.revoke(keys);
            runs.stopOf(keys);
          },
        }),
      inject: [EVENT_LOG_STORE, RESOLVED_OPTIONS, ConnectionRegistry, Runs, SseReporter],
    },
    FilterSetup,
    {
      provide: Revalidation,
      useFactory: ({ revalidate }: ResolvedOptions, { wheel, reporter }: ConnectionRegistry) =>
        new Revalidation(revalidate, { wheel, reporter }),
      inject: [RESOLVED_OPTIONS, ConnectionRegistry],
    },
    ConnectionKeys,
    Admission,
    {
      provide: TICKETS,
      useFactory: (store: EventLogStore, { tickets }: ResolvedOptions, reporter: SseReporter) =>
        tickets && new Tickets(store, tickets, reporter),
      inject: [EVENT_LOG_STORE, RESOLVED_OPTIONS, SseReporter],
    },
    SseService,
    { provide: INSPECTION, useClass: Inspection },
    SseRoutes,
  ],
  exports: [SseService, INSPECTION],
})
export class SseModule
  extends ConfigurableModuleClass
  implements NestModule, OnModuleInit, BeforeApplicationShutdown, OnApplicationShutdown
{
  readonly #registry: ConnectionRegistry;
  readonly #adapterHost: HttpAdapterHost;
  readonly #topics: Topics;
  readonly #health: HealthMonitor;
  readonly #routes: SseRoutes;
  readonly #runs: Runs;
  readonly #revocations: Revocations;

  /** @internal */
  constructor(
    @Inject(ConnectionRegistry) registry: ConnectionRegistry,
    @Inject(HttpAdapterHost) adapterHost: HttpAdapterHost,
    @Inject(Topics) topics: Topics,
    @Inject(HealthMonitor) health: HealthMonitor,
    @Inject(SseRoutes) routes: SseRoutes,
    @Inject(Runs) runs: Runs,
    @Inject(Revocations) revocations: Revocations,
    @Inject(ModulesContainer) modules: ModulesContainer,
  ) {
    super();
    refuseASecond(modules);
    this.#registry = registry;
    this.#adapterHost = adapterHost;
    this.#topics = topics;
    this.#health = health;
    this.#routes = routes;
    this.#runs = runs;
    this.#revocations = revocations;
  }

  /**
   * Creates the module with options. It is global, unless `isGlobal` is false. The options are checked when the app
   * starts: an unknown option, or a value out of its range, fails the start with an `SseError`, `options-invalid`.
   *
   * @param options - see {@link SseModuleOptions}; each has a default
   */
  static override forRoot(options: typeof OPTIONS_TYPE = {}): DynamicModule {
    return super.forRoot(options);
  }

  /**
   * Creates the module with options from a factory, a class or a provider: `useFactory` with `inject`, `useClass` or
   * `useExisting` with an {@link SseOptionsFactory}. `imports` lists the modules that these need. Options are checked
   * as by {@link forRoot}.
   */
  static override forRootAsync(options: typeof ASYNC_OPTIONS_TYPE): DynamicModule {
    return super.forRootAsync(options);
  }

  /** Called by Nest when all controllers and global interceptors exist, before it registers the first route. */
  configure(): void {
    // In Nest's preview mode no constructor has run.
    if (#routes in this) {
      this.#routes.prepare();
    }
  }

  async onModuleInit(): Promise<void> {
    // An app without HTTP, such as a worker that shares the modules, has no adapter.
    const server = this.#adapterHost.httpAdapter?.getHttpServer() as EventEmitter | undefined;
    if (server) {
      this.#registry.watchServer(server);
    }
    this.#health.start();
    try {
      await this.#topics.start();
      // Before the app listens: a client that was locked out must not find an instance that has not heard of it.
      await this.#revocations.start();
    } catch (error) {
      this.#health.close();
      await this.#topics.close();
      throw error;
    }
  }

  /** Ends the streams before Nest closes the server, since closing it waits for all open streams. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.#registry.drain(async () => {
      await Promise.all([this.#topics.drain(), this.#runs.drain()]);
    });
    // Awaited in this hook, because in the next one modules of the app close what answers are saved to.
    await Promise.all([this.#runs.settled(), this.#topics.presence.leave()]);
  }

  async onApplicationShutdown(): Promise<void> {
    this.#health.close();
    this.#revocations.close();
    await this.#runs.close();
    await this.#topics.close();
  }
}

function refuseWithoutOptions(): never {
  throw new SseError(
    'module-missing',
    'SseModule is imported without forRoot(). Import SseModule.forRoot() once, in the root module: it is global, so ' +
      'a feature module injects SseService and imports nothing.',
  );
}

/**
 * Refuses a second import of the module. Both would be global, and it would be chance which of them a class is given.
 *
 * @throws SseError `misuse`
 */
function refuseASecond(modules: ModulesContainer): void {
  const all = [...modules.values()];
  // Found by the token, which all copies of the package share: another copy has another class.
  const ours = all.filter(({ providers }) => providers.has(SSE_OPTIONS));
  if (ours.some(({ metatype }) => metatype !== SseModule)) {
    throw new SseError(
      'misuse',
      'SseModule is imported more than once, from different copies of nestjs-event-stream: each has connections and ' +
        'topics of its own, and what is published in one reaches no client of the other. Run: npm ls nestjs-event-stream. ' +
        'A library should name it as a peer dependency, and a bundle should have its ES modules or its CommonJS, not both.',
    );
  }
  if (ours.filter(({ isGlobal }) => isGlobal).length < 2) {
    return;
  }
  const importing = all
    .filter(({ metatype }) => importsOf(metatype).some((imported) => isOurs(imported)))
    .map(({ name }) => name);
  throw new SseError(
    'misuse',
    `SseModule is imported more than once${importing.length > 0 ? `: see ${importing.join(', ')}` : ''}. ` +
      'Each import has connections, limits and topics of its own, and what is published in one reaches nobody in ' +
      'another. It is global: call forRoot() in the root module alone, and inject SseService anywhere. ' +
      'Where two are meant, give all but one isGlobal: false.',
  );
}

function isOurs(imported: unknown): boolean {
  return (imported as Partial<DynamicModule> | undefined)?.module === SseModule;
}
