/** How much a client wants a coding: 0 for not at all, 1 at most. Undefined if the header does not name it. */
interface Weights {
  readonly gzip: number | undefined;
  readonly identity: number | undefined;
  readonly others: number | undefined;
}

// RFC 9110, section 12.4.2: a weight has at most three digits behind the point.
const WEIGHT = /^q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/i;

/**
 * Returns whether a client takes gzip at least as readily as plain bytes (RFC 9110, section 12.5.3). Without the
 * header, and for one that cannot be read, it does not.
 *
 * @param header - `Accept-Encoding`, such as `gzip;q=0.8, br, *;q=0`
 */
export function acceptsGzip(header: string | undefined): boolean {
  const weights = header === undefined ? undefined : readWeights(header);
  if (!weights) {
    return false;
  }
  const gzip = weights.gzip ?? weights.others ?? 0;
  // A client that does not name plain bytes takes them as the last resort.
  return gzip > 0 && gzip >= (weights.identity ?? 0);
}

function readWeights(header: string): Weights | undefined {
  const named = new Map<string, number>();
  for (const element of header.toLowerCase().split(',')) {
    const [coding = '', ...parameters] = element.split(';').map((part) => part.trim());
    const weight = coding === '' ? 0 : weightOf(parameters);
    if (weight === undefined) {
      return undefined;
    }
    named.set(coding === 'x-gzip' ? 'gzip' : coding, weight);
  }
  return { gzip: named.get('gzip'), identity: named.get('identity'), others: named.get('*') };
}

function weightOf(parameters: readonly string[]): number | undefined {
  if (parameters.length === 0) {
    return 1;
  }
  const weight = parameters.length === 1 ? WEIGHT.exec(parameters[0]!)?.[1] : undefined;
  return weight === undefined ? undefined : Number(weight);
}
