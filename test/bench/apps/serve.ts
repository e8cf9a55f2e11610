/** What the process that runs a benchmark asks of a server, over Node's IPC. */
export interface Served {
  port: number;
  openStreams: () => number;
  close: () => Promise<unknown>;
}

export function serve({ port, openStreams, close }: Served): void {
  const { gc } = globalThis as { gc?: () => void };
  const answers: Record<string, () => unknown> = {
    /** CPU time of this process, all threads, from the kernel: microseconds. */
    cpu: () => {
      const { user, system } = process.cpuUsage();
      return user + system;
    },
    openStreams,
    /** Bytes, after garbage was collected. */
    memory: () => {
      for (let n = 0; n < 4; n += 1) gc!();
      const { rss, heapUsed, external } = process.memoryUsage();
      return { rss, heap: heapUsed + external };
    },
    /** Milliseconds. */
    close: async () => {
      const begin = performance.now();
      await close();
      return performance.now() - begin;
    },
  };
  process.on('message', (question: string) => {
    void Promise.resolve(answers[question]!()).then((answer) => process.send!({ answer }));
  });
  process.send!({ answer: port });
}
