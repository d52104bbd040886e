import { Application, LogLevel, TypeDocReader } from 'typedoc';
import { expect, it } from 'vitest';

it('every type in a public signature is exported: typedoc has no warning', async () => {
  const options = { logLevel: 'None', skipErrorChecking: true } as const;
  const app = await Application.bootstrap(options, [new TypeDocReader()]);
  const warnings: string[] = [];
  app.logger.log = (text: string, level: LogLevel) => {
    if (level >= LogLevel.Warn) warnings.push(text);
  };
  const project = await app.convert();
  app.validate(project!);
  expect(project!.children!.length).toBeGreaterThan(100);
  expect(warnings).toEqual([]);
}, 300_000);
