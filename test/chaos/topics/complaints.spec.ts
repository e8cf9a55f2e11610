import { EventEmitter } from 'node:events';
import { expect, it, jest } from '@jest/globals';
import { complaintsIn, printWarnings } from '../complaints.js';

it('finds what Node warns a process of, and what nothing has caught, in its output', () => {
  const printed: string[] = [];
  const error = jest.spyOn(console, 'error').mockImplementation((line: string) => void printed.push(line));
  const process = new EventEmitter();
  printWarnings(process);
  const warn = (name: string, message: string) =>
    process.emit('warning', Object.assign(new Error(message), { name }));

  warn('MaxListenersExceededWarning', '11 abort listeners');
  warn('ExperimentalWarning', 'may change');
  error.mockRestore();

  printed.push('listening on 80', 'Error: Unhandled error.');
  expect(complaintsIn(printed.join('\n'))).toEqual([
    'MaxListenersExceededWarning: 11 abort listeners',
    'Error: Unhandled error.',
  ]);
});
