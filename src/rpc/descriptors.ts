import { join } from 'node:path';
import {
  loadSync,
  type AnyDefinition,
  type MessageTypeDefinition,
  type MethodDefinition,
  type PackageDefinition,
  type ServiceDefinition,
} from '@grpc/proto-loader';

/** Whole numbers of 64 bits are decimal strings here, enums their names; of a `oneof` only what is set is there. */
const FORM = { longs: String, enums: String, defaults: true } as const;
const SERVED = ['hop3agent', 'health', 'reflection'];

export interface ServedFile {
  /** As the descriptor gives it, which is by its package. */
  name: string;
  /** Services, messages and enums, packages in front, without what is inside of them. */
  symbols: string[];
  /** A `google.protobuf.FileDescriptorProto`. */
  bytes: Uint8Array;
}

const served = loadSync(SERVED.map(beside), FORM);
const details = loadSync(beside('status'), FORM);

export const services = {
  scheduler: service('hop3.agent.v1.Scheduler'),
  work: service('hop3.agent.v1.Work'),
  health: service('grpc.health.v1.Health'),
  reflection: service('grpc.reflection.v1.ServerReflection'),
};

export const messages = {
  watchReply: message(served, 'hop3.agent.v1.WatchReply'),
  badRequest: message(details, 'google.rpc.BadRequest'),
  status: message(details, 'google.rpc.Status'),
};

/** What is served, file by file, with the names of fields as the files have them. */
export function servedFiles(): ServedFile[] {
  return SERVED.map(name => {
    const defined = loadSync(beside(name), { keepCase: true });
    const symbols = Object.keys(defined);
    const [bytes] = symbols.flatMap(symbol => describedIn(defined[symbol]));
    if (bytes === undefined) throw new TypeError(`${name}.proto defines nothing`);
    return { name: `${symbols[0]?.split('.').slice(0, -1).join('_')}.proto`, symbols, bytes };
  });
}

/** @throws TypeError when the service has no such method */
export function methodOf(of: ServiceDefinition, name: string): MethodDefinition<object, object> {
  const method = of[name];
  if (method === undefined) throw new TypeError(`no .proto defines the method ${name}`);
  return method;
}

/** The files lie beside this one, and beside what it is bundled into. */
function beside(name: string): string {
  return join(import.meta.dirname, `${name}.proto`);
}

function describedIn(definition: AnyDefinition | undefined): Uint8Array[] {
  if (definition === undefined || !('fileDescriptorProtos' in definition)) return [];
  return (definition as MessageTypeDefinition<object, object>).fileDescriptorProtos;
}

function service(name: string): ServiceDefinition {
  const found = served[name];
  if (found === undefined || 'format' in found) throw new TypeError(`no .proto defines the service ${name}`);
  return found;
}

function message(of: PackageDefinition, name: string): MessageTypeDefinition<object, object> {
  const found = of[name];
  if (found === undefined || !('serialize' in found)) {
    throw new TypeError(`no .proto defines the message ${name}`);
  }
  return found as MessageTypeDefinition<object, object>;
}
