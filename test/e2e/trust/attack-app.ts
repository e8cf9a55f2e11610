import {
  BadRequestException,
  Body,
  Controller,
  Get,
  Param,
  Post,
  Query,
  Res,
  Sse,
  UseGuards,
} from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { Connection, SseError, SseModule, SseService, SseTicketGuard } from 'nestjs-event-stream';
import type { SseConnection, SseModuleOptions } from 'nestjs-event-stream';
import type { Platform } from '../../support/apps/platforms.js';

async function* answer(): AsyncGenerator<string> {
  yield 'first';
  yield 'last';
}

/** A route for each input that a client has. */
@Controller()
export class AttackedController {
  constructor(private readonly sse: SseService) {}

  @Sse('follow')
  follow(@Connection() connection: SseConnection, @Query('pattern') pattern: string) {
    return connection.follow(pattern);
  }

  @Sse('ticketed')
  @UseGuards(SseTicketGuard)
  ticketed(@Connection() connection: SseConnection) {
    return connection.follow('orders.>');
  }

  @Post('runs')
  async start(@Res() res: object, @Body() body: { id: string }) {
    const runs = this.sse.runs.of('ada');
    await runs.start(body?.id, () => answer());
    return runs.attach(res, body?.id);
  }

  @Get('runs/:id')
  attach(@Res() res: object, @Param('id') id: string) {
    return this.sse.runs.of('ada').attach(res, id);
  }

  @Post('revoke')
  async revoke(@Body() body: { key: string }) {
    try {
      await this.sse.revoke(body?.key, { forMs: 1_000 });
    } catch (error) {
      throw error instanceof SseError ? new BadRequestException('No such key.') : error;
    }
  }
}

/** The lines of an app's log. */
export class Lines {
  readonly all: string[] = [];
  readonly log = (): void => undefined;
  readonly warn = (text: string): void => void this.all.push(text);
  readonly error = (text: string): void => void this.all.push(text);
}

export function createAttacked(
  platform: Platform,
  options: SseModuleOptions = {},
  logger = new Lines(),
): Promise<INestApplication> {
  return platform.create(
    {
      imports: [
        SseModule.forRoot({
          tickets: { secret: 'a secret of at least 32 characters' },
          keyOf: (request) =>
            (request as { headers: Record<string, string> }).headers['x-user']?.slice(0, 512) || undefined,
          ...options,
        }),
      ],
      controllers: [AttackedController],
    },
    { logger },
  );
}
