/**
 * Repeats a request that the engine refuses if it arrives after its deadline. The engine's clock may have been set, or
 * another server may have answered.
 *
 * @param send - sends it once, with the milliseconds that are left. Its result undefined means: it was late
 * @param options.forgetClock - makes the next request read the engine's clock again
 * @param options.late - makes the error of a request that was late to the end
 */
export async function untilInTime<Reply>(
  send: (limits: { leftMs: number; timeoutMs: number }) => Promise<Reply | undefined>,
  options: { timeoutMs: number; forgetClock: () => void; late: (message: string) => Error },
): Promise<Reply> {
  const until = performance.now() + options.timeoutMs;
  for (;;) {
    const leftMs = until - performance.now();
    const reply = await send({ leftMs, timeoutMs: Math.max(1, leftMs) });
    if (reply !== undefined) {
      return reply;
    }
    options.forgetClock();
    if (performance.now() >= until) {
      throw options.late('The request arrived too late');
    }
  }
}
