import 'reflect-metadata';
import type {
  DynamicModule,
  INestApplication,
  ModuleMetadata,
  NestApplicationOptions,
  Type,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { openSse } from 'nestjs-event-stream/testing';
import type { OpenSseOptions, SseTarget, SseTestStream } from 'nestjs-event-stream/testing';

export interface CreateOptions extends NestApplicationOptions {
  /** Called before the app is initialised: for a prefix, versions, global interceptors. */
  configure?: (app: INestApplication) => unknown;
}

/** What Nest runs on. */
export interface Platform {
  readonly name: string;
  readonly http2: boolean;
  /**
   * An app that listens on a free port of 127.0.0.1, of a module or of what one is made of. It logs nothing unless it is
   * given a logger, and throws what it fails to start with. {@link closeAll} closes it.
   */
  create(
    module: Type<unknown> | DynamicModule | ModuleMetadata,
    options?: CreateOptions,
  ): Promise<INestApplication>;
}

/** For `describe.each(platforms)('on $name', …)`. */
export const platforms: Platform[] = [
  platform('Express', false, () => new ExpressAdapter()),
  platform('Fastify', false, () => new FastifyAdapter()),
  platform('Fastify on HTTP/2', true, () => new FastifyAdapter({ http2: true })),
];

const apps = new Set<INestApplication>();
const streams = new Set<SseTestStream>();

/** `openSse()`, with a stream that {@link closeAll} closes. */
export async function open(
  target: SseTarget,
  path: string,
  options?: OpenSseOptions,
): Promise<SseTestStream> {
  const stream = await openSse(target, path, { timeoutMs: 15_000, ...options });
  streams.add(stream);
  return stream;
}

/** For `afterEach(closeAll)`. Streams first: an app that serves them without this package waits for each that is open. */
export async function closeAll(): Promise<void> {
  const openStreams = [...streams];
  streams.clear();
  await Promise.all(openStreams.map((stream) => stream.close()));
  const openApps = [...apps];
  apps.clear();
  await Promise.all(openApps.map((app) => app.close()));
}

/** Where an app listens, for clients other than `openSse()`. */
export function baseOf(app: INestApplication): string {
  const { port } = (app.getHttpServer() as { address(): { port: number } }).address();
  return `http://127.0.0.1:${port}`;
}

function platform(name: string, http2: boolean, adapter: () => unknown): Platform {
  return {
    name,
    http2,
    async create(module, { configure, ...options } = {}) {
      const root =
        typeof module === 'function' || 'module' in module
          ? module
          : { module: class AppModule {}, ...module };
      const app = await NestFactory.create(root, adapter() as AbstractHttpAdapter, {
        logger: false,
        abortOnError: false,
        ...options,
      });
      // One that fails to start holds timers and sockets as well.
      apps.add(app);
      await configure?.(app);
      await app.listen(0, '127.0.0.1');
      return app;
    },
  };
}
