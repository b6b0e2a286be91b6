/** `npm test` runs its files compiled (test/compile.js); by hand, as in `npx ava test/model/ids.test.ts`, they run as they are. */
const source = {
  files: ['test/**/*.test.ts'],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=tsx'],
};
const compiled = {
  files: [`${process.env.HOP3_TESTS}/**/*.test.js`],
  nodeArguments: ['--enable-source-maps'],
};

export default {
  ...(process.env.HOP3_TESTS === undefined ? source : compiled),
  workerThreads: false,
  timeout: '180s',
};
