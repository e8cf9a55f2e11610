import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const SETTINGS = frame(0x4, 0, 0, Buffer.alloc(0));
const END_STREAM_AND_HEADERS = 0x5;

/**
 * A client of HTTP/2 that sends its requests and then reads nothing and answers nothing, not even the end of the
 * connection, as a process that is stopped or a host that sleeps. Node's own client cannot be brought to that.
 */
export async function frozenHttp2Client(base: string, ...paths: string[]): Promise<Socket> {
  const { protocol, hostname: host, port } = new URL(base);
  const tls = { ALPNProtocols: ['h2'], rejectUnauthorized: false };
  const socket =
    protocol === 'https:'
      ? connectTls({ host, port: Number(port), ...tls })
      : connect({ host, port: Number(port) });
  socket.on('error', () => socket.destroy());
  await once(socket, protocol === 'https:' ? 'secureConnect' : 'connect');
  socket.pause();
  const requests = paths.map((path, n) => frame(0x1, END_STREAM_AND_HEADERS, 1 + 2 * n, headers(path)));
  socket.write(Buffer.concat([PREFACE, SETTINGS, ...requests]));
  return socket;
}

/** RFC 9113, section 4.1. */
function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** RFC 7541, appendix A: `:method GET`, `:scheme http`, and `:path` and `:authority` as they are. */
function headers(path: string): Buffer {
  const literal = (index: number, text: string) => [index, text.length, ...Buffer.from(text)];
  return Buffer.from([0x82, 0x86, ...literal(0x04, path), ...literal(0x01, 'localhost')]);
}
