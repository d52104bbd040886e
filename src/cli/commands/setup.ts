import { Command } from 'commander';
import { type CommonOptions, logger, print, withCommonOptions } from '../common.js';

/** `minillm setup`: provisions the native engine. */
export function setupCommand(): Command {
  return withCommonOptions(new Command('setup'))
    .description('set up the native engine: the official download, else TensorFlow from its Python wheel')
    .option(
      '--from <source>',
      'official, wheel, or a path: an archive of --pack, a wheel, a folder with the libraries and include/',
    )
    .option(
      '--pack <file>',
      'then write the engine as one archive (.tar.gz), for --from on a machine without a network',
    )
    .option(
      '--gpu',
      'the CUDA build of TensorFlow (never run on a card here; --backend cuda is our own engine)',
    )
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      '\nExample:\n  minillm setup\n  minillm setup --from wheel --gpu\n  minillm setup --pack engine.tar.gz',
    )
    .action(
      async (options: CommonOptions & { from?: string; gpu?: boolean; pack?: string; json?: boolean }) => {
        const { packReady, setupEngine } = await import('../../tensor/provision/setup.js');
        const { changed, engine, seconds } = await setupEngine({ ...options, say: logger(options) });
        if (options.pack) await packReady(options.pack, engine);
        const packed = options.pack && { packed: options.pack };
        if (options.json)
          print(JSON.stringify({ changed, ...engine, seconds: Number(seconds.toFixed(3)), ...packed }));
        else
          print(
            `${engine.detail}: ${changed ? `ready after ${seconds.toFixed(1)} s` : 'ready already, nothing to do'}${options.pack ? `; packed as ${options.pack}` : ''}`,
          );
      },
    );
}
