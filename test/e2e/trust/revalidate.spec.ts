import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import { Controller, Get, Req, Res, Sse } from '@nestjs/common';
import { Connection, SseConnection, SseModule, SseOptions, SseService } from 'nestjs-event-stream';
import type { CloseReason, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { NEVER } from 'rxjs';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import type { Platform } from '../../support/apps/platforms.js';

type Headers = Record<string, string | undefined>;
const tenants = new AsyncLocalStorage<string>();

@Controller()
class CheckedController {
  readonly reasons = new Map<string, CloseReason>();
  readonly connections: SseConnection[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Req() request: { headers: Headers }, @Res() res: object): void {
    this.#watch(this.sse.connect(res), request);
  }

  @Sse('sse')
  stream(@Req() request: { headers: Headers }, @Connection() connection: SseConnection) {
    this.#watch(connection, request);
    return NEVER;
  }

  @Sse('expiring')
  @SseOptions({
    expiresAt: (request) => {
      const { ms } = (request as { query: Headers }).query;
      return ms === 'none' ? undefined : new Date(ms === 'bad' ? Number.NaN : Date.now() + Number(ms));
    },
  })
  expiring(@Req() request: { headers: Headers }, @Connection() connection: SseConnection) {
    return this.stream(request, connection);
  }

  #watch(connection: SseConnection, { headers }: { headers: Headers }): void {
    this.connections.push(connection);
    connection.send('begun');
    void connection.closed.then((reason) => this.reasons.set(headers['x-tenant'] ?? '', reason));
  }
}

async function createApp(platform: Platform, options: SseModuleOptions) {
  const app = await platform.create(
    { imports: [SseModule.forRoot({ heartbeatMs: false, ...options })], controllers: [CheckedController] },
    {
      configure: (nest: INestApplication) =>
        nest.use(({ headers }: { headers: Headers }, _res: unknown, next: () => void) =>
          tenants.run(headers['x-tenant'] ?? 'none', next),
        ),
    },
  );
  return { app, controller: app.get(CheckedController), sse: app.get(SseService) };
}

/** Keeps the event loop busy. */
function standStill(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    // Nothing else runs.
  }
}

const tenant = (name: string) => ({ headers: { 'x-tenant': name } });
const tenantOf = ({ request }: SseConnection) => (request as { headers: Headers }).headers['x-tenant']!;
const stopped = { timeoutMs: 15_000 };

afterEach(closeAll);

const rows = platforms.flatMap((platform) => [
  { platform, path: '/connect' },
  { platform, path: '/sse' },
]);

describe.each(rows)('revalidate on $path of $platform.name', ({ platform, path }) => {
  it('asks for each connection in the context of its own request, and ends the one that may not stay', async () => {
    const seen = new Map<string, Set<string | undefined>>();
    let mayStay = true;
    const check = async (connection: SseConnection) => {
      const name = tenantOf(connection);
      const inContext = tenants.getStore();
      await new Promise(setImmediate);
      seen.set(name, (seen.get(name) ?? new Set()).add(inContext).add(tenants.getStore()));
      return mayStay || name !== 'acme';
    };
    const { app, controller, sse } = await createApp(platform, {
      revalidate: { everyMs: 100, graceMs: 10_000, check },
    });
    const streams = await Promise.all(['acme', 'globex'].map((name) => open(app, path, tenant(name))));
    await Promise.all(streams.map((stream) => stream.next()));
    await waitFor(() => seen.size === 2, stopped);
    expect(sse.connections.size).toBe(2);

    mayStay = false;
    expect((await streams[0]!.next()).type).toBe('revoked');
    expect(await streams[0]!.untilEnd()).toBe('complete');
    expect([...controller.reasons]).toEqual([['acme', 'revoked']]);
    expect(sse.connections.size).toBe(1);
    for (const [name, contexts] of seen) {
      expect([...contexts]).toEqual([name]);
    }
  });
});

