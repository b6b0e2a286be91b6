import { requireTool } from '../tools.ts';
import { has, hasFileEnding, type Toolchain } from './toolchain.ts';

/**
 * `go build` into `bin/<app>`. Without a go.mod the sources are built as they were before modules, which needs
 * nothing but the standard library; `go run server.go` in a Procfile works either way.
 */
export const goToolchain: Toolchain = {
  name: 'go',
  recognises: async directory => (await has(directory, 'go.mod')) || (await hasFileEnding(directory, '.go')),
  async recipe(directory, spec, path) {
    await requireTool('go', path, 'a Go app');
    const modules: Record<string, string> = (await has(directory, 'go.mod')) ? {} : { GO111MODULE: 'off' };
    const own = spec.build.build;
    const build = (await hasFileEnding(directory, '.go'))
      ? `go build -o bin/${spec.app} .`
      : 'mkdir -p bin && go build -o bin/ ./...';
    return {
      commands: own.length > 0 ? own : [build],
      env: modules,
      pathPrepend: ['bin'],
      runtimeEnv: modules,
    };
  },
};
