/** What `vitest` is in the bundle: its own runner and assertions, without the rest, so that a pack runs the project's suites. */
import { chai, JestAsymmetricMatchers, JestChaiExpect, JestExtend, setState } from '@vitest/expect';

export { afterAll, afterEach, beforeAll, beforeEach, describe, it } from '@vitest/runner';

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);

export const expect = Object.assign(
  (value: unknown, message?: string): unknown => {
    const assertion = chai.expect(value, message);
    setState({ assertionCalls: 0 }, expect as unknown as Parameters<typeof setState>[1]);
    return assertion;
  },
  {
    fail(message: string): never {
      throw new Error(message);
    },
  },
);
