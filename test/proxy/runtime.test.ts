import test from 'ava';
import { commandTexts, parseState, ProxyError } from '../../src/proxy/runtime.ts';

const COLUMNS =
  'be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight ' +
  'srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state ' +
  'srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port';

function answers(...rows: [slot: string, address: string, admin: number, port: number, used: number][]) {
  const servers = rows.map(
    ([slot, address, admin, port], index) =>
      `3 b1 ${index + 1} ${slot} ${address} 2 ${admin} 1 1 0 1 0 2 6 0 0 0 - ${port}`,
  );
  const connections = rows.map(
    ([slot, address, , port, used]) => `b1/${slot} 3/1 ${address} ${port} - 5000 ${used} 0`,
  );
  return {
    servers: ['1', `# ${COLUMNS}`, ...servers, '', ''].join('\n'),
    connections: [
      '# bkname/svname bkid/svid addr port - purge_delay used_cur used_max',
      ...connections,
      '',
    ].join('\n'),
    routes: '0x55607f1749b0 a.test b1\n0x55607f1749b1 !informed yes\n\n',
    apps: '0x55607f1749b2 b1 blog\n\n',
  };
}

test('what HAProxy says of its servers and maps becomes the state', t => {
  t.deepEqual(parseState(answers(['s1', '127.0.0.1', 4, 4001, 2], ['s2', '::1', 5, 1, 0])), {
    informed: true,
    routes: new Map([['a.test', 'b1']]),
    backends: [
      {
        name: 'b1',
        app: 'blog',
        slots: [
          { name: 's1', endpoint: { host: '127.0.0.1', port: 4001 }, state: 'ready', busy: true },
          { name: 's2', endpoint: { host: '::1', port: 1 }, state: 'maint', busy: false },
        ],
      },
    ],
  });
});

const adminStates = {
  0: 'ready',
  4: 'ready',
  64: 'ready',
  1: 'maint',
  5: 'maint',
  9: 'maint',
  32: 'maint',
  8: 'drain',
  12: 'drain',
} as const;
for (const [flags, state] of Object.entries(adminStates)) {
  test(`administrative flags ${flags} mean ${state}`, t => {
    const parsed = parseState(answers(['s1', '127.0.0.1', Number(flags), 1, 0]));
    t.is(parsed.backends[0]!.slots[0]!.state, state);
  });
}

for (const [name, text] of Object.entries({
  nothing: '',
  'an error': 'Unknown command',
  'half a row': `# ${COLUMNS}\n3 b1`,
})) {
  test(`${name} instead of servers is an error, not an empty proxy`, t => {
    t.throws(() => parseState({ ...answers(), servers: text }), { instanceOf: ProxyError });
  });
}

test('nothing can smuggle a second command into one', t => {
  for (const host of ['a;disable frontend apps', 'a\nshutdown', 'a b']) {
    t.throws(() => commandTexts({ kind: 'unroute', host, reason: '' }), { instanceOf: RangeError });
  }
  t.deepEqual(commandTexts({ kind: 'route', host: '*.a.test', backend: 'b1', isNew: true, reason: '' }), [
    'add map routes.map *.a.test b1',
  ]);
});
