import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Controller, Get, Module, Param, Res, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { Connection, SseConnection, SseModule, SseService } from 'nestjs-event-stream';
import { cutConnections } from '../support/faults/cut-connections.js';

interface Reply {
  type(type: string): { send(text: string): unknown };
}

/** As a page loads the package without a build step. */
const HTML = `<!doctype html><title>tabs</title><link rel="icon" href="data:,">
<script type="importmap">{"imports":{"nestjs-event-stream/client":"/esm/client/index.js"}}</script>
<script type="module" src="/tabs-page.js"></script>`;
const fileOf = (path: string) => readFileSync(fileURLToPath(new URL(path, import.meta.url)), 'utf8');

/** How many pages there are to look at: each has a topic of its own. */
export const PAGES = 20;

/**
 * A server of pages that follow one URL, each with a topic of its own. What is counted outlives a restart, as in a
 * database; the log does not.
 */
export class TabsServer {
  /** How many events there were of each topic, and up to where in the log. */
  counts: Record<string, number> = {};
  at = '';
  /** What tabs without a driver have reported, by their names. */
  readonly reports = new Map<string, { faults: string[]; total: number; leads: number }>();
  /** What such tabs are to do. */
  readonly orders = new Map<string, 'leave' | 'reload'>();
  #app: INestApplication | undefined;
  #port = 0;

  get sse(): SseService {
    return this.#app!.get(SseService);
  }

  get base(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get total(): number {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }

  /** Open streams. */
  get connections(): number {
    return this.sse.connections.size;
  }

  async start(): Promise<void> {
    const module = await Test.createTestingModule({
      imports: [
        SseModule.forRoot({
          retryMs: 50,
          heartbeatMs: 5_000,
          drain: { delayMs: 0, timeoutMs: 200, spreadMs: 50 },
        }),
        PagesModule,
      ],
    })
      .overrideProvider(TabsServer)
      .useValue(this)
      .compile();
    const app = module.createNestApplication({ logger: false });
    this.#app = app;
    await app.init();
    this.at = await this.sse.position();
    await app.listen(this.#port, '127.0.0.1');
    this.#port = (app.getHttpServer() as { address(): { port: number } }).address().port;
  }

  async stop(): Promise<void> {
    await this.#app?.close();
  }

  /** Another process, with another log. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  cut(): void {
    cutConnections(this.sse.connections);
  }

  async publish(page: number): Promise<void> {
    const topic = `p.${page}`;
    const count = (this.counts[topic] ?? 0) + 1;
    const at = await this.sse.publish(topic, { data: count });
    // Both at once: a request for the state gets the counts of the place.
    this.counts = { ...this.counts, [topic]: count };
    this.at = at;
  }
}

@Controller()
class PagesController {
  constructor(private readonly server: TabsServer) {}

  @Get('page/:number')
  page(@Res() res: Reply) {
    res.type('text/html').send(HTML);
  }

  @Get('elsewhere')
  elsewhere(@Res() res: Reply) {
    res.type('text/html').send('<!doctype html><title>elsewhere</title><link rel="icon" href="data:,">');
  }

  @Get('tabs-page.js')
  script(@Res() res: Reply) {
    res.type('text/javascript').send(fileOf('tabs-page.js'));
  }

  @Get('esm/:room/:file')
  module(@Param('room') room: string, @Param('file') file: string, @Res() res: Reply) {
    res.type('text/javascript').send(fileOf(`../../dist/esm/${room}/${file}`));
  }

  @Get('esm/:room/:inner/:file')
  inner(
    @Param('room') room: string,
    @Param('inner') inner: string,
    @Param('file') file: string,
    @Res() res: Reply,
  ) {
    res.type('text/javascript').send(fileOf(`../../dist/esm/${room}/${inner}/${file}`));
  }

  @Get('state')
  state() {
    return { data: this.server.counts, at: this.server.at };
  }

  @Get('report/:tab/:text')
  report(@Param('tab') tab: string, @Param('text') text: string) {
    this.server.reports.set(tab, JSON.parse(text) as { faults: string[]; total: number; leads: number });
    const order = this.server.orders.get(tab);
    this.server.orders.delete(tab);
    return { order };
  }

  @Sse('events')
  events(@Connection() connection: SseConnection) {
    return connection.follow('p.*', { envelope: true });
  }
}

@Module({
  controllers: [PagesController],
  providers: [{ provide: TabsServer, useValue: undefined }],
})
class PagesModule {}
