import { runSeed } from './run-seed.ts';

/** A process of the pool: told a seed, it answers with the result. */
process.on('message', seed => {
  void runSeed(Number(seed)).then(result => process.send?.(result));
});
