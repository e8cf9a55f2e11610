import type { Server } from 'node:net';
import * as tls from 'node:tls';
import type { NestAppLike, SseTarget } from './open-sse.options.js';
import { SseTestError } from './sse-test.error.js';

export interface SseAddress {
  /** Scheme, host and port, and the path of a base URL that has one; without a slash at its end. */
  readonly base: string;
  /** Whether the server is known to speak HTTP/2. */
  readonly http2: boolean;
}

/** Finds the address of a target. A target that does not listen yet is started on a free port of 127.0.0.1. */
export async function findAddress(target: SseTarget): Promise<SseAddress> {
  if (typeof target === 'string') {
    return { base: checkBase(target), http2: false };
  }
  const server = isNestApp(target) ? (target.getHttpServer() as Server) : target;
  if (!isServer(server)) {
    throw targetInvalid(target);
  }
  if (!server.listening) {
    await startListening(target, server);
  }
  return { base: baseOf(server), http2: 'updateSettings' in server };
}

/** Appends a path to a base URL. A path with a leading slash does not replace the path of the base URL. */
export function joinUrl(base: string, path: string): URL {
  return new URL(`${base}/${path.replace(/^\/+/, '')}`);
}

/**
 * Apps and servers that are starting. Two streams that are opened at once share one `listen()`: a second call would
 * fail.
 */
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
    // Not the listen() of the server: that of Nest calls init() first, and the routes of Fastify are ready only after
    // it.
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
  if (address === '0.0.0.0') {
    return '127.0.0.1';
  }
  if (address === '::') {
    return '[::1]';
  }
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
