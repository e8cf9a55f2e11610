import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Body, Controller, Get, Header, Post, Res, Sse, UseGuards } from '@nestjs/common';
import type { CanActivate, ExecutionContext, INestApplication } from '@nestjs/common';
import { Connection, SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { baseOf, closeAll, platforms } from '../support/apps/platforms.js';
import { launchChromium } from '../support/clients/chromium.js';
import { DEADLINE_MS } from './sample-process.js';
import { visit } from './visit.js';

jest.setTimeout(2 * DEADLINE_MS);

interface Request {
  headers: Record<string, string | undefined>;
}

/** Whether the user's cookie is there. */
class CookieGuard implements CanActivate {
  canActivate(context: ExecutionContext) {
    return context.switchToHttp().getRequest<Request>().headers['cookie'] === 'session=ada';
  }
}

@Controller()
class BankController {
  opened = 0;

  constructor(private readonly sse: SseService) {}

  @Get('login')
  @Header('Set-Cookie', 'session=ada; HttpOnly; Path=/')
  @Header('Content-Type', 'text/html')
  login() {
    return '<!doctype html><title>bank</title><link rel="icon" href="data:,">';
  }

  @Sse('stream')
  @UseGuards(CookieGuard)
  stream(@Connection() connection: SseConnection) {
    this.opened += 1;
    connection.send('secret');
    return connection.follow('accounts.ada');
  }

  @Post('runs')
  @UseGuards(CookieGuard)
  async start(@Res() res: object, @Body('id') id: string) {
    const runs = this.sse.runs.of('ada');
    await runs.start(id, async function* () {
      yield 'paid for';
    });
    return runs.attach(res, id);
  }
}

/** What a page tries, and what it has read: the text, or `refused`. */
function attack(bank: string): Promise<Record<string, string>> {
  const read = (path: string, init: RequestInit) =>
    fetch(bank + path, { credentials: 'include', ...init })
      .then((response) => response.body!.getReader().read())
      .then(
        ({ value }) => new TextDecoder().decode(value),
        () => 'refused',
      );
  const listen = new Promise<string>((resolve) => {
    const source = new EventSource(`${bank}/stream`, { withCredentials: true });
    source.addEventListener('message', ({ data }) => (source.close(), resolve(String(data))));
    source.addEventListener('error', () => (source.close(), resolve('refused')));
  });
  const body = JSON.stringify({ id: 'answer' });
  const headers = { 'Content-Type': 'application/json' };
  return Promise.all([
    listen,
    read('/stream', {}),
    read('/runs', { method: 'POST', body, headers }),
    // Needs no preflight, as a form does not.
    read('/runs', { method: 'POST', body, headers: { 'Content-Type': 'text/plain' } }),
  ]).then(([eventSource, get, json, simple]) => ({ eventSource, get, json, simple }));
}

describe('a page of another origin', () => {
  let browser: Awaited<ReturnType<typeof launchChromium>>;
  let app: INestApplication;
  let evil: Server;

  beforeAll(async () => {
    browser = await launchChromium();
    evil = createServer((_request, response) => {
      response.setHeader('Content-Type', 'text/html');
      response.end('<!doctype html><title>evil</title><link rel="icon" href="data:,">');
    }).listen(0);
    await once(evil, 'listening');
    app = await platforms[0]!.create({ imports: [SseModule.forRoot()], controllers: [BankController] });
  });
  afterAll(async () => {
    await browser.close();
    evil.close();
    await closeAll();
  });

  it.each([
    ['of the same site, whose requests have the cookie', '127.0.0.1', 2],
    ['of another site, whose requests have none', 'localhost', 0],
  ])("reads no stream and starts no run without the app's CORS: %s", async (_what, host, opened) => {
    const { page, leave } = await visit(browser);
    const bank = app.get(BankController);
    bank.opened = 0;
    await page.goto(`${baseOf(app)}/login`);
    await page.goto(`http://${host}:${(evil.address() as AddressInfo).port}/`);
    expect(await page.evaluate(attack, baseOf(app))).toEqual({
      eventSource: 'refused',
      get: 'refused',
      json: 'refused',
      simple: 'refused',
    });
    // The handler runs: the browser withholds the answer, not the request.
    expect(bank.opened).toBe(opened);
    expect(await app.get(SseService).runs.of('ada').status('answer')).toBeUndefined();
    await waitFor(() => app.get(SseService).connections.size === 0, { timeoutMs: 30_000 });
    await leave();
  });
});
