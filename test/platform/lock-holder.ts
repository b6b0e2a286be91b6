/** A process of its own that locks STATE_DIR, has a long-lived child, says so, and stays: `lock-holder STATE_DIR`. */
import { spawn } from 'node:child_process';

import { lockStateDir } from '../../src/platform/state-lock.ts';

await lockStateDir(process.argv[2] ?? '');
const child = spawn('sleep', ['300'], { detached: true, stdio: 'ignore' });
process.stdout.write(`locked ${child.pid}\n`);
setInterval(() => undefined, 1000);
