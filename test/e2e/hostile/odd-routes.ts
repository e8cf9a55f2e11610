import {
  All,
  BadRequestException,
  Controller,
  ForbiddenException,
  Get,
  Header,
  HttpCode,
  Injectable,
  Next,
  NotFoundException,
  Redirect,
  Req,
  Res,
  Scope,
  Sse,
  UseFilters,
  UseGuards,
  UseInterceptors,
  Version,
  VERSION_NEUTRAL,
} from '@nestjs/common';
import type {
  ArgumentsHost,
  CallHandler,
  CanActivate,
  ExceptionFilter,
  ExecutionContext,
  NestInterceptor,
  Type,
} from '@nestjs/common';
import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import {
  bufferCount,
  catchError,
  concat,
  concatMap,
  defer,
  delayWhen,
  from,
  map,
  merge,
  mergeMap,
  of,
  retry,
  share,
  switchMap,
  take,
  throwError,
  timer,
} from 'rxjs';
import type { Observable } from 'rxjs';
import type { AppRequest, AppResponse } from './routes.js';

type Around = (
  events: Observable<unknown>,
  context: ExecutionContext,
) => Observable<unknown> | Promise<Observable<unknown>>;

/** An interceptor, each of a class of its own. */
function around(intercept: Around): Type<NestInterceptor> {
  @Injectable()
  class Around implements NestInterceptor {
    intercept(context: ExecutionContext, next: CallHandler) {
      return intercept(next.handle(), context) as Observable<unknown>;
    }
  }
  return Around;
}

@Injectable()
class SetsHeadersLate implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const response = context.switchToHttp().getResponse<AppResponse>();
    response.header('x-guard', 'early');
    queueMicrotask(() => response.header('x-guard-later', 'microtask'));
    return true;
  }
}

/** Writes to Node's response by itself. */
class WritesBare implements ExceptionFilter {
  catch(error: Error, host: ArgumentsHost): void {
    const response = host.switchToHttp().getResponse<AppResponse>();
    const raw = response.raw ?? (response as unknown as ServerResponse);
    raw.writeHead(422, { 'content-type': 'text/plain' });
    raw.end(`bare: ${error.message}`);
  }
}

/** Looks something up before it answers. */
class AnswersLate implements ExceptionFilter {
  async catch(error: Error, host: ArgumentsHost): Promise<void> {
    await delay(10);
    const answer = host.switchToHttp().getResponse<AppResponse>().status(409);
    (answer.json ?? answer.send).call(answer, { late: error.message });
  }
}

/** A mixin: its class is made anew, and has the name of none. */
// oxlint-disable-next-line typescript/no-explicit-any
function withStream<Base extends new (...args: any[]) => object>(base: Base) {
  class Mixed extends base {
    @Sse('mixed')
    mixed() {
      return of({ data: 'mixed in' });
    }

    @Sse('overridden')
    overridden(): Observable<{ data: string }> {
      return of({ data: 'of the base' });
    }
  }
  return Mixed;
}

const bySymbol = Symbol('stream');

