import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Res } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { AwayLog } from '../../support/servers/away-log.js';
import { as, createRevokeApp } from './revoke-app.js';

afterEach(closeAll);

const rows = platforms.flatMap((platform) => [
  { platform, path: '/connect' },
  { platform, path: '/sse' },
]);

describe.each(rows)('a revoked key on $path of $platform.name', ({ platform, path }) => {
  it('gets `revoked` and the end, and stays away; another key does not notice', async () => {
    const { app, sse, controller } = await createRevokeApp(platform);
    const [anna, acme, ben] = await Promise.all(
      ['anna,acme', 'acme', 'ben'].map((keys) => open(app, path, as(keys))),
    );
    await Promise.all([anna!, acme!, ben!].map((stream) => stream.next()));
    await sse.revoke('anna');

    expect(await anna!.next()).toMatchObject({ type: 'revoked', data: '{}' });
    expect(await anna!.untilEnd()).toBe('complete');
    expect(controller.reasons).toEqual(['revoked']);
    expect(sse.connections.size).toBe(2);

    expect((await open(app, path, as('anna,acme'))).status).toBe(204);
    expect((await open(app, path, { ...as('anna'), method: 'POST' })).status).toBe(403);
    expect((await open(app, path, as('ben'))).status).toBe(200);

    await sse.revoke('acme');
    expect((await acme!.next()).type).toBe('revoked');
  });

  it('cuts the answer to a POST after `revoked`, so that it does not look complete', async () => {
    const { app, sse } = await createRevokeApp(platform);
    const stream = await open(app, path, { ...as('anna'), method: 'POST' });
    await stream.next();
    await sse.revoke('anna');
    expect((await stream.next()).type).toBe('revoked');
    expect(await stream.untilEnd()).toBe('aborted');
  });

  it('may come back when its time is over, and not before', async () => {
    const { app, sse } = await createRevokeApp(platform);
    await sse.revoke('anna', { forMs: 60_000 });
    await sse.revoke('anna', { forMs: 1_000 });
    const { now } = Date;
    try {
      Date.now = () => now() + 59_000;
      expect((await open(app, path, as('anna'))).status).toBe(204);
      Date.now = () => now() + 61_000;
      expect((await open(app, path, as('anna'))).status).toBe(200);
    } finally {
      Date.now = now;
    }
  });
});

describe.each(platforms)('revoke() on $name', (platform) => {
  it('stops the runs of an owner, and lets the owner start and read none', async () => {
    const { app, sse, controller } = await createRevokeApp(platform);
    await open(app, '/runs/anna', { method: 'POST' });
    await open(app, '/runs/ben', { method: 'POST' });
    const stream = await open(app, '/runs/anna');
    await stream.next();
    await sse.revoke('anna');

    await waitFor(() => controller.aborted.length > 0);
    expect(controller.aborted).toEqual(['anna']);
    await stream.untilEnd();
    expect((await open(app, '/runs/anna')).status).toBe(204);
    expect((await open(app, '/runs/anna', { method: 'POST' })).status).toBe(403);
    expect((await open(app, '/runs/ben')).status).toBe(200);
  });

  it('ends an answer with the error of its format, and no `revoked`', async () => {
    const { app, sse } = await createRevokeApp(platform);
    const stream = await open(app, '/answer', as('anna'));
    await stream.next();
    await sse.revoke('anna');
    expect(await stream.untilEnd()).toBe('complete');
    expect(stream.events.map(({ type }) => type)).toEqual(['message', 'error']);
    expect(stream.events[1]!.json()).toMatchObject({
      message: 'Your access to the stream has ended.',
      status: 403,
    });
  });
});

describe('revoke()', () => {
  const [platform] = platforms;

  it('is enforced here while the log is away, rejects, and is written when the log is back', async () => {
    const log = new AwayLog();
    const { app, sse } = await createRevokeApp(platform!, { log: () => log });
    const stream = await open(app, '/sse', as('anna'));
    await stream.next();
    log.isAway = true;
    await expect(sse.revoke('anna')).rejects.toMatchObject({ code: 'publish-failed' });
    expect((await stream.next()).type).toBe('revoked');
    expect((await open(app, '/sse', as('anna'))).status).toBe(204);

    log.isAway = false;
    const written = async () => (await log.find('revocations', { from: 1, limit: 10 }))!.page.records.length;
    await waitFor(async () => (await written()) === 1, { timeoutMs: 15_000 });
  });

  it.each<[string, unknown, object, string]>([
    ['an empty key', '', {}, 'key'],
    ['no key', undefined, {}, 'key'],
    ['no time', 'anna', { forMs: 0 }, 'forMs'],
    ['an unknown option', 'anna', { ttlMs: 1 }, 'ttlMs'],
  ])('refuses %s', async (_what, key, options, field) => {
    const { sse } = await createRevokeApp(platform!);
    await expect(sse.revoke(key as string, options)).rejects.toMatchObject({
      code: 'options-invalid',
      field,
    });
  });

  it('is misuse where no connection has a key', async () => {
    const app = await platform!.create({ imports: [SseModule.forRoot()] });
    await expect(app.get(SseService).revoke('anna')).rejects.toMatchObject({ code: 'misuse' });
  });
});

describe('revocable', () => {
  const [platform] = platforms;

  it('is refused at the start on a route where no connection has a key', async () => {
    const starting = createRevokeApp(platform!, { keyOf: undefined });
    await expect(starting).rejects.toMatchObject({ code: 'options-invalid', field: 'revocable' });
    await expect(starting).rejects.toThrow('RevokeController.revocable');
  });

  it('is refused of a call of connect() where no connection has a key', async () => {
    const failures: unknown[] = [];
    @Controller()
    class RevocableController {
      constructor(private readonly sse: SseService) {}

      @Get()
      connect(@Res() res: object): void {
        try {
          this.sse.connect(res, { revocable: true });
        } catch (error) {
          failures.push(error);
          throw error;
        }
      }
    }
    const app = await platform!.create({
      imports: [SseModule.forRoot()],
      controllers: [RevocableController],
    });
    expect((await open(app, '/')).status).toBe(500);
    expect(failures).toEqual([expect.objectContaining({ code: 'options-invalid', field: 'revocable' })]);
  });
});
