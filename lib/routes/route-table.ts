import 'reflect-metadata';
import type { ConnectionSettings } from '../connection/index.js';
import { isSseHandler } from './nest-metadata.js';

type Handler = (...args: never[]) => unknown;

/** Metadata key of the key of a route. Tracers that wrap a handler copy it with the other metadata. */
const ROUTE_KEY = Symbol.for('nestjs-event-stream:route-key');

/** The routes of one class, by the key and by the name of their handlers. */
interface RoutesOfClass {
  readonly byKey: Map<symbol, ConnectionSettings>;
  readonly byName: Map<string, ConnectionSettings>;
}

/**
 * Table of the settings of `@Sse()` routes, by class and by the key in the metadata of the handler. A tracer that gives
 * Nest another function copies the metadata, so that its route is found. The function itself identifies no route: a
 * tracer may create a new one for each request.
 */
export class RouteTable {
  readonly #classes = new Map<unknown, RoutesOfClass>();
  /** Cache of lookups by handler and class: plain routes are looked up with each request, too. */
  #found = new WeakMap<Handler, Map<unknown, ConnectionSettings | undefined>>();

  /** Adds a route by its name. {@link mark} adds its key, once the handler is the one that Nest registers. */
  add(type: unknown, name: string, settings: ConnectionSettings): void {
    const routes = this.#classes.get(type) ?? { byKey: new Map(), byName: new Map() };
    routes.byName.set(name, settings);
    this.#classes.set(type, routes);
  }

  /** Marks the handler of a route with a key. */
  mark(type: unknown, name: string, handler: Handler): void {
    const routes = this.#classes.get(type);
    const settings = routes?.byName.get(name);
    if (settings) {
      routes!.byKey.set(keyOfHandler(handler, name), settings);
      this.#found = new WeakMap();
    }
  }

  /** Finds the settings of a route by its class and name. */
  settingsOf(type: unknown, name: string): ConnectionSettings {
    return this.#classes.get(type)!.byName.get(name)!;
  }

  /** Finds the settings of the route that a handler serves; undefined for any other handler. */
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
    // A wrapper may have copied nothing but the name. A wrapper with the metadata of another route belongs to that
    // route.
    const mayBeWrapper = isSseHandler(handler) || Reflect.getMetadataKeys(handler).length === 0;
    return mayBeWrapper ? routes.byName.get(handler.name) : undefined;
  }
}

/**
 * Reads the key of a handler.
 *
 * @param name - creates a key with this name, if the handler has none
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
