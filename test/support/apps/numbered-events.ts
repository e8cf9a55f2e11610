/**
 * Returns the data of an event, by which a test sees whether it arrived whole. It has a few bytes to some kilobytes. Its
 * words come again in other events, so that compression about halves it.
 */
export function numberedData(n: number): { n: number; text: string } {
  const words = Array.from(
    { length: (n * 37) % 120 },
    (_, k) => `${((n * 131 + k) * 7_919_993) % 999_999_937} 订单`,
  );
  return { n, text: words.join(' paid, ') };
}
