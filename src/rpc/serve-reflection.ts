import { status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { z } from 'zod';
import { bidi, received, sent, type CallTools } from './calls.ts';
import { methodOf, servedFiles, services, type ServedFile } from './descriptors.ts';
import { read } from './read-requests.ts';

const request = z.looseObject({
  fileByFilename: z.string().optional(),
  fileContainingSymbol: z.string().optional(),
  listServices: z.string().optional(),
});

/** Tools of before 2023, and Python's, ask under the older name; what is said is the same. */
export const reflectionDefinitions = [
  services.reflection,
  {
    ServerReflectionInfo: {
      ...methodOf(services.reflection, 'ServerReflectionInfo'),
      path: '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
    },
  },
];

/** The standard reflection service: of the `names`d services, and of all messages that belong to them. */
export function reflectionService(tools: CallTools, names: readonly string[]): UntypedServiceImplementation {
  let files: ServedFile[] | null = null;
  return {
    ServerReflectionInfo: bidi(tools, async (call, signal) => {
      for await (const message of received(call, signal)) {
        const asked = read(request, message);
        files ??= servedFiles();
        await sent(call, { originalRequest: asked, ...answerTo(asked, files, names) }, signal);
      }
    }),
  };
}

function answerTo(asked: z.output<typeof request>, files: ServedFile[], names: readonly string[]): object {
  const { fileByFilename: name, fileContainingSymbol: symbol, listServices } = asked;
  if (listServices !== undefined) {
    return { listServicesResponse: { service: names.map(service => ({ name: service })) } };
  }
  const file = files.find(each => (symbol === undefined ? each.name === name : defines(each, symbol)));
  return file === undefined
    ? { errorResponse: { errorCode: status.NOT_FOUND, errorMessage: 'nothing of that name is served here' } }
    : { fileDescriptorResponse: { fileDescriptorProto: [file.bytes] } };
}

/** Methods and nested messages are where what they are part of is. */
function defines({ symbols }: ServedFile, symbol: string): boolean {
  return symbols.some(each => symbol === each || symbol.startsWith(`${each}.`));
}
