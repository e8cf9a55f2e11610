import 'reflect-metadata';
import { Controller, Get, Inject, Res, Sse } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { SseModule, SseService } from 'nestjs-event-stream';
import { openSse } from 'nestjs-event-stream/testing';
import { of } from 'rxjs';

// vitest's own transform emits no types for injection, hence the @Inject.
@Controller()
class StreamController {
  constructor(@Inject(SseService) private readonly sse: SseService) {}

  @Get('get')
  byGet(@Res() res: Parameters<SseService['connect']>[0]): void {
    this.sse.connect(res).send({ data: 'by get' });
  }

  @Sse('sse')
  bySse() {
    return of({ data: 'by sse' });
  }
}

describe('a module under test', () => {
  it('serves both endpoint styles', async () => {
    const module = await Test.createTestingModule({
      imports: [SseModule.forRoot()],
      controllers: [StreamController],
    }).compile();
    const app = module.createNestApplication();
    try {
      for (const style of ['get', 'sse']) {
        const stream = await openSse(app, `/${style}`);
        expect((await stream.next()).data).toBe(`by ${style}`);
        expect(stream.retries).toEqual([3000]);
        await stream.close();
      }
      expect(app.get(SseService)).toBeInstanceOf(SseService);
      if (process.env['REQUIRE_TOO'] === '1') {
        const required = await import('cjs-feature');
        expect(required.SseService).toBe(SseService);
      }
    } finally {
      await app.close();
    }
  });
});
