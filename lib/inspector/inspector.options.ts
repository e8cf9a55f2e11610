import type { CanActivate, ModuleMetadata, Type } from '@nestjs/common';
import { OptionChecks, show, SseError } from '../errors/index.js';

/** Options of `SseInspectorModule.forRoot`. */
export interface SseInspectorOptions {
  /**
   * Where the page is, below the app's global prefix, and without a version: tokens of letters, digits, `-`, `_` and
   * `.`, joined by slashes.
   *
   * @defaultValue `'sse-inspector'`
   */
  path?: string;
  /**
   * Guards of the page, its streams and its calls: classes, or instances. Who passes sees every key, topic and address,
   * reads every event, ends streams and publishes.
   *
   * Without one the app does not start, unless `NODE_ENV` is `development`. There the inspector then answers this
   * machine alone: requests from a loopback address, to a local host name, without a header of a proxy.
   *
   * @defaultValue none
   */
  guards?: readonly (CanActivate | Type<CanActivate>)[];
  /**
   * Modules whose exports the guards inject.
   *
   * @defaultValue none
   */
  imports?: ModuleMetadata['imports'];
  /**
   * The most streams of pages that are open at once on one instance, 1 to 50. A further one is refused with 503.
   *
   * @defaultValue 20
   */
  maxPages?: number;
}

/** Checked options of the inspector. */
export interface InspectorSettings {
  readonly path: string;
  readonly guards: readonly (CanActivate | Type<CanActivate>)[];
  readonly imports: NonNullable<ModuleMetadata['imports']>;
  readonly maxPages: number;
}

const MAX_PAGES = 50;
const checks = new OptionChecks('SseInspectorModule.forRoot()');

/** @throws SseError `options-invalid` */
export function inspectorSettings(options: SseInspectorOptions): InspectorSettings {
  checks.refuseUnknown(options, ['path', 'guards', 'imports', 'maxPages']);
  const { path = 'sse-inspector', guards = [], imports = [], maxPages } = options;
  if (typeof path !== 'string' || !/^\/?[\w.-]+(\/[\w.-]+)*\/?$/.test(path)) {
    throw checks.refusal('path', "letters, digits, '-', '_' and '.', joined by slashes", path);
  }
  if (!Array.isArray(guards)) {
    throw checks.refusal('guards', 'a list of guards', guards);
  }
  guards.forEach(refuseUnlessGuard);
  return {
    path: path.replace(/^\/|\/$/g, ''),
    guards,
    imports,
    maxPages: checks.whole('maxPages', maxPages, 1, MAX_PAGES) ?? 20,
  };
}

function refuseUnlessGuard(guard: unknown): void {
  const holder = typeof guard === 'function' ? (guard.prototype as unknown) : guard;
  if (typeof (holder as Partial<CanActivate> | undefined | null)?.canActivate !== 'function') {
    throw checks.refusal('guards', 'a list of guards: classes or instances with canActivate()', guard);
  }
}

/**
 * Refuses an inspector without a guard outside development.
 *
 * @param environment - the value of `NODE_ENV`
 * @throws SseError `misuse`
 */
export function refuseUnguarded({ guards, path }: InspectorSettings, environment: string | undefined): void {
  if (guards.length > 0 || environment === 'development') {
    return;
  }
  const given = environment === undefined ? 'is not set' : `is ${show(environment)}`;
  throw new SseError(
    'misuse',
    `SseInspectorModule.forRoot() has no guards, and NODE_ENV ${given}: whoever finds /${path} could read every event ` +
      'and end every stream. Pass the guard of your operators, as in forRoot({ guards: [OperatorGuard] }). ' +
      'Without a guard it starts only with NODE_ENV=development, and answers this machine alone.',
    { field: 'guards' },
  );
}
