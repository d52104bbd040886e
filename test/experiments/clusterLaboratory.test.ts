import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { missingPrograms } from '../../experiments/cluster/machine.js';
import { mpiJobSchema } from '../../experiments/cluster/mpijobSchema.js';
import { downCommands, leftovers, network, prefix, upCommands } from '../../experiments/cluster/network.js';
import {
  abandonedPlaces,
  differingFiles,
  newestCheckpoint,
  outsideAnyJob,
  stepsLogged,
} from '../../experiments/cluster/place.js';
import { type Found, page } from '../../experiments/cluster/results.js';
import { mpiKinds, slurmConf } from '../../experiments/cluster/slurmConf.js';
import { temporaryFolder } from '../helpers/temporary.js';

/** The parts of the laboratory that need no laboratory. It is run by hand: `npm run cluster:hosts`, `npm run cluster:slurm`. */
const root = resolve(import.meta.dirname, '../..');
const place = temporaryFolder('cluster-laboratory');

describe('hosts', () => {
  const net = network(4711, 3);

  it('have a namespace, an address and a link each, by names that the kernel takes', () => {
    expect(net.hosts.map(({ address }) => address)).toEqual(['198.18.77.1', '198.18.77.2', '198.18.77.3']);
    // The largest number of a process.
    for (const { link } of network(4194304, 3).hosts) expect(link.length).toBeLessThanOrEqual(15);
    expect(net.hosts[1]).toMatchObject({ name: 'host2', namespace: `${prefix(4711)}host2` });
  });

  it('are taken away whole', () => {
    const made = upCommands(net).flatMap((words) => (words[1] === 'add' ? [words] : []));
    const gone = downCommands(net).map((words) => words[2]);
    for (const [kind, , name] of made) if (kind === 'netns' || kind === 'link') expect(gone).toContain(name);
    // A link that is still there when its namespace goes would live as long as a process in it.
    const kinds = downCommands(net).map(([kind]) => kind);
    expect(kinds.indexOf('netns')).toBeGreaterThan(kinds.indexOf('link'));
    expect(kinds.slice(0, 3)).toEqual(['link', 'link', 'link']);
  });

  it('of laboratories that were killed are found, others left alone', () => {
    const listed = 'lab12-host1 (id: 3)\nlab12-host2\nlab34-host1\nmine\nlab7-other\n';
    expect(leftovers(listed, (pid) => pid === 34)).toEqual([12]);
  });

  it('cannot be built without their programs, which are named', () => {
    expect(missingPrograms(['sh', 'no-such-program'], 'some-package')).toBe(
      'no-such-program not found; on Debian: apt-get install some-package',
    );
    expect(missingPrograms(['sh'], 'some-package')).toBeUndefined();
  });
});

