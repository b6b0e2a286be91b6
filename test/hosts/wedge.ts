/** `node wedge.mjs PID MS`, in the host of the process: keeps its event loop busy for so long, and stays until it ends or that is over. */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { wedge } from '../faults/wedge.ts';

/** Where Node.js listens when it is not told otherwise. */
const INSPECT_PORT = 9229;
const [, , pid = '', forMs] = process.argv;
const overMs = performance.now() + Number(forMs);
await wedge(Number(pid), INSPECT_PORT, Number(forMs));
while (existsSync(`/proc/${pid}`) && performance.now() < overMs) await sleep(100);
