import { portText } from '../model/app-spec.ts';
import type { PortText } from '../model/ids.ts';
import { isLoopback, type NodeConfig } from '../model/node-config.ts';

/** The ports of a node that no app can have, and what listens there: its agent, its proxy, and an etcd on the same host. */
export function listensOf({
  admin,
  rpc,
  peer,
  proxy,
  roles,
  etcd,
}: Pick<NodeConfig, 'admin' | 'rpc' | 'peer' | 'proxy' | 'roles' | 'etcd'>): Record<PortText, string> {
  const listeners: [number, string][] = [
    ...etcdPorts(etcd).map((port): [number, string] => [port, 'its etcd']),
    ...(roles.includes('proxy') ? [[proxy.port, 'its proxy'] as [number, string]] : []),
    [peer.port, 'its agent, for other agents'],
    ...(rpc === null ? [] : [[rpc.port, 'its agent, for gRPC'] as [number, string]]),
    [admin.port, 'its agent, for the admin API'],
  ];
  return Object.fromEntries(listeners.map(([number, what]) => [portText({ number, protocol: 'tcp' }), what]));
}

function etcdPorts(etcd: NodeConfig['etcd']): number[] {
  if (etcd.kind === 'managed') return [etcd.clientPort, etcd.peerPort];
  return etcd.endpoints.flatMap(endpoint => {
    const match = /^https?:\/\/(\[[^\]]+\]|[^:/]+):(\d+)$/.exec(endpoint);
    return match?.[1] !== undefined && isLoopback(match[1]) ? [Number(match[2])] : [];
  });
}
