/** Codes of Node's errors if a connection cannot be made, or has broken. */
const NETWORK = new Set([
  'EACCES',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
]);

/** Node's error of a failed connection. */
interface NetworkError {
  readonly code: string;
  readonly address?: string;
  readonly hostname?: string;
  readonly port?: number;
}

/**
 * Returns which server cannot be reached, and why: `Cannot reach Redis at 127.0.0.1:6379: ECONNREFUSED`.
 *
 * @param server - the app's address without a password, for errors without an address
 * @returns undefined if the error does not concern the network
 */
export function unreachable(engine: string, error: unknown, server?: string): string | undefined {
  const failures = networkErrorsIn(error);
  if (failures.length === 0) {
    return undefined;
  }
  const found = failures.map(addressOf).filter((address) => address !== undefined);
  const addresses = found.length > 0 ? [...new Set(found)].join(' and ') : server;
  const codes = [...new Set(failures.map(({ code }) => code))].join(', ');
  return `${cannotReach(engine, addresses)}: ${codes}`;
}

export function cannotReach(engine: string, server: string | undefined): string {
  return `Cannot reach ${engine}${server === undefined ? '' : ` at ${server}`}`;
}

/**
 * Finds Node's error within an error. Libraries wrap it, and Node collects one for each address of a name. It is found
 * by its shape, since errors may come from another realm.
 */
function networkErrorsIn(error: unknown, depth = 0): NetworkError[] {
  if (typeof error !== 'object' || error === null || depth > 4) {
    return [];
  }
  const { code, errors, cause } = error as { code?: unknown; errors?: unknown; cause?: unknown };
  if (Array.isArray(errors) && errors.length > 0) {
    return errors.flatMap((one) => networkErrorsIn(one, depth + 1));
  }
  return typeof code === 'string' && NETWORK.has(code)
    ? [error as NetworkError]
    : networkErrorsIn(cause, depth + 1);
}

function addressOf({ address, hostname, port }: NetworkError): string | undefined {
  const host = address ?? hostname;
  if (host === undefined || port === undefined) {
    return host;
  }
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
