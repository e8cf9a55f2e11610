import { Body, Controller, Post, Res, UseInterceptors } from '@nestjs/common';
import type { Response } from 'express';
import { CountsInterceptor } from './counts.interceptor.js';
import { ModelService } from './model.service.js';
import { Question, QuestionPipe } from './question.js';

/** The same chat as it is written today, to be compared. Do not copy it. */
@Controller('usual')
@UseInterceptors(CountsInterceptor)
export class UsualController {
  constructor(private readonly model: ModelService) {}

  // #region usual
  /** Nobody tells the model that the client has left. */
  @Post()
  async ask(
    @Body(QuestionPipe) question: Question,
    @Res() res: Response,
  ): Promise<void> {
    res.setHeader('Content-Type', 'text/event-stream');
    res.flushHeaders();
    for await (const token of this.model.answer(question)) {
      res.write(`data: ${JSON.stringify(token)}\n\n`);
    }
    res.end();
  }
  // #endregion
}
