import { ConfigurableModuleBuilder } from '@nestjs/common';
import type { SseModuleOptions } from './sse.options.js';

/** The options as they were given. A symbol that every copy of the package shares. */
export const SSE_OPTIONS = Symbol.for('nestjs-event-stream:options');

/** The same, checked and with defaults. */
export const RESOLVED_OPTIONS = Symbol.for('nestjs-event-stream:resolved-options');

/**
 * The registry, as `SseService` is given it. Nest prints the token of what it cannot find: in an app that lists the
 * service among its providers, that names the remedy.
 */
export const REGISTRY_OF_SERVICE = Symbol(
  'SseModule.forRoot() in the imports of the root module, and SseService in no list of providers',
);

/** A class that makes the options, for `forRootAsync({ useClass })`. */
export interface SseOptionsFactory {
  /** Called once, when the app starts. */
  createSseOptions(): SseModuleOptions | Promise<SseModuleOptions>;
}

export const { ConfigurableModuleClass, OPTIONS_TYPE, ASYNC_OPTIONS_TYPE } =
  new ConfigurableModuleBuilder<SseModuleOptions>({ optionsInjectionToken: SSE_OPTIONS })
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createSseOptions')
    .setExtras({ isGlobal: true }, (definition, { isGlobal }) => ({ ...definition, global: isGlobal }))
    .build();
