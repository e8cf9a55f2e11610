import { EventEmitter } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { constants, createGunzip } from 'node:zlib';

/** Returns the headers by which every second client takes gzip: the same clients in every run. */
export function codingFor(name: string): IncomingHttpHeaders {
  const sum = Array.from(name, (letter) => letter.charCodeAt(0)).reduce((total, code) => total + code, 0);
  return sum % 2 === 1 ? { 'accept-encoding': 'gzip' } : {};
}

interface BodyEvents {
  data: [Buffer];
  /** Nothing follows: the response has ended, or was cut. */
  close: [];
  /** It cannot be decoded. That must not happen, wherever the response is cut. */
  broken: [Error];
}

/**
 * Reads a response, and decodes it if it is compressed. The body closes when all that has come is decoded, which may be
 * after the response has closed.
 */
export function decodedBody(response: IncomingMessage): EventEmitter<BodyEvents> {
  const body = new EventEmitter<BodyEvents>();
  const onData = (bytes: Buffer) => void body.emit('data', bytes);
  const onClose = () => void body.emit('close');
  // A response that is cut also closes: of the two, that is what clients listen to.
  response.on('error', () => undefined);
  if (response.headers['content-encoding'] !== 'gzip') {
    response.on('data', onData).on('close', onClose);
    return body;
  }
  // A stream may end anywhere, and has no trailer.
  const gunzip = createGunzip({ finishFlush: constants.Z_SYNC_FLUSH });
  gunzip
    .on('data', onData)
    .on('close', onClose)
    .on('error', (error) => void body.emit('broken', error));
  // Not a pipe: it would go on reading a response that its client has paused.
  response.on('data', (bytes: Buffer) => gunzip.write(bytes)).on('close', () => gunzip.end());
  return body;
}
