import {
  BadRequestException,
  CanActivate,
  ConflictException,
  Controller,
  createParamDecorator,
  Get,
  Header,
  Head,
  HttpException,
  Inject,
  NotFoundException,
  Param,
  ParseIntPipe,
  Post,
  Query,
  Req,
  RequestMethod,
  Res,
  Sse,
  UseFilters,
  UseGuards,
} from '@nestjs/common';
import type { ArgumentsHost, ExceptionFilter, ExecutionContext, PipeTransform, Type } from '@nestjs/common';
import { Throttle } from '@nestjs/throttler';
import { Exclude } from 'class-transformer';
import { IsInt, Max } from 'class-validator';
import type { ClsService as ClsServiceType } from 'nestjs-cls';
import { closeOn } from 'nestjs-event-stream';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';
import {
  concat,
  defer,
  EMPTY,
  finalize,
  from,
  interval,
  map,
  NEVER,
  of,
  take,
  throwError,
  timer,
} from 'rxjs';
import type { Observable } from 'rxjs';

// As modules of its own it imports what Nest 11 does not have under that name.
const { ClsService } = createRequire(import.meta.url)('nestjs-cls') as typeof import('nestjs-cls');

/** What Express and Fastify hand over, as far as these routes know it. */
export interface AppRequest {
  readonly raw?: IncomingMessage;
  readonly headers: IncomingMessage['headers'];
  readonly session: { visits?: number };
  readonly cookies?: Record<string, string>;
  readonly query: Record<string, string>;
}
export interface AppResponse {
  readonly raw?: ServerResponse;
  cookie?(name: string, value: string): unknown;
  setCookie?(name: string, value: string): unknown;
  setHeader?(name: string, value: string): unknown;
  header(name: string, value: string): unknown;
  status(code: number): { json?(body: object): unknown; send(body: object): unknown };
}

/** How an app writes an event stream by hand: with this package, or without. */
export interface Streams {
  open(res: object): { send(event: { data: unknown; type?: string; id?: string }): unknown; close(): void };
  stream(res: object, items: () => AsyncIterable<unknown>): Promise<unknown>;
}
export const STREAMS = Symbol('STREAMS');

/** Who is still subscribed to a stream that goes on, by request. */
export class Subscriptions {
  readonly open = new Set<string>();

  watch(request: AppRequest): <T>(events: Observable<T>) => Observable<T> {
    const id = String(request.headers['x-request']);
    return (events) =>
      defer(() => {
        this.open.add(id);
        return events.pipe(finalize(() => this.open.delete(id)));
      });
  }
}

export class User {
  readonly name: string;
  @Exclude()
  readonly password = 'secret';

  constructor(name = 'nobody') {
    this.name = name;
  }
}

class Page {
  @IsInt()
  @Max(10)
  size!: number;
}

/** A value that a decorator of the app's own makes, and that `validateCustomDecorators` sends through the pipes. */
const CurrentUser = createParamDecorator(() => Object.assign(new User('ann'), { role: 'admin' }));

class NeedsToken implements CanActivate {
  async canActivate(context: ExecutionContext): Promise<boolean> {
    await delay(1);
    return context.switchToHttp().getRequest<AppRequest>().headers.authorization === 'token';
  }
}

/** Looks into a database, as it were. */
class KnownOrder implements PipeTransform<string> {
  async transform(id: string): Promise<string> {
    await delay(20);
    if (id === 'unknown') {
      throw new NotFoundException('no such order');
    }
    return id;
  }
}

class Teapot extends Error {}

class TeapotFilter implements ExceptionFilter {
  catch(error: Error, host: ArgumentsHost): void {
    const response = host.switchToHttp().getResponse<AppResponse>();
    const answer = response.status(418);
    (answer.json ?? answer.send).call(answer, { teapot: error.message });
  }
}

function setCookie(response: AppResponse, name: string, value: string): void {
  (response.setCookie ?? response.cookie)!.call(response, name, value);
}

const ticks = (ms: number, count = Infinity) =>
  interval(ms).pipe(
    take(count),
    map((n) => ({ data: `tick ${n}` })),
  );

