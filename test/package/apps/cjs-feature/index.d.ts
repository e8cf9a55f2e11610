export declare class Feature {
  readonly sse: object;
}
export declare const SseService: Function;
