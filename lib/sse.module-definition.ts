import { ConfigurableModuleBuilder } from '@nestjs/common';
import type { SseModuleOptions } from './sse.options.js';

/** Injection token of the options, as they were given. All copies of the package share this symbol. */
export const SSE_OPTIONS = Symbol.for('nestjs-event-stream:options');

/** Injection token of the options, checked and with their defaults. */
export const RESOLVED_OPTIONS = Symbol.for('nestjs-event-stream:resolved-options');

/**
 * Injection token of the connection registry, for `SseService`. Its description is the remedy: Nest prints it if an app
 * lists `SseService` among its providers without importing the module.
 */
export const REGISTRY_OF_SERVICE = Symbol(
  'SseModule.forRoot() in the imports of the root module, and SseService in no list of providers',
);

/** Injection token of the store of event logs: that of topics, and those of runs. */
export const EVENT_LOG_STORE = Symbol('nestjs-event-stream:event-log-store');

/** Injection token of the tickets; undefined if the app has none. */
export const TICKETS = Symbol('nestjs-event-stream:tickets');

/** A class that creates the options, for `forRootAsync({ useClass })` and `useExisting`. */
export interface SseOptionsFactory {
  /** Creates the options. Called once, when the app starts. */
  createSseOptions(): SseModuleOptions | Promise<SseModuleOptions>;
}

export const { ConfigurableModuleClass, OPTIONS_TYPE, ASYNC_OPTIONS_TYPE } =
  new ConfigurableModuleBuilder<SseModuleOptions>({ optionsInjectionToken: SSE_OPTIONS })
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createSseOptions')
    .setExtras({ isGlobal: true }, (definition, { isGlobal }) => ({ ...definition, global: isGlobal }))
    .build();
