import {
  BadRequestException,
  Body,
  Controller,
  Get,
  HttpException,
  HttpStatus,
  Inject,
  Logger,
  Param,
  Post,
  Query,
  Req,
  Res,
  ServiceUnavailableException,
  SetMetadata,
  UseGuards,
  VERSION_NEUTRAL,
} from '@nestjs/common';
import type { Type } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { SseService } from '../index.js';
import type { SseConnection } from '../index.js';
import { show, SseError } from '../errors/index.js';
import { INSPECTION } from '../sse.inspection.js';
import type { Inspection } from '../sse.inspection.js';
import { LocalGuard, OwnPageGuard } from './access.guards.js';
import { InspectorHub } from './hub.js';
import type { InspectorSettings } from './inspector.options.js';
import { LossySender } from './lossy-sender.js';
import { PageFiles } from './page-files.js';
import { ICON } from './page.icon.js';
import { pageHtml } from './page.html.js';
import { STYLE } from './page.style.js';
import { readQuery } from './records.js';
import { tail } from './tail.js';

/** Injection token of the checked options. */
export const INSPECTOR_SETTINGS = Symbol('nestjs-event-stream:inspector-settings');

const MAX_NAME = 4_096;
const DAY_MS = 86_400_000;
// The guards are asked again when the page comes back.
const MAX_STREAM_MS = 300_000;
const BAD_REQUESTS = ['topic-invalid', 'event-invalid', 'event-too-large', 'options-invalid', 'misuse'];

/** Headers of every answer but the streams. No script but the page's own runs, whatever a key or a topic holds. */
const HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'private, no-cache',
};

/** The page of the inspector, its two streams, and what it can do. */
export class InspectorController {
  readonly #hub: InspectorHub;
  readonly #sse: SseService;
  readonly #inspection: Inspection;
  readonly #settings: InspectorSettings;
  readonly #adapterHost: HttpAdapterHost;
  readonly #files = new PageFiles();
  readonly #logger = new Logger('SseInspector');
  #pages = 0;

  constructor(
    @Inject(InspectorHub) hub: InspectorHub,
    @Inject(SseService) sse: SseService,
    @Inject(INSPECTION) inspection: Inspection,
    @Inject(INSPECTOR_SETTINGS) settings: InspectorSettings,
    @Inject(HttpAdapterHost) adapterHost: HttpAdapterHost,
  ) {
    this.#hub = hub;
    this.#sse = sse;
    this.#inspection = inspection;
    this.#settings = settings;
    this.#adapterHost = adapterHost;
  }

  @Get()
  page(@Req() request: { url: string }, @Res() res: object): void {
    // With a slash at the end, relative addresses begin below it.
    const isFolder = request.url.split('?', 1)[0]!.endsWith('/');
    const base = isFolder ? '' : `${this.#settings.path.split('/').at(-1)!}/`;
    this.#answer(res, pageHtml(base), 'text/html');
  }

  @Get('style.css')
  style(@Res() res: object): void {
    this.#answer(res, STYLE, 'text/css');
  }

  @Get('icon.svg')
  icon(@Res() res: object): void {
    this.#answer(res, ICON, 'image/svg+xml');
  }

  @Get('modules/:room/:name')
  async module(@Param('room') room: string, @Param('name') name: string, @Res() res: object): Promise<void> {
    this.#answer(res, await this.#files.read(room, name), 'text/javascript');
  }

  @Get('modules/:room/:part/:name')
  async partOfModule(
    @Param('room') room: string,
    @Param('part') part: string,
    @Param('name') name: string,
    @Res() res: object,
  ): Promise<void> {
    this.#answer(res, await this.#files.read(`${room}/${part}`, name), 'text/javascript');
  }

