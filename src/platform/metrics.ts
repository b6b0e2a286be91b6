import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

type Labels = Readonly<Record<string, string | number>>;

export interface Metrics {
  /** Content type of `text()`. */
  readonly contentType: string;
  /** All of it in Prometheus' text format, the process's own figures included. */
  text(): Promise<string>;
  /** The same name again gives the same metric; with other labels it throws. */
  counter(
    name: string,
    help: string,
    labels?: readonly string[],
  ): { add(amount?: number, labels?: Labels): void };
  /** `collect` is called at each scrape, for figures that are cheaper to read than to keep. */
  gauge(
    name: string,
    help: string,
    labels?: readonly string[],
    collect?: (set: (value: number, labels?: Labels) => void) => void,
  ): { set(value: number, labels?: Labels): void; add(amount: number, labels?: Labels): void };
  /** Seconds, by Prometheus' convention. */
  histogram(
    name: string,
    help: string,
    labels?: readonly string[],
    bucketsSeconds?: readonly number[],
  ): { observe(seconds: number, labels?: Labels): void };
}

const BUCKETS_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** A registry of its own, so that several agents in one process do not meet in it. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const known = new Map<string, { shape: string; metric: unknown }>();

  const once = <M>(kind: string, name: string, labels: readonly string[], make: () => M): M => {
    const shape = `${kind}(${labels.join(', ')})`;
    const before = known.get(name);
    if (before !== undefined && before.shape !== shape) {
      throw new TypeError(`metric ${name} is already ${before.shape}, not ${shape}`);
    }
    if (before !== undefined) return before.metric as M;
    const metric = make();
    known.set(name, { shape, metric });
    return metric;
  };

  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    counter(name, help, labels = []) {
      return once('counter', name, labels, () => {
        const counter = new Counter({ name, help, labelNames: [...labels], registers: [registry] });
        return { add: (amount = 1, of: Labels = {}) => counter.inc(of, amount) };
      });
    },
    gauge(name, help, labels = [], collect) {
      return once('gauge', name, labels, () => {
        const gauge = new Gauge({
          name,
          help,
          labelNames: [...labels],
          registers: [registry],
          ...(collect === undefined
            ? {}
            : {
                collect() {
                  this.reset();
                  collect((value, of = {}) => this.set(of, value));
                },
              }),
        });
        return {
          set: (value: number, of: Labels = {}) => gauge.set(of, value),
          add: (amount: number, of: Labels = {}) => gauge.inc(of, amount),
        };
      });
    },
    histogram(name, help, labels = [], bucketsSeconds = BUCKETS_SECONDS) {
      return once('histogram', name, labels, () => {
        const histogram = new Histogram({
          name,
          help,
          labelNames: [...labels],
          buckets: [...bucketsSeconds],
          registers: [registry],
        });
        return { observe: (seconds: number, of: Labels = {}) => histogram.observe(of, seconds) };
      });
    },
  };
}