describe('revalidate', () => {
  const [platform] = platforms;
  const begin = async (revalidate: SseModuleOptions['revalidate'], count = 1) => {
    const context = await createApp(platform!, { revalidate });
    const names = Array.from({ length: count }, (_, n) => `tenant ${n}`);
    const streams = await Promise.all(names.map((name) => open(context.app, '/sse', tenant(name))));
    return { ...context, streams };
  };

  it('keeps a connection through failures within its grace', async () => {
    let calls = 0;
    const check = () => {
      calls += 1;
      if (calls % 4 !== 0) {
        throw new Error('the database is away');
      }
      return true;
    };
    const { sse } = await begin({ everyMs: 100, graceMs: 3_000, check });
    await waitFor(() => calls >= 3, stopped);
    expect(sse.connections.size).toBe(1);
  });

  it.each<[string, () => Promise<boolean>]>([
    ['fails', () => Promise.reject(new Error('away'))],
    ['never answers', () => new Promise(() => undefined)],
  ])('closes a connection as expired when its check %s for longer than the grace', async (_what, check) => {
    const { controller, streams } = await begin({ everyMs: 100, graceMs: 100, check });
    await streams[0]!.untilEnd();
    expect([...controller.reasons.values()]).toEqual(['expired']);
    expect(streams[0]!.events.map(({ type }) => type)).toEqual(['message']);
  });

  it('keeps a connection when the process stood still for longer than the grace', async () => {
    let calls = 0;
    const check = async () => {
      calls += 1;
      if (calls === 1) {
        standStill(300);
        // As the answer of a database, which the event loop reads after its timers.
        await new Promise(setImmediate);
      }
      return true;
    };
    const { sse, controller } = await begin({ everyMs: 100, graceMs: 100, check });
    standStill(300);
    await waitFor(() => calls >= 2 || controller.reasons.size > 0, stopped);
    expect([...controller.reasons]).toEqual([]);
    expect(sse.connections.size).toBe(1);
  });

  it('has no more checks pending at once than it may', async () => {
    const names = new Set<string>();
    let pending = 0;
    let most = 0;
    const check = async (connection: SseConnection) => {
      names.add(tenantOf(connection));
      pending += 1;
      most = Math.max(most, pending);
      await new Promise((resolve) => setTimeout(resolve, 5));
      pending -= 1;
      return true;
    };
    await begin({ everyMs: 100, graceMs: 60_000, maxConcurrent: 2, check }, 12);
    await waitFor(() => names.size === 12, stopped);
    expect(most).toBe(2);
  });

  it('gives the place of a check that hangs to another when its client leaves', async () => {
    const asked: string[] = [];
    const check = (connection: SseConnection) => {
      asked.push(tenantOf(connection));
      return new Promise<boolean>(() => undefined);
    };
    const { streams } = await begin({ everyMs: 100, graceMs: 60_000, maxConcurrent: 1, check }, 3);
    for (const count of [1, 2, 3]) {
      await waitFor(() => asked.length === count, stopped);
      await streams[Number(asked.at(-1)!.split(' ')[1])]!.close();
    }
    expect(new Set(asked).size).toBe(3);
  });

  it('closes connections as expired whose checks wait for one that hangs', async () => {
    const check = () => new Promise<boolean>(() => undefined);
    const { controller } = await begin({ everyMs: 100, graceMs: 200, maxConcurrent: 1, check }, 3);
    await waitFor(() => controller.reasons.size === 3, stopped);
    expect([...controller.reasons.values()]).toEqual(['expired', 'expired', 'expired']);
  });

  it('leaves no deadline behind', async () => {
    const { app, streams } = await begin({ everyMs: 1_000_000, check: () => true }, 3);
    const { wheel } = app.get(ConnectionRegistry, { strict: false });
    expect(wheel.size).toBe(3);
    await Promise.all(streams.map((stream) => stream.close()));
    await waitFor(() => wheel.size === 0, stopped);
  });

  it.each([
    [{}, 'revalidate'],
    [{ everyMs: 1_000 }, 'revalidate'],
    [{ everyMs: 10, check: () => true }, 'revalidate.everyMs'],
    [{ everyMs: 1_000, check: true }, 'revalidate.check'],
    [{ everyMs: 1_000, check: () => true, graceMs: -1 }, 'revalidate.graceMs'],
    [{ everyMs: 1_000, check: () => true, every: 1 }, 'every'],
  ])('refuses %j', async (revalidate, field) => {
    const starting = createApp(platform!, { revalidate: revalidate as never });
    await expect(starting).rejects.toMatchObject({ code: 'options-invalid', field });
  });
});

describe.each(platforms)('the end of a right on $name', (platform) => {
  it('closes an @Sse() route at the time that expiresAt returns for its request', async () => {
    const { app, controller } = await createApp(platform, {});
    const stream = await open(app, '/expiring?ms=50', tenant('acme'));
    const forever = await open(app, '/expiring?ms=none', tenant('globex'));
    expect(await stream.untilEnd()).toBe('complete');
    expect(stream.events.map(({ data }) => data)).toEqual(['begun']);
    expect([...controller.reasons]).toEqual([['acme', 'expired']]);
    expect(forever.ending).toBeUndefined();
    expect((await open(app, '/expiring?ms=bad')).status).toBe(500);
  });

  it('is moved by renew(), to later and to sooner', async () => {
    const { app, controller } = await createApp(platform, {});
    const stream = await open(app, '/expiring?ms=300', tenant('acme'));
    await stream.next();
    const [connection] = controller.connections;
    const begun = performance.now();
    connection!.renew(new Date(Date.now() + 100_000));
    const other = await open(app, '/expiring?ms=700', tenant('globex'));
    await other.untilEnd();
    expect(performance.now() - begun).toBeGreaterThan(600);
    expect(stream.ending).toBeUndefined();

    connection!.renew(new Date());
    await stream.untilEnd();
    expect([...controller.reasons]).toEqual([
      ['globex', 'expired'],
      ['acme', 'expired'],
    ]);
    expect(() => connection!.renew('soon' as never)).toThrow('renew() takes a valid Date, got "soon".');
    connection!.renew(new Date(Date.now() + 1_000));
  });
});