/** `@Sse()` routes of an app that does not know of this package. Made anew for each app: its decorators write to it. */
export function sseRoutes(): Type<unknown> {
  @Controller({ path: 'sse', version: '1' })
  class SseRoutes {
    constructor(
      @Inject(Subscriptions) private readonly subscriptions: Subscriptions,
      @Inject(ClsService) private readonly cls: ClsServiceType,
    ) {}

    @Sse('events')
    events() {
      return of(
        { data: 'text' },
        { data: { n: 1 }, type: 'update', id: 'a-1', retry: 5000 },
        { data: 'two\nlines' },
        { data: 'Grüße, 世界' },
      );
    }

    @Sse('promise')
    async promise() {
      await delay(5);
      return of({ data: 'late' });
    }

    @Sse('users')
    users() {
      return of({ data: new User('ann') });
    }

    @Sse('bare-users')
    bareUsers() {
      return from([new User('ann'), new User('bob')]).pipe(map((data) => ({ data, type: 'user' })));
    }

    @Sse('empty')
    empty() {
      return EMPTY;
    }

    @Sse('ticks')
    ticks(@Req() request: AppRequest) {
      return ticks(10).pipe(this.subscriptions.watch(request));
    }

    @Sse('closing')
    closing(@Req() request: AppRequest & IncomingMessage) {
      return ticks(10).pipe(closeOn(request), this.subscriptions.watch(request));
    }

    @Sse('idle')
    idle(@Req() request: AppRequest) {
      return concat(of({ data: 'first' }), NEVER).pipe(this.subscriptions.watch(request));
    }

    @Sse('large')
    large() {
      return from(Array.from({ length: 50 }, (_, n) => ({ data: `${n} ${'x'.repeat(4000)}` })));
    }

    @Sse('post', { method: RequestMethod.POST })
    post() {
      return of({ data: 'posted' });
    }

    @Sse('head')
    head() {
      return of({ data: 'unseen' });
    }

    @Sse('context')
    context() {
      this.cls.set('user', 'ann');
      return timer(5).pipe(map(() => ({ data: `${this.cls.get<string>('user')} ${this.cls.getId()}` })));
    }

    @Sse('headers')
    @Header('x-decorated', 'yes')
    @Header('cache-control', 'public, max-age=30')
    headers(@Res({ passthrough: true }) response: AppResponse) {
      response.header('x-own', 'set');
      setCookie(response, 'seen', '1');
      return of({ data: 'with headers' });
    }

    @Sse('session')
    session(@Req() request: AppRequest) {
      request.session.visits = (request.session.visits ?? 0) + 1;
      return of({ data: `visit ${request.session.visits}` });
    }

    @Sse('cookie')
    cookie(@Req() request: AppRequest) {
      return of({ data: `cookie ${request.cookies?.['taste']}` });
    }

    @Sse('guarded')
    @UseGuards(NeedsToken)
    guarded() {
      return of({ data: 'let in' });
    }

    @Sse('page')
    page(@Query() page: Page) {
      return of({
        data: `${typeof page.size} ${page.size} ${page instanceof Page} ${Object.keys(page).join()}`,
      });
    }

    @Sse('int/:n')
    int(@Param('n', ParseIntPipe) n: number) {
      return of({ data: `${typeof n} ${n}` });
    }

    @Sse('orders/:id')
    orders(@Param('id', KnownOrder) id: string) {
      return of({ data: id });
    }

    @Sse('decorated')
    decorated(@CurrentUser() user: User) {
      return of({ data: `${user.name} ${user instanceof User}` });
    }

    @Sse('throws')
    throws(): Observable<never> {
      throw new NotFoundException('not here');
    }

    @Sse('rejects')
    async rejects(): Promise<Observable<never>> {
      await delay(20);
      throw new ConflictException('too late');
    }

    @Sse('early-error')
    earlyError() {
      return throwError(() => new BadRequestException('early'));
    }

    @Sse('crash')
    crash() {
      return throwError(() => new Error('not for clients'));
    }

    @Sse('late-error')
    lateError() {
      return concat(
        of({ data: 'one' }),
        timer(20).pipe(
          map(() => {
            throw new HttpException('late', 409);
          }),
        ),
      );
    }

    @Sse('teapot')
    @UseFilters(TeapotFilter)
    teapot() {
      return throwError(() => new Teapot('short and stout'));
    }

    @Sse('limited')
    @Throttle({ default: { limit: 1, ttl: 60_000 } })
    limited() {
      return of({ data: 'within the limit' });
    }

    @Sse('counted')
    counted() {
      return of({ data: `${(this.#calls += 1)}` });
    }
    #calls = 0;
  }
  return SseRoutes;
}

