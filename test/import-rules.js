/**
 * Which room may import which, and which npm package each room is there to hide.
 * Rooms meet only through the nouns in src/model, so data flows one way (README.md, "The map").
 */
const pureRooms = [
  'manifest',
  'placement',
  'ownership',
  'reconcile',
  'workflow',
  'promise',
  'assess',
  'supervise',
];

const mayImport = {
  model: [],
  ...Object.fromEntries(pureRooms.map(room => [room, ['model/']])),
  ports: ['model/'],
  store: ['model/', 'ports/'],
  drivers: ['model/', 'ports/'],
  artifacts: ['model/', 'ports/'],
  proxy: ['model/', 'ports/'],
  platform: ['model/', 'ports/'],
  authority: ['model/', 'ports/'],
  agent: ['model/', 'ports/', ...pureRooms.map(room => `${room}/`)],
  api: ['model/', 'ports/', 'manifest/'],
  rpc: ['model/', 'ports/'],
  // The command line packs a directory before it uploads it, and checks a plan before it submits it: what it shares with the agent.
  cli: [
    'model/',
    'manifest/',
    'api/client\\.ts$',
    'api/wire\\.ts$',
    'artifacts/pack\\.ts$',
    'workflow/(check-submission|cron)\\.ts$',
  ],
};

const hides = {
  manifest: ['yaml', 'toml-eslint-parser', 'zod'],
  store: ['etcd3', '@grpc/grpc-js', 'cockatiel'],
  artifacts: ['tar', 'ignore'],
  platform: ['winston', 'prom-client'],
  authority: ['@peculiar/x509'],
  api: ['koa', '@koa/router', '@koa/bodyparser', 'zod', '@asteasolutions/zod-to-openapi'],
  rpc: ['@grpc/grpc-js', '@grpc/proto-loader', 'zod'],
  cli: ['commander', 'cli-table3', 'picocolors'],
};

const roomRules = Object.entries(mayImport).map(([room, allowed]) => ({
  name: `${room}-imports-only-what-it-may`,
  severity: 'error',
  from: { path: `^src/${room}/` },
  to: { path: '^src/', pathNot: [`${room}/`, ...allowed].map(path => `^src/${path}`) },
}));

const packageRules = Object.keys(mayImport).map(room => ({
  name: `${room}-hides-only-its-own-packages`,
  severity: 'error',
  from: { path: `^src/${room}/` },
  to: {
    dependencyTypes: ['npm', 'npm-dev', 'npm-peer', 'npm-optional', 'npm-no-pkg', 'npm-unknown'],
    pathNot: (hides[room] ?? []).map(name => `node_modules/(@types/)?${name}/`),
  },
}));

export default {
  forbidden: [
    ...roomRules,
    ...packageRules,
    {
      name: 'deciding-does-no-io',
      comment: 'A decision is a function of its arguments. Read the world through a port.',
      severity: 'error',
      from: { path: `^src/(model|ports|agent|${pureRooms.join('|')})/` },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'only-rooms-that-run-programs-start-processes',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(drivers|artifacts|proxy|platform|cli|main)/' },
      to: { path: '^(node:)?child_process$' },
    },
    {
      name: 'every-room-has-its-rules',
      comment: 'A new folder below src/ needs a line in mayImport, or nothing would hold it.',
      severity: 'error',
      from: { path: '^src/', pathNot: `^src/((${Object.keys(mayImport).join('|')}|main)/|main\\.ts$)` },
      to: {},
    },
    {
      name: 'nobody-imports-main',
      severity: 'error',
      from: { pathNot: '^src/main' },
      to: { path: '^src/main' },
    },
    {
      name: 'src-never-imports-test',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^test/' },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
  },
};
