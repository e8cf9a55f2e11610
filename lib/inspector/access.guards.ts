import { ForbiddenException, UnsupportedMediaTypeException } from '@nestjs/common';
import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { PAGE_HEADER } from './protocol.js';

/** The parts of a request of Express and Fastify that tell where it comes from. */
interface Request {
  readonly method: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly socket?: { readonly remoteAddress?: string } | null;
}

const LOOPBACK = /^(::1|(::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3})$/;
const PROXY_HEADER = /^(forwarded|via|x-forwarded-.+|x-real-ip)$/;
const LOCAL_HOST = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d+)?$/i;

/**
 * Admits requests of the inspector's own page alone. A page of another origin cannot send the header, unless the app's
 * CORS lets it; then its origin is another.
 */
export class OwnPageGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { headers, method } = context.switchToHttp().getRequest<Request>();
    if (headers[PAGE_HEADER] === undefined) {
      throw new ForbiddenException(`The inspector answers its own page, which sends ${PAGE_HEADER}.`);
    }
    if (!isOfOwnOrigin(headers)) {
      throw new ForbiddenException('The inspector answers no page of another origin.');
    }
    // What a form can send is no JSON.
    if (method !== 'GET' && !/^application\/json\s*(;|$)/i.test(String(headers['content-type']))) {
      throw new UnsupportedMediaTypeException('The inspector takes JSON.');
    }
    return true;
  }
}

/** Admits this machine alone: for development without a guard. */
export class LocalGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { headers, socket } = context.switchToHttp().getRequest<Request>();
    // A page of a name that is made to resolve to this machine sends that name.
    if (
      LOOPBACK.test(socket?.remoteAddress ?? '') &&
      LOCAL_HOST.test(hostOf(headers)) &&
      !isForwarded(headers)
    ) {
      return true;
    }
    throw new ForbiddenException(
      'Without a guard the inspector answers this machine alone, at localhost and not through a proxy. Pass ' +
        'guards to SseInspectorModule.forRoot().',
    );
  }
}

function isOfOwnOrigin(headers: Request['headers']): boolean {
  // Browsers send it to secure origins, and it does not depend on the name under which a proxy calls the app.
  const site = headers['sec-fetch-site'];
  if (site !== undefined) {
    return site === 'same-origin';
  }
  const { origin } = headers;
  // Without one it is no cross-site request of a browser with this header.
  return origin === undefined || hostOfOrigin(origin) === hostOf(headers).toLowerCase();
}

function hostOfOrigin(origin: unknown): string | undefined {
  return /^https?:\/\/([^/]+)$/i.exec(String(origin))?.[1]?.toLowerCase();
}

/** A request on HTTP/2 has its host in a field of its own. */
function hostOf(headers: Request['headers']): string {
  return String(headers[':authority'] ?? headers['host'] ?? '');
}

/** Whether a proxy has passed the request on, as far as its headers show it: some proxies leave no trace. */
function isForwarded(headers: Request['headers']): boolean {
  return (
    Object.keys(headers).some((name) => PROXY_HEADER.test(name)) ||
    // Browsers keep connections. nginx by default, and proxies of development servers, do not.
    headers['connection'] === 'close'
  );
}
