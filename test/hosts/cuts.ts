const ETCD = '{ 2379, 2380 }';
const PEERS = '{ 7400, 8080, 20000-29999 }';

/** Rules for a host's own network, in nft's words. What it says to itself is never cut. */
export const cuts = {
  etcd: bothWays([`tcp dport ${ETCD} counter drop`, `tcp sport ${ETCD} counter drop`]),
  peers: bothWays([`tcp dport ${PEERS} counter drop`, `tcp sport ${PEERS} counter drop`]),
  incoming: oneWay('input', ['counter drop']),
  outgoing: oneWay('output', ['counter drop']),
  everything: bothWays(['counter drop']),
};

/** From what peers say to each other, of one of them. */
export function cutFromPeer(address: string): string {
  const rules = (to: string): string[] => [
    `ip ${to} ${address} tcp dport ${PEERS} counter drop`,
    `ip ${to} ${address} tcp sport ${PEERS} counter drop`,
  ];
  return `${oneWay('input', rules('saddr'))}\n${oneWay('output', rules('daddr'))}`;
}

function bothWays(rules: string[]): string {
  return `${oneWay('input', rules)}\n${oneWay('output', rules)}`;
}

function oneWay(hook: 'input' | 'output', rules: string[]): string {
  const link = hook === 'input' ? 'iifname host0' : 'oifname host0';
  const lines = rules.map(rule => `${link} ${rule};`);
  return `chain ${hook} { type filter hook ${hook} priority -10; ${lines.join(' ')} }`;
}
