import { z } from 'zod';

/**
 * The fields of an MPIJob, kubeflow.org/v2beta1, that the manifest has or that stand beside them: names, types and choices as of the
 * operator's custom resource and, below `template`, of Kubernetes' core/v1. Written down from both; a field that is not listed is
 * refused, as `kubectl apply` with strict validation does.
 */
const resources = z.strictObject({
  limits: z.record(z.string(), z.union([z.string(), z.number()])).optional(),
  requests: z.record(z.string(), z.union([z.string(), z.number()])).optional(),
});

const container = z.strictObject({
  name: z.string().regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/),
  image: z.string(),
  imagePullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).optional(),
  workingDir: z.string().startsWith('/').optional(),
  // Words must be strings: a bare number or `yes` in YAML is none.
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  env: z.array(z.strictObject({ name: z.string(), value: z.string().optional() })).optional(),
  resources: resources.optional(),
  volumeMounts: z
    .array(z.strictObject({ name: z.string(), mountPath: z.string(), readOnly: z.boolean().optional() }))
    .optional(),
});

const volume = z.strictObject({
  name: z.string(),
  persistentVolumeClaim: z
    .strictObject({ claimName: z.string(), readOnly: z.boolean().optional() })
    .optional(),
});

const podSpec = z
  .strictObject({
    containers: z.array(container).min(1),
    volumes: z.array(volume).optional(),
    terminationGracePeriodSeconds: z.int().positive().optional(),
    nodeSelector: z.record(z.string(), z.string()).optional(),
  })
  .refine(
    ({ containers, volumes = [] }) =>
      containers.every(({ volumeMounts = [] }) =>
        volumeMounts.every(({ name }) => volumes.some((one) => one.name === name)),
      ),
    'a mount of a volume that is not there',
  );

const replicas = z.strictObject({
  replicas: z.int().positive().optional(),
  restartPolicy: z.enum(['Never', 'OnFailure']).optional(),
  template: z.strictObject({ metadata: z.looseObject({}).optional(), spec: podSpec }),
});

export const mpiJobSchema = z.strictObject({
  apiVersion: z.literal('kubeflow.org/v2beta1'),
  kind: z.literal('MPIJob'),
  metadata: z.strictObject({ name: z.string(), namespace: z.string().optional() }),
  spec: z.strictObject({
    mpiImplementation: z.enum(['OpenMPI', 'Intel', 'MPICH']).optional(),
    slotsPerWorker: z.int().positive().optional(),
    runPolicy: z
      .strictObject({
        activeDeadlineSeconds: z.int().positive().optional(),
        backoffLimit: z.int().nonnegative().optional(),
        cleanPodPolicy: z.enum(['None', 'Running', 'All']).optional(),
        suspend: z.boolean().optional(),
        ttlSecondsAfterFinished: z.int().nonnegative().optional(),
      })
      .optional(),
    sshAuthMountPath: z.string().optional(),
    launcherCreationPolicy: z.enum(['AtStartup', 'WaitForWorkersReady']).optional(),
    mpiReplicaSpecs: z.strictObject({ Launcher: replicas, Worker: replicas }),
  }),
});
