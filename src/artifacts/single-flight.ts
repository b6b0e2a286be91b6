/**
 * Work that several callers may ask for at once is done once for all of them. It is aborted only when every caller
 * has given up; each caller's own abort ends its own wait at once, with its signal's reason.
 */
export class SingleFlight<Result> {
  private readonly flights = new Map<string, Flight<Result>>();

  async run(
    key: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    signal.throwIfAborted();
    const flight = this.flights.get(key) ?? this.start(key, work);
    flight.waiting += 1;
    let leave: () => void = () => undefined;
    const left = new Promise<never>((_resolve, reject) => {
      leave = () => reject(signal.reason as Error);
    });
    signal.addEventListener('abort', leave);
    try {
      return await Promise.race([flight.result, left]);
    } finally {
      signal.removeEventListener('abort', leave);
      flight.waiting -= 1;
      if (flight.waiting === 0) {
        if (this.flights.get(key) === flight) this.flights.delete(key);
        flight.controller.abort(signal.reason);
      }
    }
  }

  private start(key: string, work: (signal: AbortSignal) => Promise<Result>): Flight<Result> {
    const controller = new AbortController();
    const flight = { controller, waiting: 0, result: work(controller.signal) };
    // Callers who left do not hear of a failure; those who wait do.
    flight.result.catch(() => undefined);
    this.flights.set(key, flight);
    return flight;
  }
}

interface Flight<Result> {
  controller: AbortController;
  waiting: number;
  result: Promise<Result>;
}
