/** What the process that runs a benchmark asks of a server, over Node's IPC. */
export interface Served {
  port: number;
  openStreams: () => number;
  close: () => Promise<unknown>;
  /** What only some servers can do. */
  [task: string]: unknown;
}

export function serve({ port, close, ...more }: Served): void {
  const { gc } = globalThis as { gc?: () => void };
  const tasks: Record<string, unknown> = {
    /** CPU time of this process, all threads, from the kernel: microseconds. */
    cpu: () => {
      const { user, system } = process.cpuUsage();
      return user + system;
    },
    /** Bytes, after garbage was collected. */
    memory: () => {
      for (let n = 0; n < 4; n += 1) {
        gc!();
      }
      const { rss, heapUsed, external } = process.memoryUsage();
      return { rss, heap: heapUsed + external };
    },
    /** Milliseconds. */
    close: async () => {
      const begin = performance.now();
      await close();
      return performance.now() - begin;
    },
    ...more,
  };
  process.on('message', ({ task, ...options }: { task: string }) => {
    const done = (tasks[task] as (options: object) => unknown)(options);
    void Promise.resolve(done).then((answer) => process.send!({ answer }));
  });
  process.send!({ answer: port });
}
