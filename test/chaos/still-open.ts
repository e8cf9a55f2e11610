import { Socket } from 'node:net';

const LATE_MS = 10_000;

/** Has a process that has not ended some time after its SIGTERM print the sockets that keep it alive. */
export function printWhatIsOpen(process: NodeJS.Process): void {
  process.once('SIGTERM', () => {
    setTimeout(() => console.log(`still open: ${openSockets(process).join(', ')}`), LATE_MS).unref();
  });
}

/** Node has no public name for them. */
function openSockets(process: NodeJS.Process): string[] {
  const { _getActiveHandles: handles } = process as unknown as { _getActiveHandles(): object[] };
  return handles
    .call(process)
    .flatMap((handle) =>
      handle instanceof Socket
        ? [`${handle.localPort} to ${handle.remotePort}${handle.connecting ? ', connecting' : ''}`]
        : [],
    );
}
