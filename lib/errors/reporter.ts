/** Where a connection says what its user should know; the module hands in Nest's Logger. */
export interface Reporter {
  /** Something that will not work as written. */
  warn(message: string): void;
  /** A failure that no caller is there to catch. */
  error(message: string, error: unknown): void;
  /** What is normal and seldom of interest. */
  debug(message: string): void;
}