  /** How all instances stand, and the list that the query asks for. */
  @Get('stream')
  @UseGuards(OwnPageGuard)
  stream(@Query() query: unknown, @Res() res: object): void {
    const connection = this.#open(res);
    const sender = new LossySender(connection);
    const end = this.#hub.open(
      readQuery(query),
      (update) => void sender.send({ type: 'update', data: update }),
    );
    void connection.closed.then(end);
  }

  /** The events of a pattern, from now on. */
  @Get('tail')
  @UseGuards(OwnPageGuard)
  tail(@Query('pattern') pattern: unknown, @Res() res: object): void {
    const wanted = textOf('pattern', pattern);
    refuseWrong(() => this.#sse.events(wanted));
    tail(this.#open(res), wanted, { sse: this.#sse, wheel: this.#inspection.wheel });
  }

  @Post('publish')
  @UseGuards(OwnPageGuard)
  async publish(@Body() body: unknown, @Res() res: object): Promise<void> {
    const { topic, type, data } = fieldsOf(body);
    const name = textOf('topic', topic);
    const event = {
      data: jsonOrText(textOf('data', data, Infinity)),
      ...(type === undefined || type === '' ? {} : { type: textOf('type', type) }),
    };
    const position = await attempt(() => this.#sse.publish(name, event));
    this.#report(res, 'published a test event', { position });
  }

  @Post('close')
  @UseGuards(OwnPageGuard)
  async close(@Body() body: unknown, @Res() res: object): Promise<void> {
    const { instance, connection } = fieldsOf(body);
    const id = textOf('connection', connection);
    const outcome = await this.#hub.closeConnection(textOf('instance', instance), id);
    this.#report(res, `asked to close a connection: ${outcome}`, { outcome });
  }

  @Post('revoke')
  @UseGuards(OwnPageGuard)
  async revoke(@Body() body: unknown, @Res() res: object): Promise<void> {
    const { key, forMs = DAY_MS } = fieldsOf(body);
    const revoked = textOf('key', key);
    await attempt(() => this.#sse.revoke(revoked, { forMs: forMs as number }));
    this.#report(res, 'revoked a key', { key: revoked });
  }

  /** Opens a stream, for which there is a bounded number of places. */
  #open(res: object): SseConnection {
    if (this.#pages >= this.#settings.maxPages) {
      throw new ServiceUnavailableException(
        `The inspector has ${this.#pages} open pages here, and no more may be.`,
      );
    }
    const connection = this.#sse.connect(res, { maxConnectionMs: MAX_STREAM_MS });
    this.#pages += 1;
    void connection.closed.then(() => (this.#pages -= 1));
    return connection;
  }

  /** Answers what the page has asked for, and logs that it was: without names, which may be those of users. */
  #report(res: object, what: string, answer: object): void {
    this.#logger.log(`An inspector has ${what}.`);
    this.#answer(res, JSON.stringify(answer), 'application/json');
  }

  /** Answers past the app's interceptors, one of which may wrap what handlers return. */
  #answer(res: object, text: string, type: string): void {
    const { httpAdapter } = this.#adapterHost;
    for (const [name, value] of Object.entries({ ...HEADERS, 'Content-Type': `${type}; charset=utf-8` })) {
      httpAdapter.setHeader(res, name, value);
    }
    httpAdapter.reply(res, text, HttpStatus.OK);
  }
}

/** Returns the controller at the path of the options, behind their guards. */
export function controllerAt({ path, guards }: InspectorSettings): Type<InspectorController> {
  class SseInspectorController extends InspectorController {}
  Controller({ path, version: VERSION_NEUTRAL })(SseInspectorController);
  // Operators' routes are no part of the app's API. `@nestjs/swagger` is not imported: an app may do without it.
  SetMetadata('swagger/apiExcludeController', [true])(SseInspectorController);
  UseGuards(...(guards.length > 0 ? guards : [LocalGuard]))(SseInspectorController);
  return SseInspectorController;
}

function fieldsOf(body: unknown): Readonly<Record<string, unknown>> {
  if (typeof body !== 'object' || body === null) {
    throw new BadRequestException('The inspector expects JSON in the body.');
  }
  return body as Record<string, unknown>;
}

function textOf(field: string, value: unknown, most = MAX_NAME): string {
  if (typeof value !== 'string' || value.length === 0 || value.length > most) {
    throw new BadRequestException(`${field} must be text of 1 to ${most} characters, got ${show(value)}.`);
  }
  return value;
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

async function attempt<T>(task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    throw exceptionOf(error);
  }
}

function refuseWrong(check: () => unknown): void {
  try {
    check();
  } catch (error) {
    throw exceptionOf(error);
  }
}

/** Tells the operator what is wrong, which the app's own clients are not told. */
function exceptionOf(error: unknown): unknown {
  if (!(error instanceof SseError)) {
    return error;
  }
  const status = BAD_REQUESTS.includes(error.code) ? HttpStatus.BAD_REQUEST : HttpStatus.SERVICE_UNAVAILABLE;
  return new HttpException(error.message, status, { cause: error });
}
