import type { Server } from 'node:net';
import * as tls from 'node:tls';
import type { NestAppLike, SseTarget } from './open-sse.options.js';
import { SseTestError } from './sse-test.error.js';

export interface SseAddress {
  /** Scheme, host, port, and the base URL's path where it has one; no slash at its end. */
  readonly base: string;
  /** Whether the server is known to speak HTTP/2. */
  readonly http2: boolean;
}

/** Where `target` listens. Makes it listen first, on a free port of 127.0.0.1, where it does not yet. */
export async function findAddress(target: SseTarget): Promise<SseAddress> {
  if (typeof target === 'string') return { base: checkBase(target), http2: false };
  const server = isNestApp(target) ? (target.getHttpServer() as Server) : target;
  if (!isServer(server)) throw targetInvalid(target);
  if (!server.listening) await startListening(target, server);
  return { base: baseOf(server), http2: 'updateSettings' in server };
}

/** Joins them as they are written: a path is never taken for the root of a base URL that has a path of its own. */
export function joinUrl(base: string, path: string): URL {
  return new URL(`${base}/${path.replace(/^\/+/, '')}`);
}

/** Two streams opened at once on an app that does not listen yet share one `listen()`: a second one would fail. */
const starting = new WeakMap<NestAppLike | Server, Promise<void>>();

function startListening(target: NestAppLike | Server, server: Server): Promise<void> {
  let started = starting.get(target);
  if (started === undefined) {
    started = listen(target, server).finally(() => starting.delete(target));
    starting.set(target, started);
  }
  return started;
}

async function listen(target: NestAppLike | Server, server: Server): Promise<void> {
  if (isNestApp(target)) {
    // Not the server's listen(): Nest's calls init() where nobody has, and Fastify's routes are ready only after its own.
    await target.listen(0, '127.0.0.1');
    return;
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function baseOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === 'string') {
    throw new SseTestError(
      'argument-invalid',
      `The server listens on ${address ?? 'nothing'}, where a port is needed. Let it listen on port 0.`,
    );
  }
  return `${server instanceof tls.Server ? 'https' : 'http'}://${hostOf(address.address)}:${address.port}`;
}

function hostOf(address: string): string {
  if (address === '0.0.0.0') return '127.0.0.1';
  if (address === '::') return '[::1]';
  return address.includes(':') ? `[${address}]` : address;
}

function checkBase(base: string): string {
  if (!URL.canParse(base) || !/^https?:$/.test(new URL(base).protocol)) {
    throw new SseTestError(
      'argument-invalid',
      `"${base}" is no base URL. It looks like http://127.0.0.1:3000.`,
    );
  }
  return base.replace(/\/+$/, '');
}

function isNestApp(target: SseTarget): target is NestAppLike {
  return typeof (target as Partial<NestAppLike> | undefined)?.getHttpServer === 'function';
}

function isServer(target: unknown): target is Server {
  return typeof (target as Partial<Server> | undefined)?.address === 'function';
}

function targetInvalid(target: unknown): SseTestError {
  const hint =
    typeof (target as { then?: unknown } | undefined)?.then === 'function'
      ? ' Is an await missing?'
      : typeof (target as { createNestApplication?: unknown } | undefined)?.createNestApplication ===
          'function'
        ? ' Call createNestApplication() on the testing module.'
        : '';
  return new SseTestError(
    'argument-invalid',
    `openSse() needs a Nest application, a server or a base URL, got ${Object.prototype.toString.call(target)}.${hint}`,
  );
}