/** What apps have beside streams, and what must stay as it was. */
export function plainRoutes(): Type<unknown> {
  @Controller({ path: 'plain', version: '1' })
  class PlainRoutes {
    #calls = 0;

    @Get('json')
    json(@Res({ passthrough: true }) response: AppResponse, @Req() request: AppRequest) {
      setCookie(response, 'seen', '1');
      request.session.visits = (request.session.visits ?? 0) + 1;
      return { visits: request.session.visits };
    }

    @Get('user')
    user() {
      return new User('ann');
    }

    @Get('counted')
    counted() {
      return { calls: (this.#calls += 1) };
    }

    @Get('guarded')
    @UseGuards(NeedsToken)
    guarded() {
      return { in: true };
    }

    @Post('page')
    page(@Query() page: Page) {
      return page;
    }

    @Get('missing')
    missing() {
      throw new NotFoundException('not here');
    }

    @Head('head')
    head() {}
  }
  return PlainRoutes;
}

/** Streams that an app writes by hand, with `@Res()`. */
export function handWrittenRoutes(): Type<unknown> {
  @Controller({ path: 'res', version: '1' })
  class HandWrittenRoutes {
    constructor(
      @Inject(STREAMS) private readonly streams: Streams,
      @Inject(Subscriptions) private readonly subscriptions: Subscriptions,
      @Inject(ClsService) private readonly cls: ClsServiceType,
    ) {}

    @Get('events')
    events(@Res() response: AppResponse) {
      const stream = this.streams.open(response);
      stream.send({ data: 'text' });
      stream.send({ data: { n: 1 }, type: 'update', id: 'a-1' });
      stream.send({ data: 'Grüße, 世界' });
      stream.close();
    }

    @Get('later')
    async later(@Res() response: AppResponse) {
      await delay(5);
      const stream = this.streams.open(response);
      await delay(5);
      stream.send({ data: 'late' });
      await delay(5);
      stream.close();
    }

    @Post('post')
    post(@Res() response: AppResponse) {
      this.events(response);
    }

    @Get('headers')
    @Header('x-decorated', 'yes')
    headers(@Res() response: AppResponse) {
      response.header('x-own', 'set');
      setCookie(response, 'seen', '1');
      const stream = this.streams.open(response);
      stream.send({ data: 'with headers' });
      stream.close();
    }

    @Get('session')
    session(@Req() request: AppRequest, @Res() response: AppResponse) {
      request.session.visits = (request.session.visits ?? 0) + 1;
      const stream = this.streams.open(response);
      stream.send({ data: `visit ${request.session.visits}` });
      stream.close();
    }

    @Get('context')
    async context(@Res() response: AppResponse) {
      this.cls.set('user', 'ann');
      const stream = this.streams.open(response);
      await delay(5);
      stream.send({ data: `${this.cls.get<string>('user')} ${this.cls.getId()}` });
      stream.close();
    }

    @Get('closing')
    closing(@Req() request: AppRequest & IncomingMessage, @Res() response: AppResponse) {
      const stream = this.streams.open(response);
      ticks(10)
        .pipe(closeOn(request), this.subscriptions.watch(request))
        .subscribe((event) => stream.send(event));
    }

    @Get('guarded')
    @UseGuards(NeedsToken)
    guarded(@Res() response: AppResponse) {
      this.events(response);
    }

    @Get('orders/:id')
    orders(@Param('id', KnownOrder) id: string, @Res() response: AppResponse) {
      const stream = this.streams.open(response);
      stream.send({ data: id });
      stream.close();
    }

    @Get('throws')
    throws(@Res() _response: AppResponse) {
      throw new NotFoundException('not here');
    }

    @Post('answer')
    async answer(@Res() response: AppResponse) {
      await this.streams.stream(response, async function* () {
        for (let n = 0; n < 5; n += 1) {
          yield { data: `${n}` };
          await delay(2);
        }
      });
    }

    @Post('answer-with-cookie')
    async answerWithCookie(@Res() response: AppResponse) {
      setCookie(response, 'seen', '1');
      await this.answer(response);
    }

    @Post('refused')
    async refused(@Res() response: AppResponse) {
      // eslint-disable-next-line require-yield
      await this.streams.stream(response, async function* () {
        await delay(2);
        throw new HttpException('the model is busy', 429);
      });
    }
  }
  return HandWrittenRoutes;
}
