import { totalmem } from 'node:os';
import { Command } from 'commander';
import { UsageError } from '../../errors.js';
import {
  type CommonOptions,
  logger,
  positiveInteger,
  print,
  repeated,
  startConfigured,
  withCommonOptions,
} from '../common.js';

interface PlanOptions extends CommonOptions {
  set: string[];
  withoutData?: boolean;
  calibrate: boolean;
  ranks?: number;
  network?: string;
  json?: boolean;
}

export function planCommand(): Command {
  const command = new Command('plan')
    .description('parameters, tokens, FLOPs, memory and time of a training run, before anything runs')
    .argument('<config>', 'YAML configuration, as for train')
    .option('--set <field=value>', 'change a field of the configuration; repeatable', repeated, [])
    .option(
      '--without-data',
      'read no data, which need not exist: every row is taken to be as long as allowed',
    )
    .option('--no-calibrate', 'measure nothing: no time')
    .option('--ranks <n>', 'also on so many processes, each on a machine like this one', positiveInteger)
    .option(
      '--network <bandwidth,latency>',
      'between them, as 10Gbit,50us (the default): Mbit, Gbit, MB or GB a second, us or ms',
    )
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      `
Models need a config.json only. What is counted, estimated and how far off it was: docs/plan.md.

Example:
  minillm plan experiments/smoke/minillm.yaml
`,
    );
  return withCommonOptions(command).action(async (file: string, options: PlanOptions) => {
    const log = logger(options);
    const { readTrainConfig } = await import('../../runs/runConfig.js');
    const withoutData = options.withoutData ?? false;
    const given = await readTrainConfig(file, options.set, withoutData ? ['data'] : []);
    const { parseNetwork, usualNetwork } = await import('../../plan/network.js');
    const { checkRanks } = await import('../../plan/ranks.js');
    const network = options.network === undefined ? usualNetwork : parseNetwork(options.network);
    if (options.ranks === undefined && options.network !== undefined)
      throw new UsageError('--network: is between ranks; add --ranks');
    const ranks = options.ranks && { count: options.ranks, network };
    if (ranks) checkRanks(given, ranks.count);
    const { planInputs, plannedSteps } = await import('../../plan/inputs.js');
    const inputs = await planInputs(given, { withoutData, log });
    const config = plannedSteps(given, inputs.data, log);
    const backend = await startConfigured(config, options, log);
    const { availableMemory } = await import('../../tensor/provision/diagnose.js');
    const { deviceMemory } = await import('../../tensor/deviceMemory.js');
    const { planRun } = await import('../../plan/plan.js');
    if (options.calibrate) log('measuring this machine');
    const card = deviceMemory();
    const plan = planRun(config, inputs, backend, {
      memory: card
        ? { total: card.total, available: card.free, card: true }
        : { total: totalmem(), available: availableMemory() },
      calibrated: options.calibrate,
      ranks: ranks || undefined,
    });
    if (options.json) print(JSON.stringify(plan));
    else {
      const { planTable } = await import('../../plan/table.js');
      for (const line of planTable(plan)) print(line);
    }
  });
}
