import type { EventEmitter } from 'node:events';

/** What other packages use, and what Node may change. */
const OF_OTHERS = ['DeprecationWarning', 'ExperimentalWarning'];

/** Has a process of the test print what Node warns of, such as listeners that are left: `--no-warnings` keeps that back. */
export function printWarnings(process: EventEmitter): void {
  process.on('warning', ({ name, stack }: Error) => {
    if (!OF_OTHERS.includes(name)) {
      console.error(stack);
    }
  });
}

/** Returns the lines in which a process has printed warnings, and errors that nothing has caught. */
export function complaintsIn(output: string): string[] {
  return output.match(/.*(?:Warning:|Unhandled|Uncaught).*/gi) ?? [];
}
