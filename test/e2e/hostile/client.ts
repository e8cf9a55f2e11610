import * as http from 'node:http';

export interface Asked {
  /** By which the app's loggers know it. */
  readonly request: string;
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Leaves after that many events, or when this is in the text. */
  readonly leaveAt?: number | string;
}

export interface ReceivedEvent {
  type: string;
  data: string;
  id: string | undefined;
}

/** An answer as its client has seen it. */
export interface Answer {
  readonly request: string;
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly cookies: string[];
  readonly text: string;
  readonly events: ReceivedEvent[];
  readonly ending: 'end' | 'cut' | 'left';
}

/** How long an answer may take that no client leaves, on a machine that is busy. */
const DEADLINE_MS = 5_000;

/** Asks and reads, as a browser would: events are parsed where the answer is an event stream. */
export function ask(
  port: number,
  { request: id, path, method = 'GET', headers = {}, leaveAt }: Asked,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let text = '';
    const request = http.request({
      host: '127.0.0.1',
      port,
      path,
      method,
      agent: false,
      headers: { 'x-request': id, origin: 'https://app.example', ...headers },
    });
    const timer = setTimeout(() => {
      request.destroy();
      reject(
        new Error(
          `${method} ${path} did not end within ${DEADLINE_MS} ms; received ${JSON.stringify(text.slice(-300))}`,
        ),
      );
    }, DEADLINE_MS);
    request.on('error', (error) => {
      clearTimeout(timer);
      reject(new Error(`${method} ${path}: ${error.message}; received ${JSON.stringify(text.slice(-300))}`));
    });
    request.on('response', (response) => {
      const done = (ending: Answer['ending']) => {
        clearTimeout(timer);
        response.removeAllListeners();
        response.on('error', () => undefined);
        request.removeAllListeners('error');
        request.on('error', () => undefined);
        request.destroy();
        const { 'set-cookie': cookies = [], ...others } = response.headers;
        resolve({
          request: id,
          status: response.statusCode!,
          headers: others as Record<string, string>,
          cookies,
          text,
          events: eventsOf(text),
          ending,
        });
      };
      const hasEnough = () =>
        typeof leaveAt === 'string' ? text.includes(leaveAt) : eventsOf(text).length >= leaveAt!;
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (leaveAt !== undefined && hasEnough()) {
          done('left');
        }
      });
      response.on('end', () => done('end'));
      response.on('error', () => done('cut'));
    });
    request.end();
  });
}

function eventsOf(text: string): ReceivedEvent[] {
  // What follows the last blank line is no event yet.
  return text
    .split('\n\n')
    .slice(0, -1)
    .flatMap((block) => {
      const fields = block
        .split('\n')
        .map((line) => /^([^:]*):? ?(.*)$/.exec(line)!.slice(1) as [string, string]);
      const data = fields.filter(([name]) => name === 'data').map(([, value]) => value);
      const last = (name: string) => fields.findLast(([field]) => field === name)?.[1];
      return data.length > 0
        ? [{ type: last('event') ?? 'message', data: data.join('\n'), id: last('id') }]
        : [];
    });
}
