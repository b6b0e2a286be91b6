import test from 'ava';
import { tryNext } from '../../src/main/try-next.ts';

const cluster = {
  api: 'http://127.0.0.1:7301',
  apiPort: 7301,
  proxyPort: 8080,
  nodes: 3,
  stateDir: null,
  apps: [],
};
const blog = { app: 'blog', hostnames: ['blog.localhost'], processes: { web: running(2) } };
const shop = { app: 'shop', hostnames: [], processes: { sender: running(3) } };

const rows: {
  title: string;
  said: string[];
  unsaid: RegExp;
  given: Partial<Parameters<typeof tryNext>[0]>;
}[] = [
  {
    title: 'with an app, how to see it, and to see it survive',
    given: { apps: [blog] },
    said: [
      " curl -H 'Host: blog.localhost' http://127.0.0.1:8080/",
      ' hop3-agent status blog which instance runs where',
      ' hop3-agent dev --kill node-2 kill a node with all its apps, and ask again',
      ' hop3-agent explain blog/web/0 why it runs where it runs',
    ],
    unsaid: /guestbook|state-dir/,
  },
  {
    title: 'with several, that of which most runs; one without a host name is not asked for a page',
    given: { apps: [blog, shop] },
    said: [' hop3-agent explain shop/sender/0 why it runs where it runs'],
    unsaid: /blog|curl/,
  },
  {
    title: 'with none, how to get one',
    given: {},
    said: [
      ' hop3-agent deploy DIR run the app in a directory',
      'Admin API on 127.0.0.1, ports 7301 to 7303; gRPC on ports 7501 to 7503.',
    ],
    unsaid: /curl|status|explain|ask again/,
  },
  {
    title: 'the commands work where it keeps everything elsewhere',
    given: { stateDir: "/tmp/it's here" },
    said: [" hop3-agent dev --state-dir '/tmp/it'\\''s here' --kill node-2 kill a node with all its apps"],
    unsaid: /dev --kill/,
  },
  {
    title: 'the only node is not to be killed: who would answer then?',
    given: { nodes: 1 },
    said: [
      ' hop3-agent events --follow what happens',
      'Admin API on 127.0.0.1, port 7301; gRPC on port 7501.',
    ],
    unsaid: /--kill|--start/,
  },
];
for (const { title, given, said, unsaid } of rows) {
  test(title, t => {
    const text = tryNext({ ...cluster, ...given });
    for (const line of said) t.true(text.replaceAll(/ +/g, ' ').split('\n').includes(line), text);
    t.notRegex(text, unsaid);
    t.regex(text, /^ {2}export HOP3_AGENT_API=http:\/\/127\.0\.0\.1:7301$/m);
    t.true(text.endsWith('Ctrl-C stops everything.\n'));
  });
}

function running(scale: number): { scale: number; ready: number; exclusive: boolean } {
  return { scale, ready: scale, exclusive: false };
}
