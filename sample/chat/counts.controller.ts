import { Controller, Get, Query, Res } from '@nestjs/common';
import type { Response } from 'express';
import { SseService } from 'nestjs-event-stream';
import { instance } from '../instance.js';
import { answers } from './counts.service.js';
import { ModelService } from './model.service.js';

/** What the page asks for beside the answers. Your own app needs none of it. */
@Controller('counts')
export class CountsController {
  constructor(
    private readonly sse: SseService,
    private readonly model: ModelService,
  ) {}

  /** Of each answer, what is made and sent of it, wherever it is. */
  @Get()
  counts(
    @Query('answer') answer: string | readonly string[],
    @Res() res: Response,
  ): void {
    const connection = this.sse.connect(res, { retryMs: 1_000 });
    connection.follow(
      [answer].flat().map((id) => answers.of(id)),
      // Each event has all that those before it had, and the last may be some minutes old.
      { from: { agoMs: 600_000 } },
    );
  }

  /** Which model it is, and whether there are processes to kill. */
  @Get('model')
  about() {
    return { model: this.model.name, hasInstances: instance !== undefined };
  }
}
