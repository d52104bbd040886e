import { basename, resolve } from 'node:path';
import { Command } from 'commander';
import { RunError, UsageError } from '../../errors.js';
import type { ModelDtype } from '../../models/dtypes.js';
import {
  type AdapterOption,
  type CommonOptions,
  dtypeOption,
  localModel,
  logger,
  nonNegativeInteger,
  positiveInteger,
  print,
  startBackend,
  withAdapterOption,
  withCommonOptions,
} from '../common.js';

interface ServeOptions extends CommonOptions, AdapterOption {
  dtype?: ModelDtype;
  port: number;
  host: string;
  name?: string;
  batchSize: number;
  maxBody: number;
  maxConnections: number;
  apiKeyEnv?: string;
}

export function serveCommand(): Command {
  const command = new Command('serve')
    .description(
      'serve a local model as a teacher for other machines (vLLM protocol and whole distributions)',
    )
    .argument('<model>', 'Hugging Face model directory or id')
    .addOption(dtypeOption('--dtype', "the model's"))
    .option('--port <n>', 'port; 0: any that is free', nonNegativeInteger, 8000)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--name <id>', 'name of the model in the protocol (default: that of the directory)')
    .option('--batch-size <b>', 'sequences read together, over all requests', positiveInteger, 16)
    .option('--max-body <bytes>', 'largest request', positiveInteger, 16 << 20)
    .option('--max-connections <n>', 'connections at a time', positiveInteger, 1024)
    .option(
      '--api-key-env <name>',
      'environment variable with the key that every request must carry; needed with another --host',
    )
    .addHelpText(
      'after',
      `
Prints one line of JSON, {"url":…,"model":…}, when it is ready. Ctrl-C ends it. On 127.0.0.1 everyone on this machine may
ask. Another --host needs a key; requests carry it as "Authorization: Bearer KEY", and nothing is encrypted.

Example:
  minillm serve experiments/wordnet/teacher --port 8000
`,
    );
  withAdapterOption(command);
  return withCommonOptions(command).action(async (name: string, options: ServeOptions) => {
    const log = logger(options);
    if (options.port > 65535) throw new UsageError(`--port: ${options.port}, expected 0 to 65535`);
    const apiKey = keyOf(options);
    const directory = await localModel(name, options);
    await startBackend(options, log);
    const { tokenizerDirectory } = await import('../../models/adapter.js');
    const { loadModel } = await import('../../models/checkpoint.js');
    const { tokenizerIfPresent } = await import('../../text/tokenizer.js');
    const { localTeacher } = await import('../../scoring/localTeacher.js');
    const { scoringServer } = await import('../../scoring/server.js');
    const { disposeModel } = await import('../../models/model.js');
    const { checkTokenizer } = await import('../../runs/materials.js');
    const model = await loadModel(directory, options);
    const tokenizer = await tokenizerIfPresent(await tokenizerDirectory(directory));
    if (tokenizer) checkTokenizer(model.config, tokenizer);
    const id = options.name ?? basename(resolve(name));
    const server = scoringServer({
      id,
      teacher: localTeacher(model, options.batchSize),
      tokenizer,
      batchSize: options.batchSize,
      maxBody: options.maxBody,
      maxConnections: options.maxConnections,
      apiKey,
      log,
    });
    await new Promise<void>((done, failed) => {
      const close = (): void => {
        server.close(() => done());
        server.closeIdleConnections();
        setTimeout(() => server.closeAllConnections(), 2000).unref();
      };
      server.once('error', (error: NodeJS.ErrnoException) =>
        failed(new RunError(`serve: cannot listen on ${options.host}:${options.port} (${error.code})`)),
      );
      // Many may come at once: as many as the system lets wait.
      server.listen({ port: options.port, host: options.host, backlog: 4096 }, () => {
        const { port } = server.address() as { port: number };
        const host = options.host.includes(':') ? `[${options.host}]` : options.host;
        print(JSON.stringify({ url: `http://${host}:${port}`, model: id }));
        for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, close);
      });
    });
    disposeModel(model);
    log('closed');
  });
}

/** @throws UsageError without a usable key where one is asked for, or where others than this machine may come */
function keyOf({ host, apiKeyEnv: name }: ServeOptions): string | undefined {
  if (name === undefined) {
    if (/^(localhost|127(\.\d{1,3}){3}|::1)$/i.test(host)) return undefined;
    throw new UsageError(
      `--host ${host}: other machines could ask; put a key into an environment variable and name it with --api-key-env`,
    );
  }
  const key = process.env[name];
  if (!key) throw new UsageError(`--api-key-env: the environment variable ${name} is not set`);
  if (!/^[\x21-\x7e]+$/.test(key))
    throw new UsageError(
      `--api-key-env: ${name} holds no usable key; expected visible ASCII characters without spaces`,
    );
  return key;
}
