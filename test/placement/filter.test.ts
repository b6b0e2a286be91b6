import test from 'ava';
import type { FreeInstance, PlaceableNode } from '../../src/model/placement.ts';
import { exclusion } from '../../src/placement/filter.ts';
import { appSpec, freeInstance, placeableNode } from '../support/nouns.ts';

const mebibyte = 1024 * 1024;
const needed = { memoryBytes: 128 * mebibyte, cpu: 0.1 };
const plenty = { memoryBytes: 4096 * mebibyte, cpu: 4 };
const eu = appSpec({ placement: { requires: { zone: 'eu' }, spread: null } });

interface Row {
  free?: Partial<FreeInstance>;
  node?: Partial<PlaceableNode>;
  left?: { memoryBytes: number; cpu: number };
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
};

for (const [title, { free, node, left, reason }] of Object.entries(rows)) {
  test(title, t => {
    t.is(exclusion(freeInstance(0, free), placeableNode('node-1', node), left ?? plenty, needed), reason);
  });
}