/** `@Sse()` routes of rarer shapes, of an app that does not know of this package. */
export function oddRoutes(): Type<unknown>[] {
  let attempts = 0;

  @Controller({ path: 'odd', version: '1' })
  class OddRoutes extends withStream(class {}) {
    override overridden() {
      return super.overridden().pipe(map(({ data }) => ({ data: `${data}, and of its subclass` })));
    }

    @Sse('symbol')
    [bySymbol]() {
      return of({ data: 'by a symbol' });
    }

    @Sse('neutral')
    @Version(VERSION_NEUTRAL)
    neutral() {
      return of({ data: 'of no version' });
    }

    @Sse('accepted')
    @HttpCode(202)
    accepted() {
      return of({ data: 'accepted' });
    }

    @Sse('redirected')
    @Redirect('/elsewhere', 302)
    redirected() {
      return of({ data: 'here' });
    }

    @Sse('doubled-headers')
    @Header('x-twice', 'one')
    @Header('x-twice', 'two')
    doubledHeaders() {
      return of({ data: 'x' });
    }

    @Sse('late-guard')
    @UseGuards(SetsHeadersLate)
    lateGuard() {
      return of({ data: 'let in' });
    }

    @Sse('retried')
    @UseInterceptors(around((events) => events.pipe(retry(2))))
    retried() {
      return defer(() =>
        (attempts += 1) % 3 === 0 ? of({ data: 'third time' }) : throwError(() => new Error('no')),
      );
    }

    @Sse('buffered')
    @UseInterceptors(
      around((events) =>
        events.pipe(
          bufferCount(2),
          map((data) => ({ data })),
        ),
      ),
    )
    buffered() {
      return from(['a', 'b', 'c'].map((data) => ({ data })));
    }

    @Sse('switched')
    @UseInterceptors(
      around((events) =>
        events.pipe(switchMap((event) => merge(of(event), timer(5).pipe(map(() => event))))),
      ),
    )
    switched() {
      return from(['a', 'b'].map((data) => ({ data })));
    }

    @Sse('replaced')
    @UseInterceptors(around(() => of({ data: 'in its place' })))
    replaced() {
      return of({ data: 'unseen' });
    }

    @Sse('shared')
    @UseInterceptors(
      around((events) => {
        const shared = events.pipe(share());
        return merge(shared, shared.pipe(map(() => ({ data: 'again', type: 'echo' }))));
      }),
    )
    shared() {
      return timer(5).pipe(map(() => ({ data: 'once' })));
    }

    @Sse('delayed')
    @UseInterceptors(around((events) => timer(20).pipe(switchMap(() => events))))
    delayed() {
      return of({ data: 'delayed' });
    }

    @Sse('awaited')
    @UseInterceptors(
      around(async (events) => {
        await delay(10);
        return events;
      }),
    )
    awaited() {
      return of({ data: 'awaited' });
    }

    @Sse('taken')
    @UseInterceptors(around((events) => events.pipe(take(1))))
    taken() {
      return concat(of({ data: 'first' }), timer(60_000));
    }

    @Sse('caught')
    @UseInterceptors(
      around((events) => events.pipe(catchError((error: Error) => of({ data: error.message })))),
    )
    caught() {
      return concat(
        of({ data: 'one' }),
        throwError(() => new Error('caught')),
      );
    }

    @Sse('mapped-error')
    @UseInterceptors(
      around((events) => events.pipe(catchError(() => throwError(() => new BadRequestException('mapped'))))),
    )
    mappedError() {
      return throwError(() => new Error('unmapped'));
    }

    @Sse('refusing-interceptor')
    @UseInterceptors(
      around(() => {
        throw new ForbiddenException('by an interceptor');
      }),
    )
    refusingInterceptor() {
      return of({ data: 'unseen' });
    }

    @Sse('ordered')
    @UseInterceptors(around((events) => events.pipe(concatMap(async (event) => (await delay(2), event)))))
    ordered() {
      return from(['a', 'b', 'c'].map((data) => ({ data })));
    }

    @Sse('paced')
    @UseInterceptors(around((events) => events.pipe(delayWhen(() => timer(5)))))
    paced() {
      return from(['a', 'b'].map((data) => ({ data })));
    }

    @Sse('bare-filter')
    @UseFilters(WritesBare)
    bareFilter() {
      return throwError(() => new Error('for the filter'));
    }

    @Sse('late-filter')
    @UseFilters(AnswersLate)
    lateFilter(): never {
      throw new Error('for the filter');
    }

    @Sse('throws-text')
    throwsText(): never {
      throw 'a text'; // oxlint-disable-line typescript/only-throw-error
    }

    @Sse('fails-with-nothing')
    failsWithNothing() {
      return throwError(() => undefined);
    }

    @Sse('fails-late-with-nothing')
    failsLateWithNothing() {
      return concat(of({ data: 'one' }), timer(20).pipe(mergeMap(() => throwError(() => null))));
    }

    @Sse('returns-text')
    returnsText() {
      return 'text' as never;
    }

    @Sse('returns-nothing')
    returnsNothing() {}

    @Sse('returns-promise-of-nothing')
    async returnsPromiseOfNothing() {
      await delay(2);
    }

    @Sse('next')
    next(@Next() _next: () => void) {
      return of({ data: 'with next' });
    }

    @Sse('whole-response')
    wholeResponse(@Res() response: AppResponse) {
      response.header('x-own', 'set');
      return of({ data: 'with the response' });
    }

    @Sse('answers-itself')
    answersItself(@Res() response: AppResponse) {
      const answer = response.status(203);
      (answer.json ?? answer.send).call(answer, { by: 'itself' });
      return of({ data: 'unseen' });
    }

    @Sse('late-status')
    async lateStatus(@Res({ passthrough: true }) response: AppResponse) {
      await delay(10);
      response.status(206);
      response.header('x-late', 'yes');
      return of({ data: 'late status' });
    }

    @All('any')
    any() {
      return { any: true };
    }

    @Get('missing')
    missing() {
      throw new NotFoundException();
    }
  }

  @Controller({ path: 'scoped', version: '1', scope: Scope.REQUEST })
  class ScopedRoutes {
    #n = 0;

    @Sse('events')
    events(@Req() request: AppRequest) {
      return from([1, 2]).pipe(map(() => ({ data: `${(this.#n += 1)} ${typeof request.headers}` })));
    }

    @Sse('throws')
    throws(): never {
      throw new NotFoundException('scoped');
    }

    @Sse('late-throws')
    async lateThrows(): Promise<never> {
      await delay(20);
      throw new NotFoundException('scoped and late');
    }
  }

  return [OddRoutes, ScopedRoutes];
}
