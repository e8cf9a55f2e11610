import { Body, Controller, Delete, Get, Headers, Param, Post, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { RunEnd, RunSource, SseModuleOptions } from 'nestjs-event-stream';
import { platforms } from '../support/apps/platforms.js';

/** What a page has sent as its question. */
export interface Asked {
  readonly body: Record<string, unknown>;
  readonly headers: Record<string, string>;
}

/** What answers a question, and in which protocol: `chat` for the AI SDK, `agent` for AG-UI. */
export type Answerer = (asked: Asked, protocol: 'chat' | 'agent') => RunSource;

/** The routes that `RunChatTransport` and `RunHttpAgent` ask for, as the guide has them. */
@Controller()
export class ChatController {
  answer: Answerer = () => {
    throw new Error('The test gives no answer.');
  };
  readonly asked: Asked[] = [];
  readonly requests: string[] = [];
  readonly ends: RunEnd[] = [];

  constructor(private readonly sse: SseService) {}

  @Post('chat')
  async ask(
    @Body() body: Record<string, string>,
    @Headers() headers: Record<string, string>,
    @Res() res: object,
  ) {
    const { id, idempotencyKey } = body as { id: string; idempotencyKey: string };
    await this.#start(id, { body, headers }, { format: 'ai-sdk', idempotencyKey });
    return this.sse.runs.attach(res, id);
  }

  @Post('agent')
  async run(
    @Body() body: Record<string, string>,
    @Headers() headers: Record<string, string>,
    @Res() res: object,
  ) {
    const { threadId, runId } = body as { threadId: string; runId: string };
    await this.#start(threadId, { body, headers }, { format: 'ag-ui', idempotencyKey: runId });
    return this.sse.runs.attach(res, threadId);
  }

  @Get(['chat/:id/stream', 'agent/:id/stream'])
  resume(@Param('id') id: string, @Res() res: object) {
    this.requests.push('GET');
    return this.sse.runs.attach(res, id, { ended: 'none' });
  }

  @Delete(['chat/:id', 'agent/:id'])
  async stop(@Param('id') id: string) {
    this.requests.push('DELETE');
    return { wasLive: await this.sse.runs.stop(id) };
  }

  async #start(
    id: string,
    asked: Asked,
    options: { format: 'ai-sdk' | 'ag-ui'; idempotencyKey: string },
  ): Promise<void> {
    this.requests.push('POST');
    const source: RunSource = (context) => {
      this.asked.push(asked);
      return this.answer(asked, options.format === 'ai-sdk' ? 'chat' : 'agent')(context);
    };
    const onEnd = (end: RunEnd) => this.ends.push(end);
    await this.sse.runs.start(id, source, { ...options, onEnd, orphanMs: 20_000 });
  }
}

export interface ChatApp {
  readonly app: INestApplication;
  readonly sse: SseService;
  readonly controller: ChatController;
}

export async function createChatApp(answer?: Answerer, options: SseModuleOptions = {}): Promise<ChatApp> {
  const app = await platforms[0]!.create({
    imports: [SseModule.forRoot({ retryMs: 10, ...options })],
    controllers: [ChatController],
  });
  const controller = app.get(ChatController);
  if (answer) {
    controller.answer = answer;
  }
  return { app, controller, sse: app.get(SseService) };
}
