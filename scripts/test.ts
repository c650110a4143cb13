/** `npm test`: the checks, then the fuzzers for a few seconds, then the suites on real NGINX, Cassandra and drivers, one after another. */
import { setUpParts } from '../demo/parts/setup.ts'
import { RingfenceError } from '../src/base/errors.ts'
import { holdMesh } from '../test/e2e/held.ts'
import { endToEndFiles } from '../test/e2e/order.ts'
import { conclude, filesOf, newTally, runChecks, runTests } from './runs.ts'

const tally = newTally()
try {
  await setUpParts({})
  await runChecks(tally)
  await runTests(tally, 'fuzzers', filesOf('src/**/*.fuzz.ts'), 2)
  const others = filesOf('test/**/*.test.ts', 'bench/**/*.test.ts').filter((file) => !file.endsWith('.e2e.test.ts'))
  await runTests(tally, 'parts of the path', others, 1)
  const mesh = await holdMesh()
  try {
    await runTests(tally, 'end to end', endToEndFiles(), 1, 'at once')
  } finally {
    await mesh.close()
  }
} catch (reason) {
  if (!(reason instanceof RingfenceError)) throw reason
  console.error(`× ${reason.message}${reason.hint === undefined ? '' : `\n  ${reason.hint}`}`)
  tally.failed += 1
}
// Nothing of ours is left that would keep the process; what a library keeps open must not either.
process.exit(conclude(tally))
