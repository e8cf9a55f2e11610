import { Controller, Get, Post, Req, RequestMethod, Res, Sse, UseGuards } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { SseModule, SseService, SseTicketGuard, ticketOf } from 'nestjs-event-stream';
import type { SseModuleOptions } from 'nestjs-event-stream';
import { NEVER, startWith } from 'rxjs';
import type { Observable } from 'rxjs';
import type { CreateOptions, Platform } from '../../support/apps/platforms.js';

export const SECRET = 'a secret that all instances share';

/** Guarded routes of both endpoint styles, which say to whom their ticket was issued. */
@Controller()
export class TicketsController {
  /** How often a handler was called. */
  calls = 0;

  constructor(private readonly sse: SseService) {}

  @Get('connect')
  @UseGuards(SseTicketGuard)
  connect(@Req() request: object, @Res() res: object): void {
    this.calls += 1;
    this.sse.connect(res).send({ data: ticketOf(request) });
  }

  @Post('connect')
  @UseGuards(SseTicketGuard)
  connectPost(@Req() request: object, @Res() res: object): void {
    this.connect(request, res);
  }

  @Sse('sse')
  @UseGuards(SseTicketGuard)
  stream(@Req() request: object): Observable<object> {
    this.calls += 1;
    return NEVER.pipe(startWith({ data: ticketOf(request) }));
  }

  @Sse('sse', { method: RequestMethod.POST })
  @UseGuards(SseTicketGuard)
  streamPost(@Req() request: object): Observable<object> {
    return this.stream(request);
  }
}

/** An app whose streams open with a ticket. */
export interface TicketsApp {
  readonly app: INestApplication;
  readonly sse: SseService;
  readonly controller: TicketsController;
  /** A path with a fresh ticket. */
  with(path: string, data?: unknown): string;
}

export async function createTicketsApp(
  platform: Platform,
  options: SseModuleOptions = {},
  createOptions: CreateOptions = {},
): Promise<TicketsApp> {
  const app = await platform.create(
    {
      imports: [SseModule.forRoot({ heartbeatMs: false, tickets: { secret: SECRET }, ...options })],
      controllers: [TicketsController],
    },
    createOptions,
  );
  const sse = app.get(SseService);
  return {
    app,
    sse,
    controller: app.get(TicketsController),
    with: (path, data) => `${path}?ticket=${sse.tickets.issue({ key: 'anna', data })}`,
  };
}
