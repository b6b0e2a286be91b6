import test from 'ava';
import type { FreeInstance, PlaceableNode, PlacedInstance } from '../../src/model/placement.ts';
import { exclusion } from '../../src/placement/filter.ts';
import { Usage } from '../../src/placement/usage.ts';
import { appSpec, freeInstance, placeableNode } from '../support/nouns.ts';

const mebibyte = 1024 * 1024;
const needed = { memoryBytes: 128 * mebibyte, cpu: 0.1 };
const whole = { memoryBytes: 4096 * mebibyte, cpu: 4 };
const eu = appSpec({ placement: { requires: { zone: 'eu' }, spread: null } });

const withPort = appSpec({ ports: [{ number: 8448, protocol: 'tcp', name: null }] });

interface Row {
  free?: Partial<FreeInstance>;
  node?: Partial<PlaceableNode>;
  left?: { memoryBytes: number; cpu: number };
  /** What is placed there already. */
  placed?: Partial<PlacedInstance>;
  reason: string | null;
}

const rows: Record<string, Row> = {
  'a node with room takes it': { reason: null },
  'a node that runs no apps': { node: { roles: ['proxy'] }, reason: 'runs no apps (its roles: proxy)' },
  'a node without any role': { node: { roles: [] }, reason: 'runs no apps (its roles: none)' },
  'a draining node': { node: { draining: true }, reason: 'is draining' },
  'a label that is missing': { free: { spec: eu }, reason: 'has no label zone, required is "eu"' },
  'a label with another value': {
    free: { spec: eu },
    node: { labels: { zone: 'us' } },
    reason: 'has label zone "us", required is "eu"',
  },
  'a label that fits': { free: { spec: eu }, node: { labels: { zone: 'eu' } }, reason: null },
  'an artifact for another platform': {
    free: { platform: 'linux-arm64-node20' },
    reason: 'is linux-x64-node20, and the artifact was built for linux-arm64-node20',
  },
  'an artifact for every Node version of the platform': { free: { platform: 'linux-x64' }, reason: null },
  'a platform that only begins alike': {
    free: { platform: 'linux-x6' },
    reason: 'is linux-x64-node20, and the artifact was built for linux-x6',
  },
  'data that is elsewhere': {
    free: { tiedTo: ['node-7'] },
    reason: 'does not have its data, which is on node-7',
  },
  'data that is here': { free: { tiedTo: ['node-7', 'node-1'] }, reason: null },
  'a refusal': {
    free: { refusals: [{ node: 'node-1', reason: 'the disk is full' }] },
    reason: 'refuses it: the disk is full',
  },
  'a refusal of another node': { free: { refusals: [{ node: 'node-2', reason: 'no' }] }, reason: null },
  'too little memory': {
    left: { memoryBytes: 127 * mebibyte, cpu: 4 },
    reason: 'has 127 of 4096 MiB memory left, needed are 128',
  },
  'too little CPU': {
    left: { memoryBytes: 128 * mebibyte, cpu: 0.05 },
    reason: 'has 0.05 of 4 cores left, needed are 0.1',
  },
  'exactly enough': { left: needed, reason: null },
  'a fixed port that another instance has': {
    free: { spec: withPort },
    placed: { ports: ['8448/tcp'] },
    reason: 'has given port 8448/tcp to shop/web/0',
  },
  'a fixed port that another instance has on another node': {
    free: { spec: withPort },
    placed: { ports: ['8448/tcp'], node: 'node-2' },
    reason: null,
  },
  'the same number of the other protocol': {
    free: { spec: withPort },
    placed: { ports: ['8448/udp'] },
    reason: null,
  },
  'a fixed port whose key is still that of a copy on its way out': {
    free: { spec: withPort },
    node: { ports: new Map([['8448/tcp', 'shop/web/7']]) },
    reason: 'has given port 8448/tcp to shop/web/7',
  },
  'a fixed port that it has there already': {
    free: { spec: withPort },
    node: { ports: new Map([['8448/tcp', 'blog/web/0']]) },
    reason: null,
  },
  'a fixed port of another process type': {
    free: { spec: appSpec({ ports: [{ number: 8448, protocol: 'tcp', name: null, process: 'chat' }] }) },
    placed: { ports: ['8448/tcp'] },
    reason: null,
  },
  'a port on which the node listens itself': {
    free: { spec: withPort },
    node: { listens: { '8448/tcp': 'its proxy' } },
    reason: 'listens on port 8448/tcp itself: its proxy',
  },
};

for (const [title, { free, node, left = whole, placed, reason }] of Object.entries(rows)) {
  test(title, t => {
    const reserves = { memoryBytes: whole.memoryBytes - left.memoryBytes, cpu: whole.cpu - left.cpu };
    const usage = new Usage([{ instance: 'shop/web/0', node: 'node-1', reserves, ...placed }]);
    t.is(exclusion(freeInstance(0, free), placeableNode('node-1', node), usage), reason);
  });
}
