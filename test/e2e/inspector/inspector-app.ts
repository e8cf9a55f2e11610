import { Controller, Get, Injectable, Module, Param, Post, Query, Res } from '@nestjs/common';
import type { CanActivate, ExecutionContext, INestApplication } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { SseModuleOptions } from 'nestjs-event-stream';
import { SseInspectorModule } from 'nestjs-event-stream/inspector';
import type { SseInspectorOptions } from 'nestjs-event-stream/inspector';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import type { ListPart, Update } from '../../../lib/inspector/protocol.js';
import { baseOf, open } from '../../support/apps/platforms.js';
import type { CreateOptions, Platform } from '../../support/apps/platforms.js';

@Controller()
class ClientsController {
  constructor(private readonly sse: SseService) {}

  @Get('follow')
  follow(@Query('topic') topic: string, @Res() res: object) {
    this.sse.connect(res).follow(topic);
  }

  @Post('runs/:id')
  async run(@Param('id') id: string, @Query('user') owner: string, @Res() res: object) {
    const forever = async function* ({ signal }: { signal: AbortSignal }) {
      yield 'begun';
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    };
    await this.sse.runs.of(owner).start(id, forever);
    await this.sse.runs.of(owner).attach(res, id);
  }
}

/** Knows who may see the inspector; what it injects comes from a module of the app. */
@Injectable()
export class Operators {
  readonly names = ['olga'];
}

@Module({ providers: [Operators], exports: [Operators] })
export class OperatorsModule {}

@Injectable()
export class OperatorGuard implements CanActivate {
  constructor(private readonly operators: Operators) {}

  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string | undefined> }>();
    return this.operators.names.includes(headers['x-operator'] ?? '');
  }
}

export const GUARDED: SseInspectorOptions = {
  path: 'internal/sse',
  guards: [OperatorGuard],
  imports: [OperatorsModule],
};

/** What the page sends as its operator. */
export const OWN_HEADERS = { 'x-sse-inspector': '1', 'x-operator': 'olga' };

/** An app with clients of a user, an inspector, and what its page does. */
export async function createInspectorApp(
  platform: Platform,
  options: SseModuleOptions = {},
  inspector: SseInspectorOptions = GUARDED,
  create: CreateOptions = {},
): Promise<InspectorApp> {
  const app = await platform.create(
    {
      imports: [SseModule.forRoot({ keyOf: userOf, ...options }), SseInspectorModule.forRoot(inspector)],
      controllers: [ClientsController],
    },
    create,
  );
  return new InspectorApp(app);
}

function userOf(request: { url?: string }): string | undefined {
  return new URL(request.url ?? '/', 'http://app').searchParams.get('user') ?? undefined;
}

export class InspectorApp {
  readonly app: INestApplication;
  readonly sse: SseService;
  readonly path: string;

  constructor(app: INestApplication, path = '/internal/sse') {
    this.app = app;
    this.sse = app.get(SseService);
    this.path = path;
  }

  /** The address of a route of the inspector. */
  at(path = ''): string {
    return `${baseOf(this.app)}${this.path}${path}`;
  }

  follow(topic: string, user?: string): Promise<SseTestStream> {
    const query = new URLSearchParams({ topic, ...(user === undefined ? {} : { user }) });
    return open(this.app, `/follow?${query.toString()}`);
  }

  /** Opens the page's stream. */
  view(query: Record<string, string> = {}): Promise<SseTestStream> {
    return open(this.app, `${this.path}/stream?${new URLSearchParams(query).toString()}`, {
      headers: OWN_HEADERS,
    });
  }

  /** Reads the page's stream until an update is as it should be. */
  async until(stream: SseTestStream, isRight: (update: Update) => boolean): Promise<Update> {
    for (;;) {
      const { type, data } = await stream.next();
      const update = JSON.parse(data) as Update;
      if (type === 'update' && isRight(update)) {
        return update;
      }
    }
  }

  /** Opens a list, and reads it until it has so many rows, and they are as they should be. */
  async list<Row>(
    query: Record<string, string>,
    count: number,
    isRight: (rows: readonly Row[]) => boolean = () => true,
  ): Promise<Omit<ListPart, 'rows'> & { readonly rows: readonly Row[] }> {
    const stream = await this.view(query);
    const { list } = await this.until(stream, (update) => {
      const rows = update.list?.rows ?? [];
      return rows.length === count && isRight(rows as unknown as readonly Row[]);
    });
    await stream.close();
    await waitFor(() => this.streams === 0);
    return list as unknown as Omit<ListPart, 'rows'> & { readonly rows: readonly Row[] };
  }

  /** How many streams of pages are open here. */
  get streams(): number {
    return Array.from(this.sse.connections, ({ request }) => (request as { url: string }).url).filter((url) =>
      url.startsWith(this.path),
    ).length;
  }

  async post(
    path: string,
    body: unknown,
    headers: object = OWN_HEADERS,
  ): Promise<{ status: number; answer: unknown }> {
    const response = await fetch(this.at(path), {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return { status: response.status, answer: await response.json() };
  }
}
