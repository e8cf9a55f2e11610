import { Controller, Delete, Get, Param, Post, Res } from '@nestjs/common';
import { SseService } from 'nestjs-event-stream';
import { ScriptedSource } from './scripted-source.js';

/** Runs of one source: the routes at which a page starts, attaches to and stops them. */
@Controller('runs/:id')
export class ScriptedRuns {
  readonly source = new ScriptedSource();

  constructor(private readonly sse: SseService) {}

  @Post()
  async start(@Param('id') id: string, @Res() res: object) {
    await this.sse.runs.start(id, this.source.source, { format: 'json', ifEnded: 'keep' });
    await this.sse.runs.attach(res, id);
  }

  @Get()
  async attach(@Param('id') id: string, @Res() res: object) {
    await this.sse.runs.attach(res, id);
  }

  @Delete()
  async stop(@Param('id') id: string) {
    return { wasLive: await this.sse.runs.stop(id) };
  }
}
