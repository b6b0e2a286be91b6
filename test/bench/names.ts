import http from 'node:http';
import type { NameRequest } from '../../src/model/named-agents.ts';
import type { TestCluster } from '../support/cluster.ts';
import { SimCluster } from '../support/sim-cluster.ts';

const NAME = 'bench';
const CONNECTIONS = 16;

/** Answers a second of the owner's agent to "is it still mine?" over HTTP, on kept connections. */
export async function namesOverHttp(cluster: TestCluster, seconds: number): Promise<number> {
  const { url, api } = cluster.nodes[0]!;
  await api.requestAgent(NAME, { holder: 'bench', ttlSeconds: 300 });
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const endMs = performance.now() + seconds * 1000;
  let answers = 0;
  const askOnAndOn = async (): Promise<void> => {
    while (performance.now() < endMs) {
      await ask(`${url}/v1/agents/${NAME}`, agent);
      answers++;
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, askOnAndOn));
  agent.destroy();
  await api.releaseAgent(NAME, { holder: 'bench' });
  return answers / seconds;
}

function ask(url: string, agent: http.Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    http
      .get(url, { agent }, response => {
        response.resume();
        response.on('end', () => {
          if (response.statusCode === 200) resolve();
          else reject(new Error(`HTTP ${response.statusCode ?? 0}`));
        });
        response.on('error', reject);
      })
      .on('error', reject);
  });
}

/** The same within one process: what the agent's own code can ask. Nothing of it waits for the store. */
export async function namesInProcess(seconds: number): Promise<{ looks: number; requests: number }> {
  const cluster = new SimCluster(['node-1'], { ttlSeconds: 10 });
  await cluster.start();
  await cluster.advance(1000);
  const { names } = cluster.node('node-1').agent;
  const { signal } = new AbortController();
  const request: NameRequest = { holder: 'bench', wait: false, waitSeconds: 0, ttlSeconds: 300, token: null };
  const { token } = await cluster.whileTimePasses(names.request(NAME, request, signal));
  const looks = rate(seconds, () => {
    if (names.agent(NAME).holder !== 'bench') throw new Error('it was lost');
  });
  let requests = 0;
  const endMs = performance.now() + seconds * 1000;
  while (performance.now() < endMs) {
    for (let turn = 0; turn < 100; turn++) await names.request(NAME, { ...request, token }, signal);
    requests += 100;
  }
  await cluster.stop();
  return { looks, requests: requests / seconds };
}

function rate(seconds: number, work: () => void): number {
  const endMs = performance.now() + seconds * 1000;
  let done = 0;
  while (performance.now() < endMs) {
    for (let turn = 0; turn < 100; turn++) work();
    done += 100;
  }
  return done / seconds;
}
