import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import fc from 'fast-check';
import { manifestText } from '../../src/manifest/manifest-text.ts';
import { readManifest } from '../../src/manifest/read-manifest.ts';
import type { AppSpec, CronSpec, EnvValue, ProcessSpec } from '../../src/model/app-spec.ts';
import { readCorpusFile, readRows } from '../support/corpus.ts';

const fixtures = fileURLToPath(new URL('../fixtures/hop3', import.meta.url));

for (const { file, verdict } of readRows(fixtures)) {
  if (verdict === 'reject') continue;
  test(`the manifest written for ${file} says the same`, t => {
    const { spec } = readCorpusFile(file, readFileSync(`${fixtures}/${file}`, 'utf8'));
    const again = readManifest('again.yaml', manifestText(spec!));
    t.deepEqual(again.problems, []);
    t.deepEqual(again.apps[0]?.spec, spec!);
  });
}

const appName = fc.stringMatching(/^[a-z][a-z0-9-]{1,20}[a-z0-9]$/);
const hostname = fc.stringMatching(/^[a-z][a-z0-9]{0,10}(\.[a-z][a-z0-9]{0,10}){0,2}$/);
const envName = fc
  .stringMatching(/^[A-Z_][A-Z0-9_]{0,12}$/)
  .filter(name => !['HOST_NAME', 'TZ'].includes(name));
// A value that looks like a credential is refused on purpose.
const text = fc
  .string({ unit: 'grapheme', maxLength: 40 })
  .filter(value => !/^(AKIA|ASIA)|:\/\//.test(value));
const command = text.filter(value => /\S/.test(value));
const path = fc.stringMatching(/^[a-z]{1,8}(\/[a-z]{1,8}){0,2}$/);
const seconds = fc.integer({ min: 1, max: 86400 });
const maybe = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: null });
const list = <T>(of: fc.Arbitrary<T>) => fc.array(of, { maxLength: 3 });
const format = fc.constantFrom('hex' as const, 'base64' as const, 'urlsafe' as const, 'password' as const);

const envValue: fc.Arbitrary<EnvValue> = fc.oneof(
  fc.record({ kind: fc.constant('literal' as const), value: text }),
  fc.record({
    kind: fc.constant('generated' as const),
    format,
    length: fc.integer({ min: 1, max: 4096 }),
    prefix: text,
  }),
  fc.record({
    kind: fc.constant('generated' as const),
    format: fc.constant('uuid' as const),
    length: fc.constant(36),
    prefix: text,
  }),
  fc.record({ kind: fc.constant('from-addon' as const), addon: path, key: envName }),
  fc.record({
    kind: fc.constant('from-app' as const),
    key: fc.constantFrom('domain' as const, 'hostname' as const, 'name' as const),
  }),
  fc.record({ kind: fc.constant('computed' as const), template: text }),
);

const web = fc.oneof(
  fc.record({ kind: fc.constant('command' as const), command, directory: fc.constant('') }),
  fc.record({ kind: fc.constant('static' as const), command: fc.constant(''), directory: path }),
  fc.record({
    kind: fc.constant('wsgi' as const),
    command: fc
      .constantFrom('app:app', 'main.app', `'app:make("it'\\''s")'`)
      .map(name => `gunicorn --bind "$BIND_ADDRESS:$PORT" ${name}`),
    directory: fc.constant(''),
  }),
);
// Names that have a meaning of their own to Hop3 are no workers.
const workerName = fc
  .stringMatching(/^w[a-zA-Z0-9_-]{1,8}$/)
  .filter(name => name !== 'web' && name !== 'wsgi');

const timeZone = fc.constantFrom('UTC', 'Europe/Berlin');
const cron: fc.Arbitrary<CronSpec> = fc.record({
  name: fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/),
  command,
  schedule: fc.record({
    expression: fc.constantFrom('* * * * *', '*/5 0 1-3 12 0,7', '@daily', '30 4 * * mon-fri'),
    timeZone,
    overlap: fc.constantFrom('allow' as const, 'forbid' as const, 'replace' as const),
    catchUp: fc.oneof(
      fc.constantFrom({ kind: 'none' as const }, { kind: 'latest' as const }),
      fc.record({ kind: fc.constant('all' as const), atMost: fc.integer({ min: 1, max: 100 }) }),
    ),
  }),
  timeoutSeconds: seconds,
  attempts: fc.integer({ min: 1, max: 100 }),
});

