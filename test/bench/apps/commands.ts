/** What a process asks of Redis by ioredis, whoever asks. */
import { Redis } from 'ioredis';

type Counts = Record<string, number>;

interface Command {
  readonly name: string;
  readonly args: readonly unknown[];
}

/** Counts from here on, by the command; a script by its digest. */
export function countCommands() {
  const counts = new Map<string, number>();
  const prototype = Redis.prototype as unknown as {
    sendCommand(command: Command, ...more: unknown[]): unknown;
  };
  const { sendCommand } = prototype;
  prototype.sendCommand = function (this: unknown, command, ...more) {
    const name =
      command.name.toLowerCase() === 'evalsha' ? String(command.args[0]) : command.name.toUpperCase();
    counts.set(name, (counts.get(name) ?? 0) + 1);
    return sendCommand.call(this, command, ...more);
  };
  const snapshot = (): Counts => Object.fromEntries(counts);
  const since = (before: Counts): Counts => {
    const changed = Array.from(counts, ([name, count]) => [name, count - (before[name] ?? 0)] as const);
    return Object.fromEntries(changed.filter(([, count]) => count > 0));
  };
  return {
    snapshot,
    since,
    take(): Counts {
      const all = snapshot();
      counts.clear();
      return all;
    },
  };
}
