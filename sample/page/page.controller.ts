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

// Paths from dist/page/, where this file runs.
const SHOWN = [
  '../../sse/sse.controller.ts',
  '../../public/app.js',
  '../../dashboard/metrics.service.ts',
  '../../dashboard/dashboard.controller.ts',
  '../../public/dashboard.js',
  '../../public/parcel-client.js',
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

  /** How many streams the server holds open, for this page and for everybody. */
  @Get('connections')
  @Header('Cache-Control', 'no-store')
  connections(@Query('client') client: string) {
    return {
      yours: this.requestsOf(client).length,
      all: this.sse.connections.size,
    };
  }

  /**
   * Plays a network that fails: the page's connections are cut wherever they
   * stand. To end them properly, it would be `this.sse.connections.close(…)`.
   */
  @Post('drop')
  @HttpCode(200)
  drop(@Query('client') client: string) {
    const requests = this.requestsOf(client);
    for (const request of requests) request.socket.destroy();
    return { dropped: requests.length };
  }

  /** The requests of one page's open streams: it adds `?client=` to each. */
  private requestsOf(client: string): Request[] {
    return [...this.sse.connections]
      .map((connection) => connection.request as Request)
      .filter((request) => request.query.client === client);
  }
}
