import {
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import type { Request, Response } from 'express';
import { CommandsService } from '../dashboard/commands.service.js';
import { instance } from '../instance.js';
import { CountsService } from './counts.service.js';

// Each token is a line of its own, and JSON, so that it begins with a quote.
const TOKENS = /^data: "/gm;

/** Counts the tokens that are written to a client, and says who serves it. */
@Injectable()
export class CountsInterceptor implements NestInterceptor {
  constructor(
    private readonly counts: CountsService,
    private readonly commands: CommandsService,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler) {
    const req = context.switchToHttp().getRequest<Request>();
    const res = context.switchToHttp().getResponse<Response>();
    const id = String(req.params.id ?? Object(req.body).id);

    this.commands.others.add(req);
    res.once('close', () => this.commands.others.delete(req));
    if (instance) {
      res.setHeader('X-Instance', instance);
    }
    for (const name of ['write', 'end'] as const) {
      const written = res[name].bind(res) as (...args: unknown[]) => never;
      res[name] = (...args: unknown[]) => {
        // To one that has left, nothing is sent, however much is written.
        const tokens = res.destroyed ? 0 : countIn(args[0]);
        if (tokens > 0) {
          this.counts.of(id).sent(tokens);
        }
        return written(...args);
      };
    }
    return next.handle();
  }
}

function countIn(chunk: unknown): number {
  if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array)) {
    return 0;
  }
  return (
    Buffer.from(chunk as string)
      .toString()
      .match(TOKENS)?.length ?? 0
  );
}
