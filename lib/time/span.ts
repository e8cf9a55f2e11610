/** Something that takes time, as a tracer measures it. */
export interface Span<End> {
  /** Calls an async function within the span: spans that begin in it, or in what it awaits, are its children. */
  within<T>(call: () => Promise<T>): Promise<T>;
  /** Ends the span. It is called once. */
  end(end: End): void;
}
