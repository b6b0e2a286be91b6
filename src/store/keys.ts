import type { Kind } from '../model/records.ts';

/** Names every key of one cluster: `/hop3/<cluster>/<kind>/<name>`. */
export class Keyspace {
  /** What every key of the cluster starts with. */
  readonly root: string;

  /** @throws RangeError when the cluster's name would break out of its place in the key. */
  constructor(cluster: string) {
    if (!/^[a-z0-9][a-z0-9._-]{0,62}$/i.test(cluster)) {
      throw new RangeError(
        `"${cluster}" cannot name a cluster: use 1 to 63 letters, digits, dots, hyphens or underscores`,
      );
    }
    this.root = `/hop3/${cluster}/`;
  }

  /** @throws RangeError when the name is empty. */
  key(kind: Kind, name: string): string {
    if (name === '') throw new RangeError(`a key of kind ${kind} needs a name`);
    return `${this.root}${kind}/${name}`;
  }

  prefix(kind: Kind, prefix = ''): string {
    return `${this.root}${kind}/${prefix}`;
  }

  /** A key that nothing is ever written to. */
  unused(): string {
    return `${this.root}unused`;
  }

  kindOf(key: string): Kind {
    return key.slice(this.root.length).split('/', 1)[0] as Kind;
  }

  nameOf(kind: Kind, key: string): string {
    return key.slice(this.prefix(kind).length);
  }
}

/** The first key after all keys with this prefix, as etcd's range end. */
export function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  for (let last = end.length - 1; last >= 0; last--) {
    const byte = end[last] ?? 0xff;
    if (byte < 0xff) {
      end[last] = byte + 1;
      return end.subarray(0, last + 1);
    }
  }
  return Buffer.from([0]);
}
