import { Controller, Get, Post, Res } from '@nestjs/common';
import { SseService } from 'nestjs-event-stream';
import type { StreamEnd } from 'nestjs-event-stream';

async function* two() {
  yield 'a';
  await new Promise((resolve) => setTimeout(resolve, 10));
  yield 'b';
}

/** What is called by the adapters of serverless functions. */
@Controller()
export class ServerlessController {
  readonly ends: StreamEnd[] = [];

  constructor(private readonly sse: SseService) {}

  @Post('complete')
  async complete(@Res() res: object) {
    this.ends.push(await this.sse.stream(res, two));
  }

  @Post('fails')
  async fails(@Res() res: object) {
    const end = await this.sse.stream(res, async function* () {
      yield* two();
      throw new Error('late');
    });
    this.ends.push(end);
  }

  @Post('format')
  async format(@Res() res: object) {
    const end = await this.sse.stream(
      res,
      async function* () {
        yield* two();
        throw new Error('late');
      },
      { format: 'json' },
    );
    this.ends.push(end);
  }

  @Get('follows')
  follows(@Res() res: object) {
    this.sse.connect(res, { maxConnectionMs: 100 }).follow('news', { from: 'earliest' });
  }
}

/** What a function answers with. */
export interface Answer {
  readonly body: string;
  readonly isBase64Encoded?: boolean;
}

export const textOf = ({ body, isBase64Encoded }: Answer) =>
  isBase64Encoded ? Buffer.from(body, 'base64').toString() : body;

/** An event of API Gateway, version 1, which all of them take. */
export const eventOf = (httpMethod: string, path: string) => ({
  httpMethod,
  path,
  resource: path,
  headers: { host: 'x' },
  multiValueHeaders: { host: ['x'] },
  queryStringParameters: null,
  multiValueQueryStringParameters: null,
  requestContext: { httpMethod, path, stage: 'test', identity: {} },
  body: null,
  isBase64Encoded: false,
});