describe('Slurm', () => {
  const conf = slurmConf({ host: 'n1', cores: 2, folder: '/lab', ports: [5001, 5002] });
  const fields = new Map(conf.split('\n').map((line) => line.split(/=(.*)/s) as [string, string]));

  it('needs neither systemd nor control groups nor a data base, and writes in one folder', () => {
    expect(fields.get('ProctrackType')).toBe('proctrack/linuxproc');
    expect(fields.get('AccountingStorageType')).toBe('accounting_storage/none');
    expect(conf).not.toMatch(/cgroup/);
    for (const [, path] of conf.matchAll(/(?<==)(\/\S+)/g)) expect(path).toMatch(/^\/lab\//);
    expect(fields.get('NodeName')).toBe('n1 NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN');
  });

  it('says which kinds of MPI it starts', () => {
    const listed =
      'MPI plugin types are...\n\tpmix\n\tnone\n\tpmi2\nspecific pmix plugin versions available: pmix_v4\n';
    expect(mpiKinds(listed)).toEqual(['pmix', 'none', 'pmi2']);
  });
});

describe('runs', () => {
  function run(name: string, steps: number, files: Record<string, string>): string {
    const out = join(place, name);
    const lines = Array.from({ length: steps }, (_, i) => `{"step":${i + 1},"round":1,"phase":"train"}\n`);
    const all = { 'metrics.jsonl': `{"step":0,"round":0,"phase":"valid"}\n${lines.join('')}`, ...files };
    for (const [file, text] of Object.entries(all)) {
      mkdirSync(join(out, file, '..'), { recursive: true });
      writeFileSync(join(out, file), text);
    }
    return out;
  }
  const alone = run('alone', 6, { 'checkpoints/3/model': 'three', 'checkpoints/6/model': 'six' });

  it('are compared file by file; a checkpoint that only one has is not compared', () => {
    const stopped = run('stopped', 6, {
      ...{ 'checkpoints/3/model': 'three', 'checkpoints/4/model': 'four', 'checkpoints/6/model': 'six' },
    });
    expect(differingFiles(alone, stopped)).toEqual([]);
    const other = run('other', 6, {
      'checkpoints/3/model': '3',
      'left.tmp': '',
      'checkpoints/6/model': 'six',
    });
    expect(differingFiles(alone, other).sort()).toEqual(['checkpoints/3/model', 'left.tmp']);
  });

  it('that were ended have a newest checkpoint, whole or not', () => {
    expect(newestCheckpoint(alone, run('cut', 4, { 'checkpoints/3/model': 'three' }))).toEqual({
      ...{ step: 3, state: 'whole' },
    });
    expect(newestCheckpoint(alone, run('torn', 4, { 'checkpoints/3/model': 'thr' })).state).toBe('damaged');
    expect(newestCheckpoint(alone, run('own', 4, { 'checkpoints/4/model': 'x' })).state).toBe('not compared');
    expect(newestCheckpoint(alone, run('none', 2, {}))).toEqual({ step: 0, state: 'none' });
    expect(stepsLogged(join(place, 'cut'))).toBe(4);
    expect(stepsLogged(join(place, 'nowhere'))).toBe(0);
  });

  it('of laboratories that were killed are found by their process', () => {
    const folder = join(place, 'places');
    for (const name of [
      'minillm-cluster-12-abc',
      'minillm-cluster-34-Xyz',
      'minillm-cluster-x',
      'other-12-abc',
    ])
      mkdirSync(join(folder, name), { recursive: true });
    expect(abandonedPlaces(folder, (pid) => pid === 34)).toEqual([join(folder, 'minillm-cluster-12-abc')]);
  });

  it('know nothing of a job around the laboratory', () => {
    const around = {
      PATH: '/bin',
      OMPI_COMM_WORLD_SIZE: '2',
      SLURM_NTASKS: '2',
      PMIX_RANK: '0',
      PMI_SIZE: '2',
    };
    expect(outsideAnyJob(around)).toEqual({ PATH: '/bin' });
  });

  it('that differ are told on the page', () => {
    const found: Found = {
      ...{
        date: '2026-01-01',
        machine: { cpu: 'C' },
        shards: 4,
        stopped: [],
        facts: { a: 'b|c' },
        wrong: [],
      },
      finished: [
        {
          ...{ what: 'two', command: 'mpirun x', ranks: 2, seconds: 1.25, files: 9, differing: ['final/x'] },
          ...{ student: 'a'.repeat(64), metrics: 'b'.repeat(64) },
        },
      ],
    };
    const text = page('T', found);
    expect(text).toContain('| two | `mpirun x` | 2 | 1.3 | `aaaaaaaaaaaa` | `bbbbbbbbbbbb` | final/x |');
    expect(text).toContain('| a | b\\|c |');
    expect(page('T', { ...found, wrong: ['lost'] })).toContain('## Wrong\n\n- lost\n');
  });
});

describe('the manifest for Kubernetes', () => {
  const text = readFileSync(join(root, 'experiments/cluster/mpijob.yaml'), 'utf8');

  it('has the fields of an MPIJob', () => {
    const job = mpiJobSchema.parse(parse(text));
    const { Launcher, Worker } = job.spec.mpiReplicaSpecs;
    const [launcher] = Launcher.template.spec.containers;
    // As many processes as there are slots.
    expect(launcher!.args![launcher!.args!.indexOf('-np') + 1]).toBe(
      String(Worker.replicas! * job.spec.slotsPerWorker!),
    );
  });

  it.each([
    ['a field that is not there', 'slotsPerWorker', 'slotsPerHost'],
    ['a number among words', '"2", minillm', '2, minillm'],
    ['a volume that is not there', '- name: data\n', '- name: date\n'],
    ['another version', 'v2beta1', 'v1'],
  ])('is refused with %s', (_, from, to) => {
    expect(mpiJobSchema.safeParse(parse(text.replaceAll(from, to))).success).toBe(false);
  });
});

describe('docs/cluster.md', () => {
  const results = ['hosts', 'slurm'].map((name) => join(root, `experiments/cluster/results/${name}.json`));

  it('shows commands that the laboratory has run', () => {
    const ran = results.map((file) => readFileSync(file, 'utf8')).join('');
    const doc = readFileSync(join(root, 'docs/cluster.md'), 'utf8');
    const commands = [...doc.matchAll(/^ {4,}((?:mpirun|srun|salloc|sbatch|minillm) .*)$/gm)].map(
      ([, c]) => c!,
    );
    expect(commands.length).toBeGreaterThan(5);
    for (const command of commands) expect(ran, command).toContain(JSON.stringify(command).slice(1, -1));
    expect(doc).toContain('experiments/cluster/mpijob.yaml');
    expect(existsSync(join(root, 'experiments/cluster/job.sh'))).toBe(true);
  });
});
