import type { Readable } from 'node:stream';
import { constants, createGunzip } from 'node:zlib';
import type { TransportAnswer } from './transport.js';

/** Returns the body of a response, decoded if it is compressed: a request may ask for that by `Accept-Encoding`. */
export function decodedBody({ body, headers }: TransportAnswer): Readable {
  if (headers['content-encoding'] !== 'gzip') {
    return body;
  }
  // An event stream has no trailer, as it may end at any time.
  const gunzip = createGunzip({ finishFlush: constants.Z_SYNC_FLUSH });
  body.on('data', (chunk: Uint8Array) => gunzip.write(chunk));
  body.on('close', () => gunzip.end());
  // What cannot be decoded ends the stream, as it does in a browser.
  gunzip.on('error', () => body.destroy());
  return gunzip;
}
