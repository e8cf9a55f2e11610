import { Controller, Get, Res, Sse } from '@nestjs/common';
import { SseService } from 'nestjs-event-stream';
import { NEVER } from 'rxjs';
import type { Observable } from 'rxjs';

/** What the app's own figures are to tell apart: a stream of each endpoint style, and another answer. */
@Controller()
export class MeasuredRoutes {
  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Res() res: object): void {
    this.sse.connect(res).follow('a');
  }

  @Sse('sse')
  stream(): Observable<object> {
    return NEVER;
  }

  @Get('plain')
  plain(): string {
    return 'plain';
  }
}
