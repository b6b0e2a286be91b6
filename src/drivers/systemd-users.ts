import type { InstanceId } from '../model/ids.ts';
import type { SystemdNames } from './systemd-names.ts';
import { runOutside, runTool, ToolError } from './systemd-tools.ts';

export interface AppUser {
  name: string;
  uid: number;
}

/**
 * One system user an app, made when the app is first started here and never removed, so that its number is never given
 * to somebody else while files of it are left. Not `DynamicUser=`: the numbers it hands out change from one start to the
 * next, which an app's data directory would have to follow, file by file, while another copy of the app is writing; and
 * without a module for the name service (not installed by default on Debian) programs that look themselves up
 * fail, as Node's `os.userInfo()` does.
 */
export interface AppUsers {
  /** @throws ToolError */
  ensure(instance: InstanceId): Promise<AppUser>;
  /** null when nothing of the app was ever started here. @throws ToolError */
  find(instance: InstanceId): Promise<AppUser | null>;
  /**
   * Makes everything in the directories the user's that is root's so far. They are walked once for each release, because its
   * hooks, which run as root, may leave files in them. @throws ToolError
   */
  give(user: AppUser, directories: readonly string[], release: number): Promise<void>;
}

/**
 * Other copies of the app run meanwhile, and what they remove is missed by `chown`: it goes on to the end, complains, and fails.
 * Only that is no failure.
 */
const GIVE = `
said=$(LC_ALL=C chown -Rh --from=root "$1:$1" -- "$2" 2>&1) && exit 0
left=$(echo "$said" | grep -v "': No such file or directory$")
[ -n "$left" ] || [ ! -d "$2" ] || exit 0
echo "\${left:-$said}" >&2
exit 1
`;

/** Makes what is root's in the directory the user's, for the shell to be run by root. */
export function givingCommand(user: string, directory: string): string[] {
  return ['/bin/sh', '-c', GIVE, 'hop3', user, directory];
}

export function appUsers(names: SystemdNames): AppUsers {
  const known = new Map<string, Promise<AppUser>>();
  const given = new Map<string, { uid: number; release: number; done: Promise<unknown> }>();
  return {
    async ensure(instance) {
      const name = names.user(instance);
      const found = known.get(name) ?? existing(name).then(user => user ?? made(name, instance));
      known.set(name, found);
      return found.catch((error: unknown) => {
        known.delete(name);
        throw error;
      });
    },

    find: async instance => (await known.get(names.user(instance))) ?? existing(names.user(instance)),

    async give(user, directories, release) {
      await Promise.all(directories.map(directory => giveOne(user, directory, release)));
    },
  };

  /** Copies that start at the same time wait for one walk. */
  async function giveOne({ name, uid }: AppUser, directory: string, release: number): Promise<void> {
    const before = given.get(directory);
    if (before?.uid === uid && before.release === release) {
      await before.done;
      return;
    }
    const done = runOutside(givingCommand(name, directory));
    given.set(directory, { uid, release, done });
    await done.catch((error: unknown) => {
      given.delete(directory);
      throw error;
    });
  }

  async function made(name: string, instance: InstanceId): Promise<AppUser> {
    const app = instance.split('/')[0] ?? instance;
    await runOutside(['/usr/bin/systemd-sysusers', '--inline', `u ${name} - "app ${app} of hop3-agent" -`]);
    const user = await existing(name);
    if (user !== null) return user;
    throw new ToolError(`the system user ${name} can't be found after it was made`);
  }
}

async function existing(name: string): Promise<AppUser | null> {
  try {
    return { name, uid: Number(await runTool('id', ['--user', '--', name])) };
  } catch (error) {
    if (error instanceof ToolError && /no such user/.test(error.message)) return null;
    throw error;
  }
}
