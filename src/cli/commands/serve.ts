import { basename, resolve } from 'node:path';
import { Command } from 'commander';
import { RunError, UsageError } from '../../errors.js';
import {
  type CommonOptions,
  localModel,
  logger,
  nonNegativeInteger,
  positiveInteger,
  print,
  startBackend,
  withCommonOptions,
} from '../common.js';

interface ServeOptions extends CommonOptions {
  port: number;
  host: string;
  name?: string;
  batchSize: number;
  maxBody: number;
  apiKeyEnv?: string;
}

export function serveCommand(): Command {
  const command = new Command('serve')
    .description(
      'serve a local model as a teacher for other machines (vLLM protocol and whole distributions)',
    )
    .argument('<model>', 'Hugging Face model directory or id')
    .option('--port <n>', 'port; 0: any that is free', nonNegativeInteger, 8000)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--name <id>', 'name of the model in the protocol (default: that of the directory)')
    .option('--batch-size <b>', 'sequences read together, over all requests', positiveInteger, 16)
    .option('--max-body <bytes>', 'largest request', positiveInteger, 16 << 20)
    .option('--api-key-env <name>', 'environment variable with the key that every request must carry')
    .addHelpText(
      'after',
      `
Prints one line of JSON, {"url":…,"model":…}, when it is ready. Ctrl-C ends it. Anyone who reaches the port may ask:
keep it on 127.0.0.1, or give a key and a network you trust.

Example:
  minillm serve experiments/wordnet/teacher --port 8000
`,
    );
  return withCommonOptions(command).action(async (name: string, options: ServeOptions) => {
    const log = logger(options);
    if (options.port > 65535) throw new UsageError(`--port: ${options.port}, expected 0 to 65535`);
    const apiKey = options.apiKeyEnv === undefined ? undefined : process.env[options.apiKeyEnv];
    if (options.apiKeyEnv !== undefined && !apiKey)
      throw new UsageError(`--api-key-env: the environment variable ${options.apiKeyEnv} is not set`);
    const directory = await localModel(name, options);
    await startBackend(options, log);
    const { loadModel } = await import('../../models/checkpoint.js');
    const { tokenizerIfPresent } = await import('../../text/tokenizer.js');
    const { localTeacher } = await import('../../scoring/localTeacher.js');
    const { scoringServer } = await import('../../scoring/server.js');
    const { disposeParams } = await import('../../tensor/params.js');
    const { checkTokenizer } = await import('../../runs/materials.js');
    const model = await loadModel(directory);
    const tokenizer = await tokenizerIfPresent(directory);
    if (tokenizer) checkTokenizer(model.config, tokenizer);
    const id = options.name ?? basename(resolve(name));
    const server = scoringServer({
      id,
      teacher: localTeacher(model, options.batchSize),
      tokenizer,
      batchSize: options.batchSize,
      maxBody: options.maxBody,
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
      server.listen(options.port, options.host, () => {
        const { port } = server.address() as { port: number };
        const host = options.host.includes(':') ? `[${options.host}]` : options.host;
        print(JSON.stringify({ url: `http://${host}:${port}`, model: id }));
        for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, close);
      });
    });
    disposeParams(model.params);
    log('closed');
  });
}
