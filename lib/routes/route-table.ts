import 'reflect-metadata';
import type { ConnectionSettings } from '../connection/index.js';
import { isSseHandler } from './nest-metadata.js';

type Handler = (...args: never[]) => unknown;

/** By what a route is known: wrappers that tracers put around a handler copy it with the other metadata. */
const ROUTE_KEY = Symbol.for('nestjs-event-stream:route-key');

/** The routes of one class: by the key of the handler, and by its name. */
interface RoutesOfClass {
  readonly byKey: Map<symbol, ConnectionSettings>;
  readonly byName: Map<string, ConnectionSettings>;
}

/**
 * The settings of an app's `@Sse()` routes, by class and by the key that the handler has in its metadata. A tracer that
 * hands Nest another function copies the metadata, so that a route is found by it. The function itself tells nothing:
 * it may be made anew for each request.
 */
export class RouteTable {
  readonly #classes = new Map<unknown, RoutesOfClass>();
  /** What was found, by handler and class: a cache, for plain routes pass the same interceptor. */
  #found = new WeakMap<Handler, Map<unknown, ConnectionSettings | undefined>>();

  /** Adds a route by its name; {@link mark} adds the key, once the handler is the one that Nest registers. */
  add(type: unknown, name: string, settings: ConnectionSettings): void {
    const routes = this.#classes.get(type) ?? { byKey: new Map(), byName: new Map() };
    routes.byName.set(name, settings);
    this.#classes.set(type, routes);
  }

  /** Gives the handler of a route its key. */
  mark(type: unknown, name: string, handler: Handler): void {
    const routes = this.#classes.get(type);
    const settings = routes?.byName.get(name);
    if (settings) {
      routes!.byKey.set(keyOfHandler(handler, name), settings);
      this.#found = new WeakMap();
    }
  }

  /** The settings of a route by its name in the class. */
  settingsOf(type: unknown, name: string): ConnectionSettings {
    return this.#classes.get(type)!.byName.get(name)!;
  }

  /** The settings of the route that a handler serves; undefined for any other handler. */
  find(type: unknown, handler: Handler): ConnectionSettings | undefined {
    const found = this.#found.get(handler);
    if (found?.has(type)) {
      return found.get(type);
    }
    const settings = this.#search(type, handler);
    this.#found.set(handler, new Map(found).set(type, settings));
    return settings;
  }

  #search(type: unknown, handler: Handler): ConnectionSettings | undefined {
    const routes = this.#classes.get(type);
    if (!routes) {
      return undefined;
    }
    const key = keyOfHandler(handler);
    const byKey = key && routes.byKey.get(key);
    if (byKey) {
      return byKey;
    }
    // A wrapper that has copied nothing but the name. One with metadata of another route is that route's.
    const mayBeWrapper = isSseHandler(handler) || Reflect.getMetadataKeys(handler).length === 0;
    return mayBeWrapper ? routes.byName.get(handler.name) : undefined;
  }
}

/**
 * The key of a handler.
 *
 * @param name gives it one, if it has none
 */
function keyOfHandler(handler: Handler, name: string): symbol;
function keyOfHandler(handler: Handler): symbol | undefined;
function keyOfHandler(handler: Handler, name?: string): symbol | undefined {
  const key = Reflect.getMetadata(ROUTE_KEY, handler) as symbol | undefined;
  if (key !== undefined || name === undefined) {
    return key;
  }
  const made = Symbol(name);
  Reflect.defineMetadata(ROUTE_KEY, made, handler);
  return made;
}
