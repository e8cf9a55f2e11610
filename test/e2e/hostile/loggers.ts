import type { IncomingMessage, ServerResponse } from 'node:http';

/** What an app writes down of its answers. The plain app and the one with the module must write the same. */
export interface Journal {
  /** The bodies that loggers captured, by the `x-request` header of the request. */
  readonly bodies: Map<string, string>;
  /** The requests that loggers saw the end of, by name of the logger. */
  readonly ends: Map<string, string[]>;
}

type Layer = (req: IncomingMessage, res: ServerResponse, next: () => void) => void;
type Method = (...args: never[]) => unknown;

/** Response loggers of the shapes that apps and packages have. Each wraps Node's own response, also on Fastify. */
export function loggers(journal: Journal): Record<string, Layer> {
  return {
    /** Gives nothing back from `write` and `end`. */
    'returns nothing': (req, res, next) => {
      wrap(
        res,
        'write',
        (write) =>
          (...args) =>
            void write(...args),
      );
      wrap(res, 'end', (end) => (...args) => {
        end(...args);
        noteEnd('returns nothing', req);
      });
      next();
    },
    /** Walks through its arguments, and comes to no end where one of them is undefined. */
    'loops over arguments': (_req, res, next) => {
      const copy = (chunks: unknown[]) => {
        const args: unknown[] = [];
        for (let turns = 0; args.length < chunks.length; turns += 1) {
          if (turns > 100) {
            throw new Error(`The logger loops: argument ${args.length} is ${String(chunks[args.length])}.`);
          }
          const chunk = chunks[args.length];
          if (chunk) {
            args.push(chunk);
          }
        }
        return args;
      };
      wrap(
        res,
        'write',
        (write) =>
          (...chunks) =>
            write(...copy(chunks)),
      );
      next();
    },
    /** Hands on the chunk alone: callbacks are never called. */
    'drops callbacks': (req, res, next) => {
      wrap(res, 'write', (write) => (chunk) => write(chunk));
      wrap(res, 'end', (end) => (chunk) => {
        noteEnd('drops callbacks', req);
        return typeof chunk === 'string' || chunk instanceof Uint8Array ? end(chunk) : end();
      });
      next();
    },
    /** Keeps all chunks, and writes the body down at the end. */
    'captures the body': (req, res, next) => {
      const chunks: Buffer[] = [];
      const keep = (chunk: unknown) => {
        if (typeof chunk === 'string' || chunk instanceof Uint8Array) {
          chunks.push(Buffer.from(chunk as string));
        }
      };
      wrap(res, 'write', (write) => (...args) => {
        keep(args[0]);
        return write(...args);
      });
      wrap(res, 'end', (end) => (...args) => {
        keep(args[0]);
        journal.bodies.set(idOf(req), Buffer.concat(chunks).toString());
        return end(...args);
      });
      next();
    },
    /** Sets a header as the head is written, as `response-time` and `on-headers` do. */
    'sets a header in writeHead': (_req, res, next) => {
      wrap(res, 'writeHead', (writeHead) => (...args) => {
        res.setHeader('x-layer', 'writeHead');
        return writeHead(...args);
      });
      next();
    },
    /** Looks at events of the response, as `morgan` and `on-finished` do. */
    'waits for finish': (req, res, next) => {
      res.once('close', () => noteEnd('waits for finish', req));
      next();
    },
  };

  function noteEnd(logger: string, req: IncomingMessage): void {
    const ends = journal.ends.get(logger) ?? [];
    ends.push(idOf(req));
    journal.ends.set(logger, ends);
  }
}

function idOf(req: IncomingMessage): string {
  return String(req.headers['x-request']);
}

function wrap(
  res: ServerResponse,
  name: 'write' | 'end' | 'writeHead',
  around: (original: (...args: unknown[]) => unknown) => (...args: unknown[]) => unknown,
): void {
  const original = res[name] as Method;
  res[name] = around((...args) => original.apply(res, args as never[])) as never;
}
