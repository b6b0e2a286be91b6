import test from 'ava';
import { runsOn } from '../../src/model/platform.ts';

for (const { built, platform, runs } of [
  { built: null, platform: 'linux-x64-node20', runs: true },
  { built: 'linux-x64-node20', platform: 'linux-x64-node20', runs: true },
  { built: 'linux-x64', platform: 'linux-x64-node20', runs: true },
  { built: 'linux-x6', platform: 'linux-x64-node20', runs: false },
  { built: 'linux-x64-node20', platform: 'linux-x64-node22', runs: false },
  { built: 'linux-x64-node20', platform: 'linux-x64', runs: false },
]) {
  test(`what was built for ${built ?? 'anything'} ${runs ? 'runs' : 'does not run'} on ${platform}`, t => {
    t.is(runsOn(built, platform), runs);
  });
}
