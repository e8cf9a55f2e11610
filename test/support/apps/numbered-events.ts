/**
 * Returns the data of an event that shows whether it has come whole: of a few bytes or of some kilobytes, with words
 * that come again in others, of which a compression makes a half.
 */
export function numberedData(n: number): { n: number; text: string } {
  const words = Array.from(
    { length: (n * 37) % 120 },
    (_, k) => `${((n * 131 + k) * 7_919_993) % 999_999_937} 订单`,
  );
  return { n, text: words.join(' paid, ') };
}
