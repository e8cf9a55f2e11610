import { Body, Controller, Get, Module, Post, RequestMethod, Res, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { ApiProperty, ApiResponse, ApiSchema, DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { SseModule, SseService } from 'nestjs-event-stream';
import { ApiSse } from 'nestjs-event-stream/swagger';
import { of } from 'rxjs';

export class OrderDto {
  @ApiProperty()
  id!: number;
}

@ApiSchema({ name: 'Cancellation' })
export class CancelledDto {
  @ApiProperty({ enum: ['customer', 'stock'] })
  reason!: string;
}

export class PromptDto {
  @ApiProperty()
  text!: string;
}

/** Routes of both endpoint styles. */
@Controller()
export class DocumentedController {
  // The compiler plugin of @nestjs/swagger adds this to controllers.
  static _OPENAPI_METADATA_FACTORY() {
    return { create: { type: Object }, chat: { type: Object } };
  }

  constructor(private readonly sse: SseService) {}

  @Sse('orders')
  @ApiSse({
    description: 'What happens to orders.',
    events: {
      created: OrderDto,
      cancelled: { description: 'For good.', type: [CancelledDto] },
      count: Number,
      note: String,
      message: { schema: { type: 'object', properties: { on: { type: 'boolean' } } } },
    },
    follows: true,
  })
  @ApiResponse({ status: 403, description: 'Not yours.' })
  orders() {
    return of({ type: 'created', data: { id: 1 } });
  }

  @Sse('create', { method: RequestMethod.POST })
  @ApiSse({ events: { created: OrderDto } })
  create(@Body() prompt: PromptDto) {
    return of({ type: 'created', data: { id: prompt.text.length } });
  }

  @Post('chat')
  @ApiSse({ format: 'ai-sdk', noContent: true })
  chat(@Body() prompt: PromptDto, @Res() res: object) {
    const items = [{ type: 'text-delta', id: '1', delta: prompt.text }];
    return this.sse.stream(res, () => of(...items), { format: 'ai-sdk' });
  }

  @Get('chat')
  @ApiSse({ resumes: true, noContent: 'No answer is under way.' })
  resume(@Res() res: object) {
    this.sse.stopReconnecting(res);
  }
}

@Module({ imports: [SseModule.forRoot()], controllers: [DocumentedController] })
export class DocumentedModule {}

/** The parts of a document that the tests read. */
export interface Document {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, unknown> };
}

export interface Operation {
  readonly parameters: readonly unknown[];
  readonly responses: Record<string, Answer>;
}

interface Answer {
  readonly description: string;
  readonly headers?: object;
  readonly content?: Record<string, { readonly schema?: EventSchema; readonly itemSchema?: EventSchema }>;
}

export interface EventSchema {
  readonly title?: string;
  readonly description?: string;
  readonly required?: readonly string[];
  readonly properties?: Record<string, object>;
  readonly oneOf?: readonly EventSchema[];
  readonly anyOf?: readonly EventSchema[];
}

/** Returns the document of an app as JSON, in the form in which it leaves the app. */
export function documentOf(app: INestApplication, openapi: string, describe = (given: Document) => given) {
  const config = new DocumentBuilder().setTitle('Orders').setOpenAPIVersion(openapi).build();
  const document = SwaggerModule.createDocument(app, config) as unknown as Document;
  return JSON.parse(JSON.stringify(describe(document))) as Document;
}
