/** `node wedge.mjs PID MS`, in the host of the process: keeps its event loop busy for so long, and stays as long. */
import { setTimeout as sleep } from 'node:timers/promises';
import { wedge } from '../faults/wedge.ts';

/** Where Node.js listens when it is not told otherwise. */
const INSPECT_PORT = 9229;
const [, , pid, forMs] = process.argv;
await wedge(Number(pid), INSPECT_PORT, Number(forMs));
await sleep(Number(forMs));
