import {
  Body,
  Controller,
  Delete,
  Get,
  Param,
  Post,
  Res,
  UseInterceptors,
} from '@nestjs/common';
import type { Response } from 'express';
import { SseService } from 'nestjs-event-stream';
import { CountsInterceptor } from './counts.interceptor.js';
import { ModelService } from './model.service.js';
import { Question, QuestionPipe } from './question.js';

@Controller('chat')
@UseInterceptors(CountsInterceptor)
export class ChatController {
  constructor(
    private readonly sse: SseService,
    private readonly model: ModelService,
  ) {}

  // #region chat
  // An app with users takes the runs of one: this.sse.runs.of(user.id), here and below.
  /** Has the answer made, and streams it. */
  @Post()
  async ask(@Body(QuestionPipe) question: Question, @Res() res: Response) {
    const { id, orphanMs } = question;
    await this.sse.runs.start(
      id,
      ({ signal }) => this.model.answer(question, signal),
      { format: 'json', orphanMs },
    );
    return this.sse.runs.attach(res, id);
  }

  /** All of it, on any instance: after a reload, or in a second tab. */
  @Get(':id/stream')
  resume(@Param('id') id: string, @Res() res: Response) {
    return this.sse.runs.attach(res, id);
  }

  /** Aborts the model, wherever it runs. */
  @Delete(':id')
  stop(@Param('id') id: string) {
    return this.sse.runs.stop(id);
  }
  // #endregion
}
