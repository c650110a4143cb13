/**
 * `npm test`: the checks, then the fuzzers for a few seconds, then the suites on real NGINX, Cassandra and drivers. What looks at a clock has the machine
 * for itself, before the mesh starts and after what only waits.
 */
import { setUpParts, setUpPrometheus } from '../demo/parts/setup.ts'
import { RingfenceError } from '../src/base/errors.ts'
import { holdMesh } from '../test/e2e/held.ts'
import { pathFiles, splitByClock } from './alone.ts'
import { conclude, filesOf, newTally, runChecks, runEndToEnd, runTests } from './runs.ts'

const tally = newTally()
try {
  await setUpParts({})
  await setUpPrometheus()
  await runChecks(tally)
  await runTests(tally, 'fuzzers', filesOf('src/**/*.fuzz.ts'), { concurrency: 2 })
  const { beside, alone } = splitByClock(pathFiles())
  await runTests(tally, 'parts of the path, one at a time', alone)
  const mesh = await holdMesh()
  try {
    await runEndToEnd(tally, [], undefined, { files: beside, concurrency: 2 })
  } finally {
    await mesh.close()
  }
} catch (reason) {
  if (!(reason instanceof RingfenceError)) throw reason
  console.error(`× ${reason.message}${reason.hint === undefined ? '' : `\n  ${reason.hint}`}`)
  tally.failed += 1
  tally.failures.push(`× ${reason.message}`)
}
// Nothing of ours is left that would keep the process; what a library keeps open must not either.
process.exit(conclude(tally))
