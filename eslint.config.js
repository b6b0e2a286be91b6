import ts from 'typescript-eslint';

const clocks = ['setTimeout', 'setInterval', 'performance', 'Date'].map(name => ({
  name,
  message: 'take the Clock port: time is an argument',
}));

export default ts.config(
  {
    files: ['**/*.ts'],
    extends: [ts.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      // etcd3's builders are lazy thenables: one that is not awaited is never sent.
      '@typescript-eslint/no-floating-promises': ['error', { checkThenables: true }],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      'no-console': 'error',
      eqeqeq: 'error',
    },
  },
  {
    // Rooms that decide, and the loops that feed them, see time only through the Clock port.
    files: [
      'src/{model,manifest,placement,ownership,reconcile,promise,assess,supervise,workflow,ports,agent}/**/*.ts',
    ],
    rules: {
      'no-restricted-globals': [
        'error',
        ...clocks,
        { name: 'process', message: 'read the environment in src/main.ts' },
        { name: 'fetch', message: 'do I/O in drivers, store, artifacts, api or cli' },
      ],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/require-await': 'off',
      'no-console': 'off',
    },
  },
);