const spec: fc.Arbitrary<AppSpec> = fc
  .record({
    spec: fc.record({
      app: appName,
      title: maybe(text),
      version: maybe(text),
      source: maybe(
        fc.oneof(
          fc.record({ kind: fc.constant('path' as const), path }),
          fc.record({ kind: fc.constant('git' as const), url: path, ref: path }),
          fc.record({
            kind: fc.constant('archive' as const),
            url: path.map(end => `https://example.com/${end}`),
            sha256: fc.stringMatching(/^[0-9a-f]{64}$/),
          }),
          fc.record({
            kind: fc.constant('uploaded' as const),
            digest: fc.stringMatching(/^sha256:[0-9a-f]{64}$/),
          }),
        ),
      ),
      build: fc.record({
        builder: fc.constantFrom(
          'auto' as const,
          'local' as const,
          'none' as const,
          'docker' as const,
          'nix' as const,
        ),
        toolchain: fc.constantFrom('auto', 'node', 'rust'),
        beforeBuild: list(command),
        build: list(command),
        afterBuild: list(command),
        ignore: list(text),
        pipInstall: list(text),
      }),
      beforeRun: list(command),
      crons: fc.uniqueArray(cron, { maxLength: 3, selector: ({ name }) => name }),
      env: fc.tuple(fc.dictionary(envName, envValue, { maxKeys: 5 }), maybe(timeZone)).map(([env, zone]) => {
        return zone === null ? env : { ...env, TZ: { kind: 'literal' as const, value: zone } };
      }),
      hostnames: fc.oneof(fc.constant<string[]>(['_']), fc.uniqueArray(hostname, { maxLength: 3 })),
      healthcheck: fc.record({
        path: maybe(path.map(end => `/${end}`)),
        contains: maybe(text),
        intervalSeconds: seconds,
        timeoutSeconds: fc.constantFrom(0.5, 2, 30),
        failureThreshold: fc.integer({ min: 1, max: 100 }),
      }),
      restart: fc.record({
        policy: fc.constantFrom('always' as const, 'on-failure' as const, 'never' as const),
        max: fc.integer({ min: 1, max: 1000 }),
      }),
      limits: fc.record({
        memoryBytes: maybe(
          fc.oneof(
            fc.integer({ min: 1, max: 999_999_999_999 }),
            fc.constantFrom(1024, 256 * 1024 ** 2, 1024 ** 3),
          ),
        ),
        cpu: maybe(fc.constantFrom(0.25, 1, 16)),
        processes: maybe(fc.integer({ min: 1, max: 9999 })),
      }),
      placement: fc.record({ requires: fc.dictionary(path, text, { maxKeys: 2 }), spread: maybe(path) }),
      dependsOn: fc.uniqueArray(
        appName.map(name => `${name}2`),
        { maxLength: 3 },
      ),
      deploy: fc.record({
        strategy: fc.constantFrom(
          'rolling' as const,
          'blue-green' as const,
          'canary' as const,
          'stop-deploy' as const,
        ),
        maxSurge: fc.integer({ min: 1, max: 1000 }),
        maxUnavailable: fc.integer({ min: 0, max: 1000 }),
        healthyDeadlineSeconds: seconds,
      }),
      ports: fc.uniqueArray(
        fc.record({
          number: fc.integer({ min: 1024, max: 65535 }),
          protocol: fc.constantFrom('tcp' as const, 'udp' as const),
          name: maybe(path),
        }),
        { maxLength: 2, selector: port => port.number },
      ),
      exclusives: maybe(fc.array(fc.boolean(), { minLength: 4, maxLength: 4 })),
      volumes: fc.uniqueArray(fc.record({ name: fc.stringMatching(/^[a-z]{1,8}$/), target: path }), {
        maxLength: 2,
        comparator: (a, b) => a.name === b.name || a.target === b.target,
      }),
      addons: list(fc.record({ type: path, name: path })),
    }),
    web: maybe(web),
    workers: fc.uniqueArray(fc.record({ type: workerName, command }), {
      maxLength: 3,
      selector: worker => worker.type,
    }),
    scales: fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 4, maxLength: 4 }),
    start: seconds,
    stop: maybe(seconds),
  })
  .map(({ spec: { exclusives, ...spec }, web, workers, scales, start, stop }) => {
    const tied = spec.volumes.length > 0;
    const usual = tied || spec.ports.length > 0;
    const settings = (i: number) => {
      const exclusive = tied ? true : (exclusives?.[i] ?? usual);
      return { exclusive, startTimeoutSeconds: start, stopTimeoutSeconds: stop ?? (exclusive ? 2 : 10) };
    };
    const processes: ProcessSpec[] = [
      ...(web === null ? [] : [{ type: 'web', routed: true, ...web }]),
      ...workers.map(worker => ({ ...worker, kind: 'command' as const, directory: '', routed: false })),
    ].map((process, i) => ({ ...process, ...settings(i), scale: scales[i]! }));
    const types = processes.map(({ type }) => type);
    // Whose a port is, and what it is for, now and then.
    const ports = spec.ports.map((port, i) => ({
      ...port,
      ...(exclusives?.[i] === true && types.length > 0 ? { process: types.at(-1)! } : {}),
      ...(exclusives?.[0] === false && i === 0 && port.protocol === 'tcp' && web !== null
        ? { http: true }
        : {}),
    }));
    return { ...spec, ports, processes };
  });

test('any spec that the readers can make is read back from its manifest', t => {
  fc.assert(
    fc.property(spec, wanted => {
      const { apps, problems } = readManifest('again.yaml', manifestText(wanted));
      t.deepEqual(problems, []);
      t.deepEqual(apps[0]?.spec, wanted);
    }),
    { numRuns: 300 },
  );
  t.pass();
});
