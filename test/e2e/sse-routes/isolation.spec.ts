import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Injectable, Module, RequestMethod, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { ApplicationConfig } from '@nestjs/core';
import { SseModule, SseService } from 'nestjs-event-stream';
import { concat, map, of, Subject } from 'rxjs';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { Through } from './served.js';

function feedController() {
  @Controller()
  class Feed {
    readonly news = new Subject<string>();

    @Sse('feed')
    feed() {
      return concat(of({ data: 'first' }), this.news.pipe(map((data) => ({ data }))));
    }

    @Sse('generator')
    async *generator() {
      yield { data: 'first' };
    }

    @Sse('post', { method: RequestMethod.POST })
    post() {
      return of({ data: 'posted' });
    }

    @Get('plain')
    plain() {
      return { plain: true };
    }
  }
  return Feed;
}

@Controller()
class NoStreams {
  @Get('plain')
  plain() {
    return { plain: true };
  }
}

function interceptorsOf(app: INestApplication) {
  return app.get(ApplicationConfig, { strict: false }).getGlobalInterceptors();
}

afterEach(closeAll);

describe.each(platforms)('on $name', ({ create }) => {
  describe('enhanceSseRoutes: false', () => {
    const left = () => ({
      imports: [SseModule.forRoot({ enhanceSseRoutes: false, maxConnections: 1 })],
      controllers: [feedController()],
    });

    it('adds no interceptor', async () => {
      expect(interceptorsOf(await create(left()))).toEqual([]);
    });

    it('leaves the routes to Nest: no retry, an id that counts, no async iterables, 201 for a POST', async () => {
      const server = await create(left());
      const stream = await open(server, '/feed');
      expect(await stream.next()).toMatchObject({ data: 'first', id: '1' });
      expect(stream.retries).toEqual([]);
      expect(server.get(SseService).connections.size).toBe(0);
      expect((await open(server, '/generator')).status).toBe(500);
      expect((await open(server, '/post', { method: 'POST' })).status).toBe(201);
      // More than maxConnections, if they counted.
      expect((await (await open(server, '/feed')).next()).data).toBe('first');
    });
  });

  it('adds one interceptor if the app has one, and none if it has none, or has no @Sse() route', async () => {
    const imports = [SseModule.forRoot()];
    const others = new Through();
    const configure = (server: INestApplication) => server.useGlobalInterceptors(others);
    const controllers = [feedController()];
    expect(interceptorsOf(await create({ imports, controllers }))).toEqual([]);
    expect(interceptorsOf(await create({ imports, controllers }, { configure }))).toHaveLength(2);
    expect(interceptorsOf(await create({ imports, controllers: [NoStreams] }, { configure }))).toEqual([
      others,
    ]);
  });

  it('answers plain routes as before', async () => {
    const server = await create({ imports: [SseModule.forRoot()], controllers: [feedController()] });
    const plain = await open(server, '/plain');
    expect(plain.status).toBe(200);
    expect(JSON.parse(await plain.body())).toEqual({ plain: true });
    expect(server.get(SseService).connections.size).toBe(0);
  });

  it('serves the routes of one controller in two apps, each by its own options and with its own connections', async () => {
    const Feed = feedController();
    const [one, two] = await Promise.all([
      create({ imports: [SseModule.forRoot({ retryMs: 1000, heartbeatMs: 20 })], controllers: [Feed] }),
      create({ imports: [SseModule.forRoot({ retryMs: 2000, maxConnections: 1 })], controllers: [Feed] }),
    ]);
    const [ofOne, ofTwo] = await Promise.all([open(one, '/feed'), open(two, '/feed')]);
    await Promise.all([ofOne.next(), ofTwo.next()]);
    expect([ofOne.retry, ofTwo.retry]).toEqual([1000, 2000]);
    expect(one.get(SseService).connections.size).toBe(1);
    expect(two.get(SseService).connections.size).toBe(1);
    expect([...one.get(SseService).connections][0]).not.toBe([...two.get(SseService).connections][0]);

    // The limit of the second app does not apply to the first.
    expect((await (await open(one, '/feed')).next()).data).toBe('first');
    expect(await (await open(two, '/feed')).ended).toBe('complete');

    // The heartbeat of the first app does not apply to the second.
    await ofOne.until(({ comments }) => comments.length >= 2);
    expect(ofTwo.comments).toEqual([]);

    await two.close();
    expect(await ofTwo.ended).toBe('complete');
    one.get(Feed).news.next('still here');
    expect((await ofOne.next()).data).toBe('still here');
  });

  it.each(['before', 'after'])(
    'does not change an app without the module that has the same controllers and started %s',
    async (when) => {
      const Feed = feedController();
      const apps = [];
      for (const imports of when === 'before' ? [[], [SseModule.forRoot()]] : [[SseModule.forRoot()], []]) {
        apps.push(await create({ imports, controllers: [Feed] }));
      }
      const [plain, withModule] = (when === 'before' ? apps : apps.toReversed()) as [
        INestApplication,
        INestApplication,
      ];

      expect(await (await open(withModule, '/generator')).ended).toBe('complete');
      expect((await open(plain, '/generator')).status).toBe(500);

      const streams = await Promise.all([open(plain, '/feed'), open(withModule, '/feed')]);
      expect((await Promise.all(streams.map((stream) => stream.next()))).map(({ id }) => id)).toEqual([
        '1',
        undefined,
      ]);
      expect(streams.map(({ retries }) => retries)).toEqual([[], [3000]]);

      const posts = await Promise.all(
        [plain, withModule].map((app) => open(app, '/post', { method: 'POST' })),
      );
      expect(posts.map(({ status }) => status)).toEqual([201, 200]);
    },
  );

  it('can be imported twice if one is not global: a route is served once, by the options of one of the two', async () => {
    @Injectable()
    class Root {
      constructor(readonly sse: SseService) {}
    }
    @Injectable()
    class Feature {
      constructor(readonly sse: SseService) {}
    }
    @Module({ imports: [SseModule.forRoot({ retryMs: 2000, isGlobal: false })], providers: [Feature] })
    class FeatureModule {}
    const server = await create({
      imports: [SseModule.forRoot({ retryMs: 1000 }), FeatureModule],
      controllers: [feedController()],
      providers: [Root],
    });
    const services = [server.get(Root).sse, server.get(Feature).sse];
    const registries = services.map(({ connections }) => connections);
    expect(registries[0]).not.toBe(registries[1]);

    const stream = await open(server, '/feed');
    await stream.next();
    expect(stream.raw).toMatch(/^retry: [12]000\ndata: first\n\n$/);
    expect(registries.reduce((sum, { size }) => sum + size, 0)).toBe(1);

    const generator = await open(server, '/generator');
    expect(await generator.ended).toBe('complete');
    expect(generator.raw).toMatch(/^retry: [12]000\ndata: first\n\n$/);

    await server.close();
    expect(await stream.ended).toBe('complete');
  });
});
