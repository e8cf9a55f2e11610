import { Controller, Get, Module, type MessageEvent, Req, Res, Sse } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
// First imported, then required: before 20.19.6 and 22.18, Node cannot require an ES module that it has linked for an
// import and not yet run.
import { closeOn, LastEventId, memory, SseModule, SseService } from 'nestjs-event-stream';
import { SseInspectorModule } from 'nestjs-event-stream/inspector';
import { redis } from 'nestjs-event-stream/redis';
import { ApiSse } from 'nestjs-event-stream/swagger';
import { Feature, SseService as RequiredSseService } from 'cjs-feature';
import { map, type Observable, timer } from 'rxjs';

type Reply = Parameters<SseService['connect']>[0];
type Request = Parameters<typeof closeOn>[0];

class StyleDto {
  @ApiProperty()
  style!: string;
}

@Controller()
export class StreamController {
  constructor(
    private readonly sse: SseService,
    private readonly feature: Feature,
  ) {}

  @Get('get')
  byGet(@Res() res: Reply, @LastEventId() seen: string | undefined): void {
    const connection = this.sse.connect(res);
    connection.send({ id: '7', data: { style: 'get', seen: seen ?? null } });
  }

  @Sse('sse')
  @ApiSse({ events: { message: StyleDto }, resumes: true })
  bySse(@Req() req: Request): Observable<MessageEvent> {
    return timer(0, 20).pipe(
      map((n) => ({ data: { style: 'sse', n } })),
      closeOn(req),
    );
  }

  @Get('topics')
  follow(@Res() res: Reply): void {
    this.sse.connect(res).follow('a');
    void this.sse.publish('a', { data: { style: 'topics' } });
  }

  /** What an app sees of the package's classes, from each side. */
  @Get('identity')
  identity(): Record<string, boolean> {
    return {
      required: (RequiredSseService as unknown) === SseService,
      injected: (this.feature.sse as unknown) === this.sse,
    };
  }
}

const url = process.env['REDIS_URL'];

@Module({
  imports: [
    SseModule.forRoot({ retryMs: 2_500, log: url ? redis({ url }) : memory() }),
    SseInspectorModule.forRoot({ path: 'internal/sse', guards: [{ canActivate: () => true }] }),
  ],
  controllers: [StreamController],
  providers: [Feature],
})
export class AppModule {}
