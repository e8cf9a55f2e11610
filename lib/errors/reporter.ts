/** The log of the app. The module hands in Nest's Logger. */
export interface Reporter {
  /** Logs what will not work as the app is written. */
  warn(message: string): void;
  /** Logs a failure that no caller can catch. */
  error(message: string, error: unknown): void;
  /** Logs what is normal and seldom of interest. */
  debug(message: string): void;
}
