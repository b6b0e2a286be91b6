/** A program the agent does not bring along, and where Debian keeps it. */
export interface Tool {
  /** Of the executable. */
  name: string;
  package: string;
  /** Path of the executable in the package. */
  program: string;
  version: { arguments: string[]; answer: RegExp };
  /** Its stock service, which must not run; null when it has none. */
  service: string | null;
  /** Whether the newest in Debian's archive is wanted, rather than this release's. */
  newest: boolean;
  /** What it must be told when it is unpacked into `home` instead of being installed. */
  environment?: (home: string) => Record<string, string>;
  /** What to do when it can't be had, as the end of a sentence. */
  advice: string;
}

export type ToolName = 'etcd' | 'haproxy';

export const tools: Readonly<Record<ToolName, Tool>> = {
  etcd: {
    name: 'etcd',
    package: 'etcd-server',
    program: 'usr/bin/etcd',
    version: { arguments: ['--version'], answer: /^etcd Version: (\d+\.\d+\.\d+\S*)/m },
    service: 'etcd',
    newest: true,
    advice:
      'install etcd 3.5.28 or newer and put it on PATH, or configure the endpoints of an existing etcd cluster',
  },
  haproxy: {
    name: 'haproxy',
    package: 'haproxy',
    program: 'usr/sbin/haproxy',
    version: { arguments: ['-v'], answer: /^HAProxy version (\d+\.\d+\.\d+)/m },
    service: 'haproxy',
    newest: false,
    advice: 'install HAProxy 2.6 or newer and put it on PATH, or take the role "proxy" from this node',
  },
};
