import { Command } from 'commander';
import type { MpiInspection } from '../../cluster/inspectMpi.js';
import { UsageError } from '../../errors.js';
import type { Diagnosis } from '../../tensor/provision/diagnose.js';
import { type CommonOptions, print, withCommonOptions } from '../common.js';

/** `minillm doctor`: which backend would run and why, and what would mend what is missing. */
export function doctorCommand(): Command {
  return withCommonOptions(new Command('doctor'))
    .description('the backend that would be used and why, versions, GPU, memory, and what is missing')
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nExample:\n  minillm doctor --json')
    .action(async (options: CommonOptions & { json?: boolean }) => {
      const { diagnose } = await import('../../tensor/provision/diagnose.js');
      const { inspectMpi } = await import('../../cluster/inspectMpi.js');
      const found = { ...(await diagnose(options)), mpi: inspectMpi() };
      if (options.json) print(JSON.stringify(found));
      else for (const line of describe(found)) print(line);
      // The report is out; a forced backend that does not load stays an error.
      if (!found.backend) throw new UsageError(found.problems[0]?.what ?? 'no backend loads');
    });
}

/** The report as aligned lines. */
export function describe(found: Diagnosis & { mpi: MpiInspection }): string[] {
  const { mpi, backend, versions, cpu, gpu, cuda, memory, engine, cache, tools, problems } = found;
  const rows: [string, string][] = [
    ['backend', backend ? `${backend.name}: ${backend.engine}` : 'none loads'],
    ['why', backend?.reason ?? ''],
    ['start-up', backend ? `${backend.startup_ms} ms` : ''],
    [
      'versions',
      `minillm-rl ${versions['minillm-rl']}, node ${versions.node}, tfjs ${versions.tfjs}, TensorFlow ${versions.tensorflow ?? 'not loaded'}`,
    ],
    ['processor', cpu.model],
    ['threads', `${cpu.threads} of ${cpu.cores} cores`],
    ['GPU', `${gpu.used ? 'used' : 'not used'} (${gpu.how})`],
    ...gpu.devices.map((device): [string, string] => ['', device]),
    ['CUDA', cuda.state],
    ...cudaRows(cuda),
    ['MPI', mpi.state],
    [
      'memory',
      `${memory.free_mb} MB available of ${memory.total_mb} MB, this process ${memory.process_mb} MB`,
    ],
    ['engine', `${engine.state}: ${engine.detail}`],
    ['', engine.package ?? ''],
    ['cache', cache.libraries.length === 0 ? `${cache.dir} (empty)` : cache.dir],
    ...cache.libraries.map(({ dir, state, mb }): [string, string] => [
      '',
      `${dir.slice(cache.dir.length + 1)}: ${state}, ${mb} MB`,
    ]),
    ['python', tools.python ?? 'missing'],
    ['pip', tools.pip ?? 'missing'],
    ['compiler', tools.compiler ?? 'missing'],
  ];
  const lines = rows
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name.padEnd(10)} ${value}`);
  if (problems.length === 0) return [...lines, 'Nothing is missing.'];
  return [
    ...lines,
    '',
    'Missing or broken, and what mends it:',
    ...problems.flatMap(({ what, mend }) => [`  ${what}`, `    ${mend}`]),
  ];
}

/** Card, driver, memory, libraries. A machine without a card and its libraries has none of these. */
function cudaRows({ driver, cards, free_mb, libraries }: Diagnosis['cuda']): [string, string][] {
  const free = free_mb === null ? '' : `${free_mb} MB free of `;
  return [
    ...cards.map(({ name, compute_capability, memory_mb }, i): [string, string] => [
      '',
      `${name}, compute capability ${compute_capability}, ${i === 0 ? free : ''}${memory_mb} MB`,
    ]),
    ...(driver === null ? [] : [['', `driver for CUDA ${driver}`] as [string, string]]),
    ...Object.entries(libraries).flatMap(([name, found]): [string, string][] =>
      found ? [['', `lib${name}: ${found.path} (${found.from})`]] : [],
    ),
  ];
}
