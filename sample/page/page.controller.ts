import { readFile } from 'node:fs/promises';
import {
  Controller,
  Get,
  Header,
  HttpCode,
  NotFoundException,
  Param,
  Post,
  Query,
} from '@nestjs/common';
import type { Request } from 'express';
import { SseService } from 'nestjs-event-stream';
import { commands } from '../dashboard/commands.service.js';
import { instance } from '../instance.js';

// Paths from dist/page/, where this file runs.
const SHOWN = [
  '../../sse/sse.controller.ts',
  '../../public/app.js',
  '../../dashboard/metrics.service.ts',
  '../../dashboard/dashboard.controller.ts',
  '../../orders/orders.service.ts',
  '../../public/dashboard.js',
  '../../public/parcel-client.js',
  '../../chat/chat.controller.ts',
  '../../chat/usual.controller.ts',
  '../../chat/openai-model.ts',
  '../../public/run-client.js',
  '../../public/usual-client.js',
  '../../public/tabs.js',
  '../../tabs/tabs.controller.ts',
].map((path) => new URL(path, import.meta.url));
const REGION = /^( *)\/\/ #region (\S+)\r?\n(.*?)^ *\/\/ #endregion/gms;

/** What the page asks for beside the streams. Your own app needs none of it. */
@Controller()
export class PageController {
  constructor(private readonly sse: SseService) {}

  /** What stands between `// #region <name>` and `// #endregion`, as it runs. */
  @Get('source/:name')
  @Header('Content-Type', 'text/plain; charset=utf-8')
  async source(@Param('name') name: string): Promise<string> {
    const files = await Promise.all(
      SHOWN.map((file) => readFile(file, 'utf8')),
    );
    const regions = new Map<string, string>();
    for (const [, indent, key, code] of files.join('\n').matchAll(REGION)) {
      regions.set(key, code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''));
    }

    const code = regions.get(name);
    if (code === undefined) {
      throw new NotFoundException(
        `There is no region "${name}". There are: ${[...regions.keys()].join(', ')}.`,
      );
    }
    return code;
  }

  /** How many streams this process holds open, for this page and for everybody. */
  @Get('connections')
  @Header('Cache-Control', 'no-store')
  connections(@Query('client') client: string) {
    const all = [...this.sse.connections];
    // A page adds `?client=` to each of its streams.
    const yours = all.filter(
      ({ request }) => (request as Request).query.client === client,
    );
    return { instance, yours: yours.length, all: all.length };
  }

  /** Plays a network that fails: the page's connections are cut wherever they stand. */
  @Post('drop')
  @HttpCode(200)
  async drop(@Query('client') client: string): Promise<void> {
    await this.sse.publish(commands, { type: 'drop', data: { client } });
  }
}
